"""Odd values in a dataset, through a whole evaluation: each arrives exactly, or costs its own item."""

from __future__ import annotations

import contextlib
import http.server
import json
from typing import Any

import pyarrow as pa
import pytest

from dyff.workflows import failures, rows
from tests import http_servers
from tests.adapters import arriving
from tests.workflows import runs

GOOD = [each for each in arriving.examples() if each.in_parquet and not each.fails]
BAD = [each for each in arriving.examples() if each.in_parquet and each.fails]


def step(**template):
    return [{"kind": "TransformJSON", "configuration": template}]


@contextlib.contextmanager
def a_recording_service():
    """A service that keeps the body of each request; its URL, and the bodies."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send(404, b"")

        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send(200, json.dumps({"choices": [{"text": "fine"}]}).encode())

        def send(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with runs.serving(http_servers.Server(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", bodies


def one_bad_value_each(count):
    """A table whose row `n` has a value that cannot be sent in column `bad{n}` and null in the others; and `count` good rows more."""
    size = len(BAD) + count
    columns = {"_index_": pa.array(range(size)), "text": pa.array([f"prompt number {place}" for place in range(size)])}
    for place, example in enumerate(BAD):
        one = example.array()
        columns[f"bad{place}"] = pa.concat_arrays([pa.nulls(place, one.type), one, pa.nulls(size - place - 1, one.type)])
    return pa.table(columns)


def test_every_type_arrives_as_the_page_says(store, steps):
    """One item with a value of each type of docs/datasets.md: the service receives what the table says, byte for byte."""
    arrays = {f"c{place}": example.array() for place, example in enumerate(GOOD)}
    store.dataset(pa.table({"_index_": pa.array([7]), **arrays}))
    with a_recording_service() as (url, bodies):
        ended = steps.evaluate(url, inputs=[{"kind": "Drop", "configuration": {"fields": ["_index_"]}}])
    assert ended.code == 0, ended
    want = ",".join(f'"c{place}":{example.json}' for place, example in enumerate(GOOD))
    assert bodies == [f"{{{want}}}"]


@pytest.mark.parametrize("policy", ["Ignore", "Error"])
@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_a_value_that_cannot_be_sent_costs_its_item(store, steps, policy, row_group_size):
    """The error names the column and why; all other items are done, and the policy decides at the end."""
    store.dataset(one_bad_value_each(20), row_group_size=row_group_size)
    inputs = step(prompt="$.text", more=[f"$.bad{place}" for place in range(len(BAD))])
    with a_recording_service() as (url, bodies):
        ended = steps.evaluate(url, inputs=inputs, client={"missingOutputPolicy": policy}, replications=2)
    assert ended.code == (0 if policy == "Ignore" else 20), ended
    assert len(bodies) == 40
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(len(BAD), len(BAD) + 20), 2)
    found = {(row["_index_"], row["_replication_"]): row for row in store.raw_errors()}
    assert sorted(found) == runs.all_pairs(range(len(BAD)), 2)
    assert {row["error"] for row in found.values()} == {failures.INPUT_VALUE}
    for (index, _), row in found.items():
        assert row["message"].startswith(f"the column 'bad{index}' cannot be sent: ")
        assert BAD[index].json in row["message"] or "date64" in BAD[index].type
    assert f"{2 * len(BAD)} items were given up" in ended.last
    if policy == "Ignore":
        assert steps.verify(client={"missingOutputPolicy": policy}, replications=2).code == 0
        assert len(store.errors()) == 2 * len(BAD)


def test_a_column_that_nobody_reads_does_not_matter(store, steps):
    """Values that cannot be sent are no problem in columns that the pipelines do not use."""
    store.dataset(one_bad_value_each(5))
    with a_recording_service() as (url, bodies):
        assert steps.evaluate(url).code == 0
    assert len(bodies) == len(BAD) + 5


def test_a_column_that_is_there_twice(store, steps):
    """Arrow cannot read such a dataset, so it is named before anything is sent."""
    columns: list[pa.Array[Any]] = [pa.array([0, 1]), pa.array(["a", "b"]), pa.array([1, 2]), pa.array([3, 4])]
    store.dataset(pa.Table.from_arrays(columns, ["_index_", "text", "x", "x"]))
    with a_recording_service() as (url, bodies):
        ended = steps.evaluate(url)
    assert (ended.code, bodies) == (65, [])
    assert "data.parquet: the column 'x' is there 2 times: rename all but one" in ended.last


def test_files_can_store_a_column_differently(store, steps):
    """Each file's values arrive from its own type, without loss. What has another form is cast, or fails its item."""
    micros, nanos = pa.array([1_000_001], pa.timestamp("us")), pa.array([1_000_000_001], pa.timestamp("ns"))
    store.dataset(pa.table({"_index_": [0], "t": micros, "n": pa.array([1.5]), "s": ["x"]}), name="a.parquet")
    store.dataset(pa.table({"_index_": [1], "t": nanos, "n": pa.array([2]), "s": pa.array(["y"]).dictionary_encode()}), name="b.parquet")
    store.dataset(
        pa.table({"_index_": [2], "t": nanos, "n": pa.array(["many"]), "s": pa.array(["z"], pa.large_string())}), name="c.parquet"
    )
    with a_recording_service() as (url, bodies):
        ended = steps.evaluate(url, inputs=step(a="$.t", b="$.n", c="$.s"), client={"missingOutputPolicy": "Ignore"})
    assert ended.code == 0, ended
    assert sorted(bodies) == [
        '{"a":"1970-01-01T00:00:01.000000001","b":2.0,"c":"y"}',
        '{"a":"1970-01-01T00:00:01.000001","b":1.5,"c":"x"}',
    ]
    [error] = store.raw_errors()
    assert (error["_index_"], error["error"]) == (2, failures.INPUT_VALUE)
    assert error["message"].startswith("the column 'n' cannot be sent: it is not of the type double that the dataset declares")


