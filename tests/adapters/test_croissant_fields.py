"""Columns of Arrow schemas as Croissant describes fields."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dyff.adapters import croissant_fields

TYPES: dict[str, tuple[Any, dict[str, Any]]] = {
    "bool": (pa.bool_(), {"type": "sc:Boolean"}),
    "int": (pa.int8(), {"type": "cr:Int8"}),
    "unsigned": (pa.uint64(), {"type": "cr:UInt64"}),
    "half": (pa.float16(), {"type": "cr:Float16"}),
    "decimal": (pa.decimal128(5, 2), {"type": "sc:Float"}),
    "text": (pa.large_string(), {"type": "sc:Text"}),
    "bytes": (pa.binary(), {"type": "sc:Text"}),
    "date": (pa.date32(), {"type": "sc:Date"}),
    "timestamp": (pa.timestamp("ns", "UTC"), {"type": "sc:DateTime"}),
    "time": (pa.time64("us"), {"type": "sc:Time"}),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), {"type": "sc:Text"}),
    "extension": (pa.uuid(), {"type": "sc:Text"}),
    "list": (pa.list_(pa.int32()), {"type": "cr:Int32", "shape": "-1"}),
    "lists of lists": (pa.list_(pa.list_(pa.bool_(), 3)), {"type": "sc:Boolean", "shape": "-1,3"}),
    "list of dictionaries": (pa.large_list(pa.dictionary(pa.int8(), pa.string())), {"type": "sc:Text", "shape": "-1"}),
    "struct": (
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
        {
            "fields": [
                {"name": "a", "arrow": "int64", "type": "cr:Int64"},
                {"name": "b", "arrow": "list<item: string>", "type": "sc:Text", "shape": "-1"},
            ]
        },
    ),
    "list of structs": (
        pa.list_(pa.struct([("a", pa.bool_())])),
        {"shape": "-1", "fields": [{"name": "a", "arrow": "bool", "type": "sc:Boolean"}]},
    ),
    "map": (
        pa.map_(pa.string(), pa.int8()),
        {
            "shape": "-1",
            "fields": [{"name": "key", "arrow": "string", "type": "sc:Text"}, {"name": "value", "arrow": "int8", "type": "cr:Int8"}],
        },
    ),
}


@pytest.mark.parametrize("case", TYPES)
def test_each_type_has_a_description(case):
    """The nearest type of Croissant, the shape of arrays, the parts of structs, and the exact type for people."""
    type_, want = TYPES[case]
    assert croissant_fields.described(pa.schema([("x", type_)])) == [{"name": "x", "arrow": str(type_), **want}]


def test_what_a_column_says_about_itself_is_kept():
    """The text in its metadata, as for people."""
    field = pa.field("x", pa.int8(), metadata={"__doc__": "How many"})
    assert croissant_fields.described(pa.schema([field]))[0]["about"] == "How many"


def test_depth_is_bounded():
    """A struct that is nested too deep is described as a whole."""
    type_: Any = pa.int8()
    for _ in range(croissant_fields.MAX_DEPTH + 2):
        type_ = pa.struct([("x", type_)])
    found, depth = croissant_fields.described(pa.schema([("x", type_)]))[0], 1
    while "fields" in found:
        found, depth = found["fields"][0], depth + 1
    assert (depth, found["type"]) == (croissant_fields.MAX_DEPTH, "sc:Text")


def test_a_schema_with_too_many_columns_has_no_fields():
    """Nothing is better than a part that looks like all."""
    names = [str(each) for each in range(croissant_fields.MAX_FIELDS + 1)]
    assert croissant_fields.described(pa.schema([(each, pa.int8()) for each in names])) == []
    assert len(croissant_fields.described(pa.schema([(each, pa.int8()) for each in names[:-1]]))) == croissant_fields.MAX_FIELDS
