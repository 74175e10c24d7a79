"""Values of Arrow become JSON exactly, or say why not."""

from __future__ import annotations

import contextlib
import datetime
import io
import random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.adapters import sendable, sizes, times, values
from tests.adapters import arriving

UNTYPED: Any = pa
"""For calls that Arrow takes and its types do not."""


def converted(array):
    """The JSON of each value of an array."""
    return [msgspec.json.encode(each).decode() for each in values.converter(array.type)(array)]


def read_back(array):
    """The array after it was in a Parquet file; None if it cannot be written."""
    file = io.BytesIO()
    try:
        pa.parquet.write_table(pa.table({"x": array}), file)
    except (pa.ArrowException, OSError):
        return None
    return pa.parquet.ParquetFile(file).read().column(0).combine_chunks()


def test_the_page_has_every_row_of_its_table():
    """No row of the table is left out because it has another form."""
    section = arriving.PAGE.split("## How each type arrives")[1].split("\n## ")[0]
    assert len(arriving.examples()) == section.count("\n| ") - 2


@pytest.mark.parametrize("example", arriving.examples(), ids=str)
def test_each_type_arrives_as_the_page_says(example):
    """The conversion makes the JSON of the table, also from what a Parquet file has."""
    array = example.array()
    stored = read_back(array)
    assert example.in_parquet == (stored is not None and outcome(stored) == outcome(array))
    for each in [array, stored] if example.in_parquet else [array]:
        if example.fails:
            with pytest.raises(values.Unsendable) as caught:
                values.converter(each.type)(each)
            if each.type == array.type:
                assert example.json in str(caught.value)
        else:
            assert converted(each) == [example.json]


def outcome(array):
    try:
        return converted(array)
    except values.Unsendable:
        return "fails"


@pytest.mark.parametrize("example", [each for each in arriving.examples() if not each.fails], ids=str)
def test_a_type_arrives_in_the_same_way_inside_others(example):
    """In lists, structs, maps, dictionaries and slices, a value arrives as it does alone, and null stays null."""
    one = example.array()
    several = pa.concat_arrays([one, one, one])
    want = [example.json] * 3
    assert converted(several) == want
    assert converted(several[1:]) == want[1:]
    assert converted(several[:0]) == []
    offsets = pa.array([0, None, 1, 3], pa.int32())
    inside = f"[{example.json}]"
    assert converted(pa.ListArray.from_arrays(offsets, several)) == [inside, "null", f"[{example.json},{example.json}]"]
    assert converted(pa.ListArray.from_arrays(offsets, several)[2:]) == [f"[{example.json},{example.json}]"]
    struct = pa.StructArray.from_arrays([several, several], names=["a", "b"], mask=pa.array([False, True, False]))
    assert converted(struct) == [f'{{"a":{example.json},"b":{example.json}}}', "null", f'{{"a":{example.json},"b":{example.json}}}']
    assert converted(struct[1:]) == converted(struct)[1:]
    pairs = UNTYPED.MapArray.from_arrays(pa.array([0, 1, 1, 3], pa.int32()), pa.array(["x", "y", "z"]), several)
    assert converted(pairs) == [f'[["x",{example.json}]]', "[]", f'[["y",{example.json}],["z",{example.json}]]']
    assert converted(pairs[2:]) == converted(pairs)[2:]
    if not pa.types.is_dictionary(one.type):
        dictionary = pa.DictionaryArray.from_arrays(pa.array([0, None, 0], pa.int8()), one)
        assert converted(dictionary) == [example.json, "null", example.json]
    assert sizes.of(several, expands=sizes.can_expand(one.type)) >= 0


@pytest.mark.parametrize("example", [each for each in arriving.examples() if each.fails], ids=str)
def test_what_fails_names_its_place(example):
    """A value that cannot be sent says where it is, however deep; under a null, or unused in a dictionary, it does no harm."""
    one = example.array()
    nested = pa.StructArray.from_arrays([pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), one)], names=["a"])
    with pytest.raises(values.Unsendable) as caught:
        values.converter(nested.type)(nested)
    assert (caught.value.place, example.json in caught.value.reason) == (".a[]", True)
    pairs = UNTYPED.MapArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["x"]), one)
    with pytest.raises(values.Unsendable) as caught:
        values.converter(pairs.type)(pairs)
    assert caught.value.place == "[].value"
    hidden = pa.StructArray.from_arrays([one], names=["a"], mask=pa.array([True]))
    assert converted(hidden) == ["null"]
    unused = pa.DictionaryArray.from_arrays(pa.array([None], pa.int8()), one)
    assert converted(unused) == ["null"]


