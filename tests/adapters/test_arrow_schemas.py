"""What the schemas of a dataset's files reveal."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dyff.adapters import arrow_schemas

UNTYPED: Any = pa
"""For calls that Arrow takes and its types do not."""


def test_only_large_metadata_is_dropped():
    """Of the schema and of its columns; a schema without any stays the same bytes."""
    small: dict[str | bytes, str | bytes] = {"__doc__": "short"}
    large: dict[str | bytes, str | bytes] = {"huge": "x" * arrow_schemas.MAX_METADATA_BYTES}
    given = pa.schema([pa.field("a", pa.int8(), metadata={**small, **large}), pa.field("b", pa.int8())], {**small, **large})
    assert not arrow_schemas.is_reduced(given)
    found = arrow_schemas.reduced(given)
    assert arrow_schemas.is_reduced(found)
    assert (found.metadata, found.field("a").metadata, found.field("b").metadata) == ({b"__doc__": b"short"},) * 2 + (None,)
    assert arrow_schemas.reduced(found).serialize() == found.serialize()


TEXT, NUMBER = UNTYPED.string(), UNTYPED.int64()


@pytest.mark.parametrize(
    ("found", "declared", "is_same"),
    [
        (pa.large_string(), TEXT, True), (UNTYPED.string_view(), TEXT, True), (TEXT, pa.binary(), False),
        (pa.large_binary(), pa.binary(), True), (UNTYPED.binary_view(), pa.binary(), True), (pa.binary(4), pa.binary(), False),
        (pa.dictionary(pa.int8(), TEXT), TEXT, True), (UNTYPED.run_end_encoded(pa.int32(), NUMBER), NUMBER, True),
        (UNTYPED.uuid(), pa.binary(16), True), (UNTYPED.json_(), pa.large_string(), True), (NUMBER, pa.int32(), False),
        (pa.list_(TEXT), pa.large_list(pa.large_string()), True), (UNTYPED.list_view(TEXT), pa.list_(TEXT), True),
        (UNTYPED.large_list_view(TEXT), pa.list_(TEXT), True), (pa.list_(TEXT), pa.list_(NUMBER), False),
        (pa.list_(pa.field("element", NUMBER, nullable=False)), pa.list_(NUMBER), True),
        (pa.list_(NUMBER, 2), pa.list_(pa.field("x", NUMBER), 2), True), (pa.list_(NUMBER, 2), pa.list_(NUMBER, 3), False),
        (pa.map_(pa.large_string(), NUMBER), pa.map_(TEXT, NUMBER), True), (pa.map_(TEXT, NUMBER), pa.map_(TEXT, TEXT), False),
        (pa.struct([("a", pa.large_string())]), pa.struct([("a", TEXT)]), True),
        (pa.struct([("a", TEXT)]), pa.struct([("b", TEXT)]), False),
        (pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ms", "UTC"), True), (pa.timestamp("us"), pa.timestamp("us", "UTC"), False),
        (pa.time32("s"), pa.time64("ns"), True), (pa.date64(), pa.date32(), True), (pa.date32(), pa.timestamp("s"), False),
        (pa.decimal128(5, 2), pa.decimal256(5, 2), True), (pa.decimal128(5, 2), pa.decimal128(5, 1), False),
        (pa.null(), pa.struct([("a", TEXT)]), True), (TEXT, pa.null(), False),
    ],
    ids=str,
)  # fmt: skip
def test_a_column_is_the_declared_one_however_it_is_kept(found, declared, is_same):
    """Layouts, units of times and names of zones change no value; other types, sizes, names of fields and a missing zone do."""
    assert arrow_schemas.same(found, declared) is is_same


DECLARED = pa.schema([("_index_", NUMBER), ("text", TEXT), ("split", TEXT)])


@pytest.mark.parametrize(
    ("found", "given", "by_path", "want"),
    [
        (DECLARED, (), (), []),
        ([("split", TEXT), ("text", pa.large_string()), ("_index_", NUMBER)], (), (), []),
        ([("_index_", NUMBER), ("text", TEXT)], ("split",), ("split",), []),
        ([("_index_", NUMBER), ("text", TEXT)], (), ("split",), []),
        ([("_index_", NUMBER), ("text", TEXT)], (), (), ["the field 'split' should be string, but is missing"]),
        ([("_index_", TEXT), *list(DECLARED)[1:]], (), (), ["the field '_index_' should be int64, but is string"]),
        ([*DECLARED, ("extra", UNTYPED.int8())], (), (), ["the field 'extra', which is int8, is not declared"]),
        (
            [*DECLARED, ("text", TEXT), ("x" * 500, TEXT)],
            (),
            (),
            ["the field 'text' occurs 2 times", f"the field '{'x' * 100}', which is string, is not declared"],
        ),
    ],
)
def test_differences_name_the_field_and_what_it_should_be(found, given, by_path, want):
    """In any order of columns; a column that paths give need not be in the file."""
    assert arrow_schemas.differences(pa.schema(found), DECLARED, given, by_path) == want


@pytest.mark.parametrize(("number", "want"), [(5, ["0", "1", "2", "3", "4"]), (1000, ["0", "1", "2", "3", "4", "995 more differences"])])
def test_a_message_has_few_differences(number, want):
    """The rest is counted."""
    assert arrow_schemas.few([str(each) for each in range(number)]) == want


PARTED = UNTYPED.schema([("n", pa.int32()), ("day", pa.date32())])


def test_the_columns_of_a_path_have_the_declared_types():
    """A folder for a column that is not declared gives none, and null stays null."""
    found = arrow_schemas.given("n=7/day=__HIVE_DEFAULT_PARTITION__/other=1/a.parquet", PARTED)
    assert {name: (each.type, each.as_py()) for name, each in found.items()} == {"n": (pa.int32(), 7), "day": (pa.date32(), None)}


def test_a_value_in_a_path_that_is_not_of_the_declared_type_is_named():
    """With the file, the column, the type and the value."""
    with pytest.raises(pa.ArrowInvalid, match=r"^'n=x/a': 'n' should be int32, but is 'x' in the path$"):
        arrow_schemas.given("n=x/a", PARTED)


@pytest.mark.parametrize(
    ("stored", "given", "agrees"),
    [
        (pa.array([7, 7], pa.int64()), 7, True),
        (pa.array(["7", "7"]).dictionary_encode(), 7, True),
        (pa.array([], pa.int32()), 7, True),
        (pa.array([7, 8], pa.int32()), 7, False),
        (pa.array([7, None], pa.int32()), 7, False),
        (pa.array([None, None], pa.int32()), None, True),
        (pa.array([None, 7], pa.int32()), None, False),
    ],
    ids=str,
)
def test_a_column_in_the_file_must_agree_with_the_path(stored, given, agrees):
    """For every row, however it is stored; null agrees only with null."""
    problem = arrow_schemas.contradiction(stored, pa.scalar(given, pa.int32()), "n")
    assert problem == (None if agrees else f"has the column 'n', which is {given} in the path, and something else in the file")