@pytest.mark.parametrize("types", [["text"], ["text", "bytes", "numbers"]])
def test_a_row_that_is_too_large_costs_its_item(store, steps, monkeypatch, types):
    """A row beyond the limit is not sent, and says how large it is; rows next to it are."""
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 10_000)
    large = {"text": "x" * 20_000, "bytes": b"x" * 20_000, "numbers": [1] * 20_000}
    small = {"text": "x", "bytes": b"x", "numbers": [1]}
    items = [{"_index_": 0, **small}]
    items += [{"_index_": place, **small, name: large[name]} for place, name in enumerate(types, start=1)]
    store.dataset([*items, {"_index_": 9, **small}])
    with a_recording_service() as (url, bodies):
        ended = steps.evaluate(url, inputs=[{"kind": "Drop", "configuration": {"fields": ["nothing"]}}])
    assert ended.code == 20, ended
    assert sorted(json.loads(body)["_index_"] for body in bodies) == [0, 9]
    found = {row["_index_"]: row["message"] for row in store.raw_errors()}
    assert sorted(found) == list(range(1, len(types) + 1))
    assert all("bytes in memory, and at most 10000 can be sent" in message for message in found.values())


def test_a_request_that_is_too_large_costs_its_item(store, steps, monkeypatch):
    """What the pipeline makes of an item can be too large, too."""
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 10_000)
    store.dataset([{"_index_": 0, "text": "a"}, {"_index_": 1, "text": "x" * 100}])
    with a_recording_service() as (url, bodies):
        ended = steps.evaluate(url, inputs=step(x=["$.text"] * 200))
    assert (ended.code, len(bodies)) == (20, 1), ended
    [error] = store.raw_errors()
    assert (error["_index_"], error["error"]) == (1, failures.INPUT_VALUE)
    assert "it has more than 10000 bytes" in error["message"]


def test_a_sum_of_more_than_64_bits_is_exact(store, steps):
    """Numbers that the pipeline computes are sent with all their digits."""
    store.dataset([{"_index_": 0, "numbers": [2**63 - 1] * 8}])
    with a_recording_service() as (url, bodies):
        assert steps.evaluate(url, inputs=step(x={"$compute": [{"$scalar": "$.numbers"}, {"$func": "reduce"}]})).code == 0
    assert bodies == [f'{{"x":{8 * (2**63 - 1)}}}']


def test_a_partition_is_converted_as_a_column_is(store, steps):
    """The values in the paths of files arrive, too, whatever columns the files have."""
    store.dataset([{"_index_": 0, "text": "one"}], name="n=1/language=en/a.parquet")
    store.dataset([{"_index_": 1, "text": "zwei"}], name="n=2/language=de/a.parquet")
    with a_recording_service() as (url, bodies):
        assert steps.evaluate(url, inputs=step(l="$.language", n="$.n")).code == 0
    assert sorted(bodies) == ['{"l":"de","n":2}', '{"l":"en","n":1}']


def test_times_of_96_bits_are_exact(store, steps):
    """Spark writes times in 96 bits, which Arrow reads in nanoseconds that begin again in 2262: far times and nanoseconds both arrive."""
    micros = pa.array([253402300799000001, -62135596800000000, 1_000_001, None, 10**18], pa.timestamp("us"))
    nanos = pa.array([1_000_000_001, 5, -1, None, None], pa.timestamp("ns"))
    deep = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4, 5], pa.int32()), micros)
    table = pa.table({"_index_": range(5), "a": micros, "b": nanos, "c": deep, "d": ["x"] * 5})
    store.dataset(table, use_deprecated_int96_timestamps=True)
    with a_recording_service() as (url, bodies):
        assert steps.evaluate(url, workers=1, inputs=step(a="$.a", b="$.b", c="$.c", d="$.d")).code == 20
    far = ["9999-12-31T23:59:59.000001", "0001-01-01T00:00:00", "1970-01-01T00:00:01.000001", None]
    near = ["1970-01-01T00:00:01.000000001", "1970-01-01T00:00:00.000000005", "1969-12-31T23:59:59.999999999", None]
    assert [json.loads(body) for body in bodies] == [{"a": a, "b": b, "c": [a], "d": "x"} for a, b in zip(far, near, strict=True)]
    [error] = store.raw_errors()
    assert (error["_index_"], "the column 'a' cannot be sent: " in error["message"]) == (4, True)