def test_times_agree_with_pythons_wherever_python_has_them():
    """At random instants, in several zones, the texts are those of Python's own times."""
    choose = random.Random(7)
    zones = (None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "-03:30")
    for _ in range(2000):
        unit, zone = choose.choice(list(times.PER_S)), choose.choice(zones)
        seconds = choose.randrange(-2_000_000_000, 20_000_000_000 if unit != "ns" else 9_000_000_000)
        count = seconds * times.PER_S[unit] + choose.randrange(times.PER_S[unit])
        text = times.instant(unit, zone)(count)
        assert (text[-1:] == "Z" or "+" in text or text.count("-") == 3) == (zone is not None)
        whole, _, fraction = text.partition(".")
        digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
        found = datetime.datetime.fromisoformat(whole + fraction[len(digits) :])
        instant = found.replace(tzinfo=datetime.UTC) if zone is None else found
        assert (int(instant.timestamp()), int((digits or "0").ljust(9, "0"))) == divmod(count * (10**9 // times.PER_S[unit]), 10**9)
        if zone and zone[0] in "AE":
            shown: Any = pa.scalar(seconds, pa.timestamp("s", zone)).as_py()
            offset = shown.utcoffset()
            assert found.utcoffset() == (offset if offset.seconds % 60 == 0 else datetime.timedelta())


@pytest.mark.parametrize(
    ("zone", "want"),
    [
        ("GMT+1", "Z"), ("UTC+01:00", "Z"), ("Nowhere/Else", "Z"), ("../../etc/passwd", "Z"), ("Europe", "Z"), ("a\0b", "Z"), ("Z", "Z"),
        ("+99:00", "Z"), ("+0130", "+01:30"), ("-00:30", "-00:30"), ("Etc/GMT+1", "-01:00"), ("/etc/localtime", "Z"), ("x" * 5000, "Z"),
    ],
)  # fmt: skip
def test_every_zone_gives_the_same_instant(zone, want):
    """Whatever is named as a zone, the time is right: with the zone's offset, or in UTC."""
    text = times.instant("ns", zone)(1_700_000_000_000_000_001)
    assert text.endswith(want)
    assert int(datetime.datetime.fromisoformat(text.replace(".000000001", "")).timestamp()) == 1_700_000_000


def test_the_first_and_the_last_moment():
    """The years 1 and 9999 are the limits, also where only the local time is outside them."""
    first, last = -62135596800, 253402300799
    assert times.instant("s", None)(first) == "0001-01-01T00:00:00"
    assert times.instant("s", "Europe/Berlin")(last) == "9999-12-31T23:59:59Z"
    assert times.instant("s", "America/New_York")(first) == "0001-01-01T00:00:00Z"
    for value in (first - 1, last + 1, 2**63 - 1, -(2**63)):
        with pytest.raises(ValueError, match=r"before the year 1|after the year 9999"):
            times.instant("s", "UTC")(value)


def test_a_schema_shows_what_can_never_be_sent():
    """Each place of a schema that cannot be sent is reported with its column, type and reason; what depends on values is not."""
    twice = pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.string())])
    schema = pa.schema([
        pa.field("fine", pa.timestamp("ns", "GMT+1")), pa.field("deep", pa.list_(pa.struct([pa.field("m", pa.map_(pa.string(), twice))]))),
        pa.field("twice", pa.int8()), pa.field("twice", pa.int8()), pa.field("d", UNTYPED.dictionary(pa.int8(), twice)),
    ])  # fmt: skip
    found = sendable.problems(schema)
    assert [(each.column, each.place) for each in found] == [("twice", ""), ("deep", "[].m[].value"), ("d", "")]
    assert str(found[1]) == "the column 'deep[].m[].value' (struct<a: int8, a: string>): the field 'a' is there 2 times: rename all but one"
    assert sendable.problems(pa.schema([pa.field(str(place), each.array().type) for place, each in enumerate(WITHOUT_TWICE)])) == []


