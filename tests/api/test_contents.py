"""Uploaded files of a dataset are looked into before it is ready, and no file can hurt the one who looks."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import anyio
import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.adapters import partitions
from dyff.api import contents, programs
from dyff.kernel import errors
from dyff.objects import local, manifests
from tests.arrow_types import schema_of
from tests.entities import bodies
from tests.sdk.small_datasets import encrypted, parquet, table

INDEX = ("_index_", pa.int64())
NOTHING = bodies.ROW.empty_table()
WIDE = pa.schema([INDEX, *((f"f{n}", pa.int8()) for n in range(8))])
A_LIST = pa.schema([INDEX, ("x", pa.list_(pa.struct([("a", pa.string())])))])


def rows(**columns) -> bytes:
    """A file with these columns, one row each unless they are arrays."""
    return bodies.parquet(pa.table({name: each if isinstance(each, pa.Array) else [each] for name, each in columns.items()}))


async def checked(path, files: dict[str, bytes], schema: pa.Schema = bodies.ROW) -> str:
    """What a dataset of these files is answered; empty: it is fine."""
    store = local.LocalObjects.open(path)
    stored = []
    for name, data in files.items():
        info = await store.put(f"datasets/x/{name}", data)
        stored.append(manifests.Artifact(path=name, key=info.key, size=info.size_bytes))
    try:
        manifest = manifests.Manifest(artifacts=tuple(stored))
        await contents.Contents(store).check({"schema": {"arrowSchema": bodies.arrow(schema)}}, manifest)
    except errors.FixRequest as error:
        return error.message
    return ""


GOOD = rows(_index_=1, text="a")


def listing() -> bytes:
    """The file `_metadata`, which lists the rows of another."""
    metadata = pa.parquet.read_metadata(pa.BufferReader(GOOD))
    metadata.set_file_path("a")
    sink = pa.BufferOutputStream()
    metadata.write_metadata_file(sink)
    return sink.getvalue().to_pybytes()


LISTING = listing()
WRONG = {
    "no Parquet at all": ({"a.csv": b"_index_,text\n1,a\n"}, bodies.ROW, "'a.csv' is not a Parquet"),
    "nothing": ({"a": b""}, bodies.ROW, "is not a Parquet file"),
    "only the end": ({"a": b"\x00\x00\x00\x00PAR1"}, bodies.ROW, "cannot be read as a Parquet file"),
    "the middle is cut out": ({"a": GOOD[:20] + GOOD[-8:]}, bodies.ROW, "is a damaged Parquet file"),
    "encrypted": ({"a": GOOD[:-4] + b"PARE"}, bodies.ROW, "is an encrypted Parquet file"),
    "a footer of garbage": ({"a": b"PAR1" + b"\xff" * 90 + (90).to_bytes(4, "little") + b"PAR1"}, bodies.ROW, "cannot be read as a"),
    "too large a footer": (
        {"a": b"x" * 2**24 + (2**24).to_bytes(4, "little") + b"PAR1"}, bodies.ROW, "more than 16777216; write fewer row groups"
    ),
    "another type": ({"a": rows(_index_=1, text=7)}, bodies.ROW, "the field 'text' should be string, but is int64; fix the file or"),
    "an index of another type": (
        {"a": rows(_index_=pa.array([1], pa.int32()), text="a")}, bodies.ROW, "the field '_index_' should be int64, but is int32"
    ),
    "a missing field": ({"a": rows(_index_=1)}, bodies.ROW, "the field 'text' should be string, but is missing"),
    "one too many": ({"a": rows(_index_=1, text="a", more=1.5)}, bodies.ROW, "the field 'more', which is double, is not declared"),
    "twice the same": (
        {"a": bodies.parquet(pa.table([[1], ["a"], ["b"]], names=["_index_", "text", "text"]))}, bodies.ROW, "'text' occurs 2 times"
    ),
    "a type inside": (
        {"a": rows(_index_=1, x=pa.array([[{"a": 1}]]))}, A_LIST, "'x' should be list<item: struct<a: string>>, but is list<"
    ),
    "not too many differences": ({"a": rows(_index_=1)}, WIDE, "'f4' should be int8, but is missing; 3 more differences"),
    "the second file": ({"a": GOOD, "b": rows(_index_=1)}, bodies.ROW, "'b' is not as"),
    "no rows": ({"a": bodies.parquet(NOTHING)}, bodies.ROW, "has no rows at all: 'a' should have at least one"),
    "no rows in any": ({"a": bodies.parquet(NOTHING), "b": bodies.parquet(NOTHING)}, bodies.ROW, "'a' and the other 1 files"),
    "a time of another kind": (
        {"a": rows(_index_=1, t=pa.array([1], pa.timestamp("us", "UTC")))}, pa.schema([INDEX, ("t", pa.timestamp("us"))]),
        "the field 't' should be timestamp[us], but is timestamp[us, tz=UTC]",
    ),
    "encrypted columns": ({"a": encrypted(table(1), plaintext_footer=True)}, bodies.ROW, "is an encrypted Parquet file"),
    "a part of the data is cut out": ({"a": GOOD[:60] + GOOD[-600:]}, bodies.ROW, "a part of its data is missing"),
    "a list of the rows of others": ({"a": GOOD, "_metadata": LISTING}, bodies.ROW, "'_metadata' lists the rows of other files"),
    "a second value in the path": (
        {"n=1/n=2/a": rows(_index_=1)}, pa.schema([INDEX, ("n", pa.int32())]), "has folders with two values of the column 'n'"
    ),
    "a column of the path that says something else": (
        {"n=1/a": rows(_index_=1, n=2)}, pa.schema([INDEX, ("n", pa.int64())]), "the field 'n' is '1' in the path and something else"
    ),
    "a text of the path that says something else": (
        {"n=01/a": rows(_index_=1, n="1")}, schema_of(INDEX, ("n", pa.string())), "the field 'n' is '01' in the path and something else"
    ),
    "a column of the path that has another type in the file": (
        {"n=1/a": rows(_index_=1, n="1")}, pa.schema([INDEX, ("n", pa.int32())]), "the field 'n' should be int32, but is string"
    ),
    "a column of the path that is only in the file declared": (
        {"n=1/a": rows(_index_=1, n=1)}, pa.schema([INDEX]), "the field 'n', which is int64, is not declared"
    ),
    "indices from 0 in each file": (
        {"a": parquet(table(0, 1)), "b": parquet(table(0, 1))}, bodies.ROW, "'b' has the _index_ 0 of 'a' again"
    ),
    "more rows than indices": ({"a": parquet(table(4, 5, 4))}, bodies.ROW, "has 3 rows whose _index_ is from 4 to 5, so some are"),
    "more rows than indices in all files": (
        {"a": parquet(table(0, 3, 9)), "b": parquet(table(1, 4, 8, 8)), "c": parquet(table(2, 3, 4, 7))}, bodies.ROW,
        "'c' is one of several files with 11 rows whose _index_ is from 0 to 9",
    ),
    "a row without index": ({"a": parquet(table(1, None, 3))}, bodies.ROW, "has 1 rows without an _index_"),
    "an index in the path of two rows": (
        {"_index_=4/a": rows(text=pa.array(["a", "b"]))}, bodies.ROW, "has 2 rows whose _index_ is from 4 to 4"
    ),
    "no index in the path": ({"_index_=__HIVE_DEFAULT_PARTITION__/a": rows(text="a")}, bodies.ROW, "has rows without an _index_"),
    "a path with another type": (
        {"n=x/a": rows(_index_=1)}, pa.schema([INDEX, ("n", pa.int32())]), "the field 'n' should be int32, but is 'x' in the path"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
async def test_files_that_a_run_could_not_read_are_reported(tmp_path, case):
    """The file, the field, the type that was declared, the one that is there, and what to do."""
    files, schema, want = WRONG[case]
    answer = await checked(tmp_path, files, schema)
    assert want in answer
    assert "create a new dataset" in answer


RIGHT = {
    "indices in no order": ({"a": parquet(table(9, -3, 5)), "b": parquet(table(0, 7, 2))}, bodies.ROW),
    "indices without statistics": ({"a": parquet(table(1, 2), write_statistics=False)}, bodies.ROW),
    "indices at the ends of their range": ({"a": parquet(table(2**63 - 1, -(2**63)))}, bodies.ROW),
    "an index in the path": ({"_index_=4/a": rows(text="a"), "_index_=5/a": rows(text="b")}, bodies.ROW),
    "nothing but nulls": ({"a": GOOD, "b": rows(_index_=2, text=pa.array([None]))}, bodies.ROW),
    "times in several units": (
        {"a": rows(_index_=1, t=pa.array([1], pa.timestamp("us"))), "b": rows(_index_=2, t=pa.array([1], pa.timestamp("ns")))},
        pa.schema([INDEX, ("t", pa.timestamp("us"))]),
    ),
    "a column of the path that the file has too": ({"n=1/a": rows(_index_=1, n=1)}, pa.schema([INDEX, ("n", pa.int64())])),
    "a path as text": ({"zip=01234/a": rows(_index_=1)}, schema_of(INDEX, ("zip", pa.string()))),
    "a time in the path": ({"t=2024-01-01 10/a": rows(_index_=1)}, pa.schema([INDEX, ("t", pa.timestamp("us", "UTC"))])),
    "names that begin with an underscore": ({"_a/_b": GOOD}, bodies.ROW),
    "the declared schema": ({"a": GOOD}, bodies.ROW),
    "an empty file next to one with rows": ({"a": bodies.parquet(NOTHING), "b": GOOD}, bodies.ROW),
    "columns in another order": ({"a": rows(text="a", _index_=1)}, bodies.ROW),
    "text as other writers keep it": (
        {"a": rows(_index_=1, text=pa.array(["a"], pa.large_string())), "b": rows(_index_=2, text=pa.array(["a"]).dictionary_encode())},
        bodies.ROW,
    ),
    "a time in another unit": ({"a": rows(_index_=1, t=pa.array([1], pa.timestamp("us")))}, pa.schema([INDEX, ("t", pa.timestamp("s"))])),
    "large lists": ({"a": rows(_index_=1, x=pa.array([[{"a": "b"}]], pa.large_list(pa.struct([("a", pa.string())]))))}, A_LIST),
    "a column of the path": ({"n=1/a": rows(_index_=1), "n=2/a": rows(_index_=2)}, pa.schema([INDEX, ("n", pa.int32())])),
    "a column of some paths": ({"n=1/a": rows(_index_=1), "a": rows(_index_=2)}, pa.schema([INDEX, ("n", pa.int32())])),
    "a path for a missing value": (
        {"n=__HIVE_DEFAULT_PARTITION__/a": rows(_index_=1)}, pa.schema([INDEX, ("n", pa.int32())])
    ),
    "a footer that is longer than what is fetched at once": (
        {"a": bodies.parquet(pa.table({"_index_": range(4000), "text": ["a"] * 4000}), row_group_size=2)}, bodies.ROW
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
async def test_files_that_a_run_can_read_are_fine(tmp_path, case):
    """How values are kept is the writer's affair; what they are is as declared."""
    files, schema = RIGHT[case]
    assert await checked(tmp_path, files, schema) == ""


