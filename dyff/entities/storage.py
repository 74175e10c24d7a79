"""How much an entity takes: its document, and what the object store holds of it. Pure.

What the object store holds is measured by the orchestrator and recorded in the log, as annotations of the entity. So everything
that is needed to add up what an account uses is in its documents.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.entities import codecs, registry, statuses

STAGED, STORED = "staged", "stored"
"""What can be recorded: files that wait to be finalized, and what there is of an entity that has ended."""

_KEYS = {STAGED: "dyff.io/staged-bytes", STORED: "dyff.io/stored-bytes"}
"""The annotations. Users cannot change annotations."""

MAX_OBJECT_BYTES = 2**53
"""Limit of what counts for one entity, however much it declares: larger whole numbers are not exact everywhere in JSON."""


class Size(msgspec.Struct, frozen=True):
    """What one entity takes, in bytes: `document`: as JSON; `objects`: in the object store."""

    document: int
    objects: int


def of(entity: codecs.Json, document_bytes: int) -> Size:
    """The size of an entity. Stored data that does not fit its kind counts as a document only. `document_bytes`: its size as JSON.

    What is left of an entity that stays after its removal takes nothing: it is not its account's any more.
    """
    return Size(0, 0) if is_removed(entity) else Size(document_bytes, object_bytes(entity))


def is_removed(entity: codecs.Json) -> bool:
    """Whether it was deleted, its kind stays, and nothing is stored of it any more (`dyff.entities.kind.Kind.stays`)."""
    row = registry.BY_KIND.get(entity.get("kind", ""))
    return row is not None and row.stays and entity.get("status") == statuses.DELETED and _values(entity).get(STORED) == 0


def object_bytes(entity: codecs.Json) -> int:
    """What counts of the entity in the object store: what was measured at its end, before that the declared or the staged files."""
    found = _values(entity)
    if STORED in found:
        return found[STORED]
    return max(_declared(entity), found.get(STAGED, 0))


def is_recorded(entity: codecs.Json) -> bool:
    """Whether it was recorded what there is of the entity at its end."""
    return STORED in _values(entity)


def staged(entity: codecs.Json) -> int | None:
    """What was recorded last of its staged files, in bytes; None if nothing was."""
    return _values(entity).get(STAGED)


def keeps_objects(entity: codecs.Json) -> bool:
    """Whether entities of its kind have data of their own in the object store."""
    row = registry.BY_KIND.get(entity.get("kind", ""))
    return row is not None and row.download is not None


def recorded(entity: codecs.Json, attributes: codecs.Json) -> codecs.Json | None:
    """The entity with what a command `RecordStorage` says. None if the command is malformed, or the entity's annotations are.

    What was staged means nothing any more once it is recorded what is stored.
    """
    kept = entity.get("annotations") or []
    if len(attributes) != 1 or not isinstance(kept, list):
        return None
    ((name, size),) = attributes.items()
    if name not in _KEYS or isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_OBJECT_BYTES:
        return None
    gone = tuple(_KEYS.values()) if name == STORED else (_KEYS[STAGED],)
    others = [each for each in kept if not (isinstance(each, dict) and each.get("key") in gone)]
    return {**entity, "annotations": [*others, {"key": _KEYS[name], "value": str(size)}]}


def _values(entity: codecs.Json) -> dict[str, int]:
    annotations = entity.get("annotations")
    if not isinstance(annotations, list):
        return {}
    known = {each.get("key"): each.get("value") for each in annotations if isinstance(each, dict) and isinstance(each.get("key"), str)}
    return {name: found for name, key in _KEYS.items() if (found := _whole(known.get(key))) is not None}


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and len(value) <= 16 and value.isascii() and value.isdecimal():
        return min(int(value), MAX_OBJECT_BYTES)
    return None


def _declared(entity: codecs.Json) -> int:
    row = registry.BY_KIND.get(entity.get("kind", ""))
    if row is None or row.upload is None or row.upload.size_bytes is None:
        return 0
    try:
        return min(max(row.upload.size_bytes(entity), 0), MAX_OBJECT_BYTES)
    except (KeyError, TypeError, AttributeError, ValueError):
        return 0
