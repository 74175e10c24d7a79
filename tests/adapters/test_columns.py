"""What the schemas of a dataset's files reveal."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dyff.adapters import columns

PAIR = pa.struct([pa.field("q", pa.int8()), pa.field("q", pa.string())])


@pytest.mark.parametrize(
    "kind",
    [PAIR, pa.list_(PAIR), pa.large_list(PAIR), pa.list_(PAIR, 2), pa.map_(pa.string(), PAIR), pa.struct([("x", pa.list_(PAIR))])],
    ids=str,
)
def test_a_struct_with_a_name_twice_cannot_be_sent(kind):
    """Wherever it is: a JSON object has each name once."""
    assert columns.unsendable(pa.schema([("a", pa.int8()), ("s", kind)])) == [
        "the field 's' has a struct with 2 fields 'q': JSON can have one"
    ]


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        (pa.sparse_union([pa.field("i", pa.int8())]), "which JSON has no form for"),
        (pa.list_(pa.month_day_nano_interval()), "'s' is month_day_nano_interval, which JSON has no form for"),
    ],
    ids=str,
)
def test_types_without_a_form_in_json(kind, want):
    """They are named, with the column."""
    (problem,) = columns.unsendable(pa.schema([("s", kind)]))
    assert want in problem


def test_a_column_twice_cannot_be_sent():
    """The rows of a dataset are objects of its columns."""
    assert columns.unsendable(pa.schema([("a", pa.int8()), ("a", pa.int8())])) == ["the field 'a' occurs 2 times"]


def test_other_schemas_can_be_sent():
    """Structs with the same names in different places, and every type that Parquet keeps."""
    inner = pa.struct([("q", pa.int8())])
    kinds = [
        inner, pa.list_(inner), pa.map_(pa.string(), inner), pa.timestamp("ns", "GMT+1"), pa.time64("ns"), pa.date64(), pa.binary(),
        pa.decimal256(70, 3), pa.float16(), pa.null(), pa.duration("us"), pa.dictionary(pa.int8(), pa.string()), pa.large_string(),
    ]  # fmt: skip
    assert columns.unsendable(pa.schema([(f"c{n}", kind) for n, kind in enumerate(kinds)])) == []


def test_only_large_metadata_is_dropped():
    """Of the schema and of its columns; a schema without any stays the same bytes."""
    small, large = {"__doc__": "short"}, {"huge": "x" * columns.MAX_METADATA_BYTES}
    given = pa.schema([pa.field("a", pa.int8(), metadata={**small, **large}), pa.field("b", pa.int8())], {**small, **large})
    assert not columns.is_reduced(given)
    found = columns.reduced(given)
    assert columns.is_reduced(found)
    assert (found.metadata, found.field("a").metadata, found.field("b").metadata) == ({b"__doc__": b"short"},) * 2 + (None,)
    assert columns.reduced(found).serialize() == found.serialize()