def broken(data: bytes) -> list[bytes]:
    """`data`, cut short and with bytes changed, the same at every run."""
    chance = random.Random(7)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    found = [data[:at] + data[-8:] for at in range(0, len(data), 11)]
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 8])):
            changed[len(data) - 1 - chance.randrange(8, footer)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        found.append(bytes(changed))
    return found


async def test_no_broken_file_is_more_than_a_problem():
    """Whatever is in a footer, there is an answer about it, or the program ends and the next one answers again."""
    data = bodies.parquet(pa.table({"_index_": range(9), "x": [[{"a": "b"}]] * 9}), row_group_size=3)
    left, answers = broken(data), []
    while left:
        async with contents._reader(A_LIST.serialize().to_pybytes(), b"[]") as reader:
            while left:
                footer = left.pop()[-int.from_bytes(data[-8:-4], "little") - 8 :]
                try:
                    with anyio.fail_after(contents.ANSWER_S):
                        answers.append(await reader.ask("a", len(data), len(footer), programs.whole(footer)))
                except programs.Lost:
                    break
    assert sum(bool(each.problems) for each in answers) > 100
    assert all(len(problem) < 1000 for each in answers for problem in each.problems)


FRAME = "sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(4), 'big')); "
BEGIN = f"import os, sys, time; {FRAME * 2}print('ready', flush=True); "
"""As the real program does: it is ready when it has read the schema and the columns of the paths."""
PROGRAMS = {
    "crashes": (BEGIN + "os.abort()", "more memory or time than is allowed"),
    "never answers": (BEGIN + "time.sleep(1000)", "more memory or time than is allowed"),
    "floods": (BEGIN + "sys.stdout.write('x' * 10**8)", "more memory or time than is allowed"),
    "lies": (BEGIN + "print('[]', flush=True); time.sleep(1000)", "more memory or time than is allowed"),
}


@pytest.mark.parametrize("case", PROGRAMS)
async def test_a_reader_that_a_file_has_taken_over_is_ended(tmp_path, monkeypatch, case):
    """It costs the file, whatever it does, within a bounded time; nothing of it is left."""
    text, want = PROGRAMS[case]
    monkeypatch.setattr(contents, "_PROGRAM", [sys.executable, "-I", "-c", text])
    monkeypatch.setattr(contents, "ANSWER_S", 2.0)
    begun = time.monotonic()
    assert want in await checked(tmp_path, {"a": GOOD})
    assert time.monotonic() - begun < 10


async def test_the_reader_gets_nothing_of_ours(tmp_path, monkeypatch):
    """No environment, not our directory, no file that is open here."""
    monkeypatch.setenv("DYFF_SECRET", "secret")
    probe = "import json; names = sorted(set(os.environ) - {'LC_CTYPE'}); files = len(os.listdir('/proc/self/fd'))"
    answer = "print(json.dumps({'rows': 0, 'problems': [f'{names} {os.getcwd()} {files}']}), flush=True)"
    monkeypatch.setattr(contents, "_PROGRAM", [sys.executable, "-I", "-c", BEGIN + probe + "; " + answer + "; sys.stdin.read()"])
    with open(__file__):
        assert "[] / 4;" in await checked(tmp_path, {"a": GOOD})


async def test_a_reader_that_cannot_start_is_not_the_files_fault(tmp_path, monkeypatch):
    """Then it cannot be found out now, which is no problem of the request."""
    for program in (["/nowhere/python"], [sys.executable, "-c", "raise SystemExit(1)"]):
        monkeypatch.setattr(contents, "_PROGRAM", program)
        with pytest.raises(errors.Unavailable):
            await checked(tmp_path, {"a": GOOD})


def test_the_readers_memory_is_bounded():
    """What is over the limit is refused by the operating system."""
    code = "from dyff.api import bounded; bounded.limit(); bytearray(bounded.ADDRESS_SPACE_BYTES)"
    ended = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == "MemoryError"


def test_partitions_are_the_directories_with_a_value():
    """The file's own name is none."""
    assert partitions.given("a/n=1/m=x=y/o=2.parquet") == {"n": "1", "m": "x=y"}
