"""What the OpenAPI document says of a struct besides its fields: rules between fields, and what a free object holds. Pure.

A part of a request (`dyff.entities.identity.Part`) has its rules in `rules`, a JSON merge patch of its JSON schema, and a whole
request has an `example`. They describe what `__post_init__` and the API's checks refuse, and refuse nothing themselves; a test
compares the two. JSON schemas cannot say everything, such as that a time lies in the future: that is in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dyff.entities import codecs

NO_NEWLINE = r"(?!\n)"
"""Python's `$` also matches before a last newline; that of other dialects does not, and some know no look-ahead."""


def pattern(python: str) -> str:
    """A pattern of `msgspec.Meta` in the dialect of JSON schemas (ECMA 262)."""
    return python.replace(NO_NEWLINE, "")


def reference(struct: type[Any]) -> str:
    """How a schema refers to a struct, before the document knows its name there."""
    return f"{struct.__module__}.{struct.__qualname__}"


def like(struct: type[Any]) -> msgspec.Meta:
    """Of a plain JSON object in a struct: that it has the form of `struct`. Readers are not held to it."""
    return msgspec.Meta(extra={"like": struct}, extra_json_schema={"$ref": reference(struct)})


def says(**keywords: Any) -> msgspec.Meta:
    """Keywords of a field's JSON schema, for what is checked elsewhere. They add to those of its type, and replace none."""
    return msgspec.Meta(extra_json_schema=keywords)


def exactly_one(one: str, other: str) -> codecs.Json:
    """The rule that of two fields one is given and the other is absent or null."""
    return {"if": _has(one), "then": {"properties": {other: {"type": "null"}}}, "else": _has(other)}


def field_of_kind(fields: Mapping[str, str]) -> list[codecs.Json]:
    """The rules, all of which must hold, that of `fields` (by `kind`) that of the kind is given, and no other."""
    return [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": _has(field),
            "else": {"properties": {field: {"type": "null"}}},
        }
        for kind, field in fields.items()
    ]


def _has(field: str) -> codecs.Json:
    return {"properties": {field: {"not": {"type": "null"}}}, "required": [field]}
