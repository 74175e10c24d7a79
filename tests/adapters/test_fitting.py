"""Responses are checked against the schema without changing a value, and Arrow accepts what the check accepts."""

from __future__ import annotations

import base64
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyff.adapters import answers, fitting
from dyff.kernel import errors

KINDS: dict[str, Any] = {
    "int8": pa.int8(), "uint8": pa.uint8(), "int64": pa.int64(), "uint64": pa.uint64(), "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(), "bool": pa.bool_(), "string": pa.string(), "large_string": pa.large_string(), "binary": pa.binary(),
    "list": pa.list_(pa.int64()), "texts": pa.large_list(pa.string()), "pair": pa.list_(pa.int64(), 2),
    "map": pa.map_(pa.string(), pa.int64()), "map of values": pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False)),
    "struct": pa.struct([pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.list_(pa.string()))]),
    "dictionary": pa.dictionary(pa.int32(), pa.string()), "timestamp": pa.timestamp("us"), "date": pa.date32(), "null": pa.null(),
    "decimal": pa.decimal128(5, 2), "no nulls": pa.list_(pa.field("item", pa.int64(), nullable=False)),
}  # fmt: skip


def fits(kind, value, *, nullable=True):
    check = fitting.check(pa.schema([pa.field("value", kind, nullable)]))
    try:
        check([{"value": value}])
    except answers.Unfit:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int8", -128), ("uint64", 2**64 - 1), ("int64", 5.0), ("float64", 7), ("float64", math.nan), ("float32", math.inf),
        ("float64", 1e308), ("bool", False), ("string", "ä"), ("list", []), ("list", [1, None]), ("texts", ["a"]), ("pair", [1, 2]),
        ("map", {"a": 1, "b": None}), ("struct", {"a": 1}), ("struct", {"a": 1, "b": ["x"], "c": 2}), ("dictionary", "x"),
        ("timestamp", 1), ("decimal", 7),
        ("binary", "ab"), ("float16", 65504.0),
    ],
)  # fmt: skip
def test_what_fits(kind, value):
    """Values of the column's type fit, and whole numbers in either notation."""
    assert fits(KINDS[kind], value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int8", 128), ("uint8", -1), ("int64", 2**63), ("int64", 1.5), ("int64", True), ("int64", "1"), ("int64", math.nan),
        ("int64", 1e300), ("uint64", 2**64), ("float32", 1e300), ("float16", 1e10), ("float64", True), ("float64", "NaN"),
        ("float64", 10**400),
        ("float64", 2**53 + 1), ("bool", 1), ("bool", "true"), ("string", 1), ("string", ["a"]), ("string", {}), ("texts", "ab"),
        ("list", {}), ("list", ["a"]), ("pair", [1]), ("map", [["a", 1]]), ("map of values", {"a": 1, "b": None}),
        ("struct", []), ("struct", {"b": []}),
        ("struct", {"a": None}),
        ("struct", "x"), ("dictionary", 5), ("timestamp", 1.5), ("timestamp", "2020-01-01"), ("date", "2020-01-01"),
        ("decimal", 1.5), ("decimal", 10**9),
        ("null", 1), ("no nulls", [1, None]), ("binary", [1]),
    ],
)  # fmt: skip
def test_what_does_not_fit(kind, value):
    """A value that could be stored only by changing it does not fit, whatever Arrow would make of it."""
    assert not fits(KINDS[kind], value)


def test_null_and_missing():
    """Null and a missing field are the same, and fit only if the schema allows null."""
    assert fits(pa.string(), None)
    assert not fits(pa.string(), None, nullable=False)
    check = fitting.check(pa.schema([pa.field("a", pa.string()), pa.field("b", pa.string(), nullable=False)]))
    with pytest.raises(answers.Unfit, match="b: it is missing, which the schema forbids"):
        check([{"a": "x"}])


TEXT = pa.field("text", pa.string())
INDEX: list[pa.Field[Any]] = [pa.field("_index_", pa.int64()), pa.field("_replication_", pa.string())]
NUMBER = pa.field("_response_index_", pa.int64())


@pytest.mark.parametrize("encoded", ["not base64!", "", base64.b64encode(b"no schema").decode()])
def test_what_is_no_schema_is_refused_with_its_field(encoded):
    """The service is described wrongly, so a retry of the evaluation is useless."""
    with pytest.raises(errors.Misconfigured, match=r"^interface.outputSchema.arrowSchema is not the base64 of an Arrow schema"):
        fitting.declared(encoded)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ([TEXT], [NUMBER, TEXT]),
        ([TEXT, NUMBER], [TEXT, NUMBER]),
        ([], [NUMBER]),
    ],
)
def test_a_schema_of_responses_alone_is_completed(given, want):
    """The stored outputs have the published columns, with what was declared as the responses."""
    made = fitting.completed(pa.schema(given))
    assert made == pa.schema([INDEX[1], INDEX[0], pa.field("responses", pa.list_(pa.struct(want)))])
    assert fitting.completed(made) is made


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string()), pa.struct([TEXT])], ids=str)
def test_responses_must_be_a_list_of_objects(kind):
    """Nothing else can hold the responses to an item."""
    with pytest.raises(errors.Misconfigured, match="the column responses must be a list of structs, not "):
        fitting.check(pa.schema([*INDEX, pa.field("responses", kind)]))


@pytest.mark.parametrize(
    ("responses", "words"),
    [
        ([{"text": "a"}, {"text": None}], None),
        ([{"text": "a", "other": 1}], None),
        ([], None),
        (["a"], "gives 'a', and none of the output schema's fields (text)"),
        ([None], "gives None, and none of the output schema's fields (text)"),
        ([[1, 2]], "gives a list of 2, and none of"),
        ([{"text": "a"}, {"txt": "a", "x": 1}], "gives the fields 'txt', 'x', and none of the output schema's fields (text)"),
        ([{"x" * 500: 1}], f"gives the fields '{'x' * 199}..., and none of"),
        ([{}], "gives an object without fields, and none of"),
        ([{"text": 10**200}], "text: a huge number is not a text"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("list_of", [pa.list_, pa.large_list])
def test_every_response_has_a_field_of_the_schema(list_of, responses, words):
    """What has none of them is another answer than the one that was meant. The number of a response is Dyff's own."""
    check = fitting.check(pa.schema([*INDEX, pa.field("responses", list_of(pa.struct([NUMBER, TEXT])))]))
    if words is None:
        check(responses)
        return
    with pytest.raises(answers.Unfit) as caught:
        check(responses)
    assert words in str(caught.value)


def test_a_schema_without_fields_of_its_own_takes_any_object():
    """There is nothing that a response could lack."""
    fitting.check(pa.schema([NUMBER]))([{"a": 1}, {}])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "value"]), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(KINDS)), VALUES)
def test_arrow_stores_what_fits(kind, value):
    """A value that fits can be stored, and is the same when it is read, as far as JSON distinguishes values."""
    if value is None or not fits(KINDS[kind], value):
        return
    [found] = pa.array([value], KINDS[kind]).to_pylist()
    if isinstance(value, bool | int | float | str) and kind not in ("timestamp", "date", "binary", "float32", "float16"):
        assert found == value or (isinstance(value, float) and math.isnan(value))
    elif isinstance(value, list):
        assert len(found) == len(value)