def a_month_interval():
    """A type that no function of Arrow for Python makes, but that a schema or a file may have."""
    message = bytearray(pa.schema([("x", pa.month_day_nano_interval())]).serialize().to_pybytes())
    for place, byte in enumerate(message):
        if byte == 2:  # one of these is the unit of the interval
            changed = bytes(message[:place] + b"\0" + message[place + 1 :])
            with contextlib.suppress(pa.ArrowException, OSError):
                kind = pa.ipc.read_schema(pa.py_buffer(changed)).field("x").type
                if str(kind) == "month_interval":
                    return kind
    raise AssertionError("Arrow has changed the form of its schemas")


def test_a_type_that_json_cannot_express_is_known_before_any_value_is_read():
    """It is reported with its place; only nulls of it could be sent."""
    kind = a_month_interval()
    reason = "values of the type month_interval have no form in JSON"
    (problem,) = sendable.problems(pa.schema([pa.field("x", pa.list_(kind))]))
    assert problem == ("x", "[]", "month_interval", reason)
    convert = values.converter(kind)
    assert convert(pa.nulls(2)) == [None, None]
    with pytest.raises(values.Unsendable, match=reason):
        convert(pa.array([1]))  # Arrow for Python has no arrays of that type


WITHOUT_TWICE = [each for each in arriving.examples() if "same name" not in each.type]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (pa.timestamp("us"), pa.timestamp("ns"), True), (pa.timestamp("us"), pa.timestamp("us", "UTC"), False),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "Europe/Berlin"), True), (pa.string(), pa.dictionary(pa.int8(), pa.string()), True),
        (pa.int8(), pa.uint64(), True), (pa.int8(), pa.float64(), False), (pa.list_(pa.int8()), pa.large_list(pa.int64()), True),
        (pa.string(), pa.binary(), False), (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.int8())]), False),
        (pa.decimal128(5, 1), pa.decimal128(5, 2), False), (pa.date32(), pa.date64(), True), (pa.date32(), pa.timestamp("s"), False),
        (pa.map_(pa.string(), pa.int8()), pa.map_(pa.large_string(), pa.int64()), True),
    ],
    ids=str,
)  # fmt: skip
def test_types_of_the_same_form_can_be_mixed(one, other, is_same):
    """Whether a value arrives in the same form does not depend on how it is stored."""
    assert (sendable.form(one) == sendable.form(other)) is is_same


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[None] * 2_000_000]), pa.array([[True] * 2_000_000]), pa.array([[{}] * 2_000_000]),
        pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int8()), pa.array(["x" * 200_000])),
        pa.array([["x" * 200_000] * 100], pa.list_(pa.dictionary(pa.int8(), pa.string()))), pa.array(["x" * 16_000_000]),
        pa.array([b"x" * 8_000_000]), UNTYPED.ExtensionArray.from_storage(UNTYPED.json_(), pa.array(["x" * 16_000_000])),
        pa.array([[("k", "x" * 200_000)] * 100], pa.map_(pa.string(), pa.dictionary(pa.int8(), pa.string()))),
        pa.DictionaryArray.from_arrays(pa.array([0, None] * 100, pa.int8()), pa.array([["x"] * 3_000])),
        UNTYPED.RunEndEncodedArray.from_arrays([100], ["x" * 200_000]), pa.array([[1] * 500_000]),
    ],
    ids=lambda array: str(array.type),
)  # fmt: skip
def test_the_size_of_a_value_is_known_before_it_is_converted(array):
    """What is small in Arrow but large in Python counts with the size that it will have there."""
    assert sizes.of(array, expands=sizes.can_expand(array.type)) > 15_000_000


@pytest.mark.parametrize(
    ("value", "most", "fits"),
    [
        ("x" * 100, 120, True), ("x" * 101, 120, False), ({"x" * 50: "y" * 30}, 120, True), ({"x" * 50: "y" * 31}, 120, False),
        ([1, None, True, 1.5], 100, True), ([1, None, True, 1.5, 2], 100, False), (["x" * 100] * 10, 1000, False),
        ({"a": [{"b": ["x" * 70]}]}, 171, False), ({"a": [{"b": ["x" * 70]}]}, 172, True), ([[]] * 1000, 20_000, False),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_the_size_of_a_request_is_bounded_before_it_is_written(value, most, fits):
    """Texts count with their characters, also those of names, and every value with what is around it."""
    if fits:
        sizes.check(value, most)
        return
    with pytest.raises(ValueError, match=f"more than {most} bytes: make it smaller"):
        sizes.check(value, most)
