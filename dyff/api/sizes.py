"""Limits of the size of an entity, checked before a command is published. Pure.

The fold has the last word (`dyff.entities.folding.MAX_ENTITY_BYTES`), but by then the caller has an answer that promises otherwise.
"""

from __future__ import annotations

from typing import Any

from dyff.entities import codecs, folding
from dyff.kernel import errors, patches

MAX_NEW_BYTES = 6 * 2**20
"""Limit of a new entity as JSON, with all that it embeds. It leaves room for documentation and labels."""


def require_new(entity: codecs.Json, encoded: bytes) -> None:
    """Refuse a new entity that is too large. `encoded`: the entity as JSON.

    Raises:
        TooLarge: the message names the largest field.
    """
    if len(encoded) > MAX_NEW_BYTES:
        raise _too_large(entity, len(encoded), MAX_NEW_BYTES)


def require_edit(entity: codecs.Json, effect: codecs.Json) -> int:
    """Refuse an edit that makes an entity too large. `effect`: the edit as a merge patch of the entity.

    Returns by how many bytes the entity grows; negative if it shrinks.

    Raises:
        TooLarge: the message names the largest field.
    """
    after = patches.merged(entity, effect)
    size, before = len(codecs.encode(after)), len(codecs.encode(entity))
    if size > folding.MAX_ENTITY_BYTES and size > before:
        raise _too_large(after, size, folding.MAX_ENTITY_BYTES)
    return size - before


def _too_large(entity: codecs.Json, size: int, limit: int) -> errors.TooLarge:
    field, of_field = _largest(entity)
    return errors.TooLarge(
        f"the {entity['kind']} would have {size} bytes as JSON, with what it embeds; the limit is {limit}."
        f" Its largest field is {field}, with {of_field} bytes"
    ).of_limit("entity_bytes")


def _largest(entity: codecs.Json) -> tuple[str, int]:
    """The path of the largest field, as deep as one field makes up most of what is around it, and its size."""
    path: list[str] = []
    value: Any = entity
    size = len(codecs.encode(entity))
    while isinstance(value, dict) and value:
        sizes = {key: len(codecs.encode(each)) for key, each in value.items()}
        key = max(sizes, key=lambda each: sizes[each])
        if path and sizes[key] < size / 2:
            break
        path.append(key)
        value, size = value[key], sizes[key]
    return ".".join(path), size
