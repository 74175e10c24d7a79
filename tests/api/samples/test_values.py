"""The parts of samples that need no server: the order, texts in arrays, scores, cells. Tables."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest

from dyff.api.samples import asked, cells, matching, order

TEXT = pa.struct([pa.field("a", pa.string()), pa.field("b", pa.int64())])


@pytest.mark.parametrize(
    ("outputs", "errors", "found"),
    [
        ([], [], []),
        ([(1, "x"), (1, "y"), (2, "x")], [], [(1, "x", 0, 0, False), (1, "y", 1, 0, False), (2, "x", 0, 0, False)]),
        ([(1, "y"), (1, "x")], [], [(1, "x", 0, 0, False), (1, "y", 1, 0, False)]),
        ([], [(3, "y"), (3, "x")], [(3, "x", 0, 0, True), (3, "y", 1, 0, True)]),
        ([(1, "x")], [(1, "x"), (2, "z")], [(1, "x", 0, 0, True), (2, "z", 0, 0, True)]),
        ([(5, "x"), (5, "x")], [(4, "x")], [(4, "x", 0, 0, True), (5, "x", 0, 0, False), (5, "x", 1, 1, False)]),
        ([(1, "strange"), (1, "y")], [], [(1, "y", 0, 0, False), (1, "strange", 1, 0, False)]),
    ],
)
def test_the_order_of_samples(outputs, errors, found):
    """By index, then as the evaluation orders its replications; an output that is there twice is two samples."""
    merged = order.merged(outputs, errors, ["x", "y"])
    assert [(each.index, each.replication, each.place, each.twin, each.has_error) for each in merged] == found


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (pa.array(["a needle", "NEEDLE!", None, ""]), [True, True, False, False]),
        (pa.array(["needle", "x"], pa.large_string()), [True, False]),
        (pa.array(["needle", "x"], pa.string_view()), [True, False]),
        (pa.array(["needle", "x", None, "needle"]).dictionary_encode(), [True, False, False, True]),
        (pa.array([["x", "needle"], [], None, ["y"], ["needle"]]), [True, False, False, False, True]),
        (pa.array([["x"], ["needle"], ["y"]]).slice(1), [True, False]),
        (pa.array([["x", "needle"], None], pa.list_(pa.string(), 2)), [True, False]),
        (pa.array([[{"a": "needle", "b": 1}], [{"a": "x", "b": 2}]], pa.list_(TEXT)), [True, False]),
        (pa.array([{"a": "needle", "b": 1}, None, {"a": "x", "b": 1}], TEXT), [True, False, False]),
        (pa.array([[("needle", 1)], [("x", 2)]], pa.map_(pa.string(), pa.int8())), [True, False]),
        (pa.array([1, 2]), [False, False]),
        (pa.array([b"needle"]), [False]),
        (pa.array([{}], pa.struct([])), [False]),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": "needle"}'])), [True]),
    ],
)
def test_texts_are_found_at_any_depth(array, found):
    """Upper and lower case are the same; only texts count; null has none."""
    assert matching.contains(array, "needle").to_pylist() == found


@pytest.mark.parametrize(
    ("value", "where", "fits"),
    [
        (None, {}, False), (0, {}, True), (False, {}, True), ("x", {}, True),
        (1.5, {"least": 1.5}, True), (1.4, {"least": 1.5}, False), (2, {"most": 1.5}, False), (1, {"least": 0, "most": 1}, True),
        ("x", {"least": 0}, False), (True, {"least": 1}, True),
        ("x", {"value": "x"}, True), ("x", {"value": "y"}, False), (1, {"value": "1.0"}, True), (1, {"value": "one"}, False),
        (True, {"value": "true"}, True), (False, {"value": "true"}, False),
        (False, {"value": "false"}, True), (1, {"value": "true"}, False),
    ],
)  # fmt: skip
def test_which_scores_fit(value, where, fits):
    """Numbers are compared as numbers, texts as texts; null never fits."""
    assert matching.fits(value, asked.Where(score="s", **where)) is fits


IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


@pytest.mark.parametrize(
    ("array", "cell"),
    [
        (pa.array(["text"]), ("text", "text", 4, False)),
        (pa.array(["é" * 6]), ("text", "é" * 5, 12, True)),
        (pa.array(["a"]).dictionary_encode(), ("text", "a", 1, False)),
        (pa.array([None], pa.string()), ("json", None, 4, False)),
        (pa.array([None, "a"]).dictionary_encode().slice(0, 1), ("json", None, 4, False)),
        (pa.array([7]), ("json", 7, 1, False)),
        (pa.array([float("nan")]), ("json", None, 4, False)),
        (pa.array([float("inf")]), ("none", "the number is infinite, which JSON does not have: replace it, or use null", None, False)),
        (pa.array([[1, 2, 3, 4, 5, 6]]), ("json", "[1,2,3,4,5", 13, True)),
        (pa.array([[1, 2]]), ("json", [1, 2], 5, False)),
        (pa.array([b"\x00\xff"]), ("bytes", None, 2, False)),
        (pa.array([{"bytes": b"\xff\xd8\xff", "path": "a.jpg"}], IMAGE), ("bytes", None, 3, False)),
        (pa.array([{"bytes": None, "path": "a"}], IMAGE), ("json", '{"bytes":n', 25, True)),
        (pa.array([19782], pa.date32()), ("json", "2024-02-29", 12, True)),
    ],
)
def test_cells(array, cell):
    """A value arrives as datasets.md says; what is longer than allowed is cut at a whole character."""
    found = cells.cell("c", array, "/v0/x/{}".format, 10)
    if cell[1] == "2024-02-29":  # JSON has quotes, so it is cut
        cell = ("json", '"2024-02-2', 12, True)
    sent = msgspec.json.decode(msgspec.json.encode(found["value"]))
    assert (found["kind"], sent, found["bytes"], found["cut"]) == cell
    assert found["url"] == ("/v0/x/c" if found["cut"] or found["kind"] == "bytes" else None)


@pytest.mark.parametrize(
    ("array", "value"),
    [(pa.array([b'{"a": 1}']), '{"a": 1}'), (pa.array([b"\xff"]), b"\xff"), (pa.array([None], pa.binary()), None), (pa.array([1]), 1)],
)
def test_bytes_that_are_text_can_be_read(array, value):
    """Of what was sent and received, which is bytes in any case."""
    assert cells.readable(array)[0].as_py() == value


def test_text_that_is_none_is_said():
    """Bytes in a column of texts that are not UTF-8 have no form in JSON."""
    found = cells.cell("c", pa.array([b"caf\xe9"]).view(pa.string()), str, 10)
    assert (found["kind"], "utf-8" in found["value"]) == ("none", True)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"), (b"GIF87a", "image/gif"),
        (b"RIFF1234WEBP", "image/webp"), (b"RIFF1234WAVE", cells.BYTES), (b"<svg/>", cells.BYTES), (b"<html>", cells.BYTES),
        (b"", cells.BYTES), (b"%PDF-1.7", cells.BYTES),
    ],
)  # fmt: skip
def test_only_images_of_pixels_have_a_type(data, media_type):
    """Whatever a browser could run is of unknown type."""
    assert cells.media_type(data) == media_type


def test_a_value_that_is_too_large_is_not_given():
    """The limit holds for texts and for what would need too much memory as values."""
    assert cells.whole(pa.array(["x" * (asked.MAX_VALUE_BYTES + 1)])).kind == "none"
    assert cells.whole(pa.nulls(1, pa.string())).data == b"null"
    many = pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), pa.nulls(20_000_000))
    assert cells.whole(many).kind == "none"
    assert cells.cell("c", many, str, 10)["bytes"] is None
