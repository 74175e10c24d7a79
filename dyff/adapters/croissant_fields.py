"""The columns of an Arrow schema as Croissant describes fields: type, shape and parts, without where their values are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff.entities import codecs

MAX_FIELDS = 2000
"""The most fields of one schema, with those inside of others. A schema with more is described without fields."""

MAX_DEPTH = 8
"""Fields that are nested deeper are described as a whole."""

_MAX_TYPE_CHARS = 500
_DOCUMENTATION = b"__doc__"


def described(schema: pa.Schema) -> list[codecs.Json]:
    """The columns, each with `name` and what `_field` says; an empty list if there are more than `MAX_FIELDS`."""
    found = [_field(each.name, each.type, each.metadata, 1) for each in schema]
    return found if sum(1 for _ in _all(found)) <= MAX_FIELDS else []


def _all(fields: list[codecs.Json]) -> Iterator[codecs.Json]:
    for each in fields:
        yield each
        yield from _all(each.get("fields", []))


def _field(name: str, type_: Any, metadata: Any, depth: int) -> codecs.Json:
    """`type`: of Croissant; absent if there are `fields`. `shape`: of an array, such as `-1,3`; absent if it is none.

    `arrow`: the exact type, for people. `about`: what the column's metadata say about it; absent if nothing.
    """
    found: codecs.Json = {"name": name, "arrow": str(type_)[:_MAX_TYPE_CHARS]}
    about = (metadata or {}).get(_DOCUMENTATION)
    if about:
        found["about"] = about.decode(errors="replace")
    element, shape = _element(type_)
    if shape:
        found["shape"] = ",".join(shape)
    parts = _parts(element)
    if parts and depth < MAX_DEPTH:
        return {**found, "fields": [_field(part.name, part.type, part.metadata, depth + 1) for part in parts]}
    return {**found, "type": _type(element)}


def _element(type_: Any) -> tuple[Any, list[str]]:
    """The type of the elements of an array, with its shape; the type itself and nothing if it is none."""
    kinds: Any = pa.types  # the stubs do not narrow
    shape: list[str] = []
    while True:
        if isinstance(type_, pa.BaseExtensionType):
            type_ = type_.storage_type
        elif kinds.is_dictionary(type_) or kinds.is_run_end_encoded(type_):
            type_ = type_.value_type
        elif kinds.is_fixed_size_list(type_):
            shape.append(str(type_.list_size))
            type_ = type_.value_type
        elif any(is_one(type_) for is_one in (kinds.is_list, kinds.is_large_list, kinds.is_list_view, kinds.is_large_list_view)):
            shape.append("-1")
            type_ = type_.value_type
        elif kinds.is_map(type_):
            return pa.struct([("key", type_.key_type), ("value", type_.item_type)]), [*shape, "-1"]
        else:
            return type_, shape


def _parts(type_: Any) -> list[Any]:
    return list(type_) if pa.types.is_struct(type_) else []


def _type(type_: Any) -> str:
    """The nearest type that Croissant has. What has no counterpart, such as bytes and durations, is `sc:Text`."""
    kinds: Any = pa.types  # the stubs do not narrow
    if kinds.is_boolean(type_):
        return "sc:Boolean"
    if kinds.is_integer(type_):
        return f"cr:{'UInt' if kinds.is_unsigned_integer(type_) else 'Int'}{type_.bit_width}"
    if kinds.is_floating(type_):
        return f"cr:Float{type_.bit_width}"
    if kinds.is_decimal(type_):
        return "sc:Float"
    if kinds.is_date(type_):
        return "sc:Date"
    if kinds.is_timestamp(type_):
        return "sc:DateTime"
    return "sc:Time" if kinds.is_time(type_) else "sc:Text"
