"""Parts of the steps that are better looked at alone: the set of indices, the progress, storing, the ends of a step."""

from __future__ import annotations

import random
import time
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pyarrow as pa
import pytest

from dyff.kernel import clock, errors
from dyff.objects import layout, local, manifests
from dyff.workflows import endings, inputs, items, outputs, pacing, parquet_files, progress, trees
from tests import waiting
from tests.narrowing import sure
from tests.workflows import runs


def test_a_set_of_indices():
    """Indices are found whatever their order and width, and duplicates are counted."""
    found = items.Indices([pa.array([5, 3], pa.int32()), pa.array([2**40, 3, -7], pa.int64())])
    assert [index for index in (-7, 0, 3, 4, 5, 2**40, 2**41) if index in found] == [-7, 3, 5, 2**40]
    assert (len(found), found.duplicates) == (5, 1)
    assert 0 not in items.Indices([])


class Flaky:
    """A store that fails the first times."""

    def __init__(self, store, *failures):
        self.store, self.failures, self.keys = store, list(failures), []

    async def put(self, key, data, **options):
        self.keys.append(key)
        if self.failures:
            raise self.failures.pop(0)
        return await self.store.put(key, data, **options)


@pytest.fixture
def objects(tmp_path):
    return local.LocalObjects.open(tmp_path)


async def test_partitions_come_from_paths_not_from_keys(objects):
    """Sealed files have keys without a path. The manifest has it, and so the same columns are there; identical files are two."""
    root, data = layout.root("datasets", "d" * 32), parquet_files.encode(pa.table({"_index_": [1]}))
    await objects.put(layout.blob(root, "x"), data)
    paths = ("language=en/a.parquet", "language=de/a.parquet")
    listed = tuple(manifests.Artifact(path=path, key=layout.blob(root, "x"), size=len(data)) for path in paths)
    await manifests.write(objects, root, manifests.Manifest(artifacts=listed))
    async with trees.reader(objects) as reader:
        found = await inputs.dataset(objects, reader, "d" * 32)
        rows = await anyio.to_thread.run_sync(lambda: [row for batch in trees.batches(found, 10) for row in batch.to_pylist()])
    assert rows == [{"_index_": 1, "language": "en"}, {"_index_": 1, "language": "de"}]


async def test_storing_is_tried_again(objects):
    """A store that does not answer for a moment loses no output and ends no run."""
    flaky: Any = Flaky(objects, errors.Unavailable(), errors.OutcomeUnknown())
    assert (await outputs.persist(flaky, "outputs/x", b"data")).size_bytes == 4
    assert len(flaky.keys) == 3


@pytest.mark.virtual_time
async def test_a_full_disk_is_waited_for(objects, capsys):
    """However long there is no space, no attempt of the run is used up; the log says once what is waited for."""
    flaky: Any = Flaky(objects, *[errors.DiskFull("the disk is full")] * 100)
    assert (await outputs.persist(flaky, "outputs/x", b"data")).size_bytes == 4
    assert len(flaky.keys) == 101
    assert capsys.readouterr().out == "the disk is full; waiting for space\n"


async def test_rows_are_stored_within_seconds(objects, monkeypatch):
    """Rows are durable a moment after they are added, even if the file is not full."""
    monkeypatch.setattr(outputs, "FLUSH_INTERVAL_S", 0.05)
    writer = outputs.Outputs(objects, "raw/", "errors/", runs.SCHEMA, 1000)
    async with writer.stored():
        await writer.add(runs.outputs([0])[0])
        with anyio.fail_after(5):
            while not [info async for info in objects.list("raw/")]:
                await waiting.a_moment()


async def test_files_have_at_most_the_batch_size(objects):
    """No file has more rows than the batch size, and none is lost, however fast they come."""
    writer = outputs.Outputs(objects, "raw/", "errors/", runs.SCHEMA, 10)
    async with writer.stored():
        for row in runs.outputs(range(95)):
            await writer.add(row)
    tables = [pa.parquet.read_table(pa.BufferReader(await objects.get(info.key))) async for info in objects.list("raw/")]
    assert max(table.num_rows for table in tables) == 10
    assert sorted(sure(index) for table in tables for index in table["_index_"].to_pylist()) == list(range(95))


async def test_large_rows_make_small_files(objects):
    """Files are bounded by bytes, too: large rows don't pile up until there are `batch_size` of them, and who adds has to wait."""
    writer = outputs.Outputs(objects, "raw/", "errors/", runs.SCHEMA, 1000)
    large = "x" * 2**20
    async with writer.stored():
        for row in runs.outputs(range(40), text=large):
            await writer.add(row, None, len(large))
            assert len(writer._rows) <= 16
    tables = [pa.parquet.read_table(pa.BufferReader(await objects.get(info.key))) async for info in objects.list("raw/")]
    assert sum(table.num_rows for table in tables) == 40
    assert len(tables) >= 5


@pytest.mark.virtual_time
async def test_a_pause_is_kept_and_left_little_by_little():
    """Nobody begins during the pause, a longer one replaces it, and afterwards not all begin at the same moment."""

    class LoopClock(clock.SystemClock):
        def monotonic(self):
            return anyio.current_time()

    pace = pacing.Pace(LoopClock(), random.Random(1))
    begun, started = [], anyio.current_time()

    async def worker():
        await pace.turn()
        begun.append(anyio.current_time() - started)

    pace.hold(10, "status 429")
    pace.hold(5, "status 429")
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(worker)
        await anyio.sleep(1)
        pace.hold(20, "status 429")
    assert min(begun) >= 21
    assert 22 <= max(begun) <= 23.1
    await worker()
    assert begun[-1] == max(begun)


async def test_progress_at_start_and_end(objects):
    """The progress is there from the first moment and exact at the end."""
    shown = progress.Progress(objects, "progress.json", "Inference", 10, 4)
    async with shown.shown():
        assert msgspec.json.decode(await objects.get("progress.json")) == {"stage": "Inference", "done": 4, "total": 10, "rate": 0.0}
        shown.done = 10
    value = msgspec.json.decode(await objects.get("progress.json"))
    assert (value["done"], value["total"], value["rate"] > 0) == (10, 10, True)


async def test_progress_is_written_at_most_once_a_second(objects):
    """However often it changes, the object is written once a second; a store that fails costs the view alone."""
    flaky: Any = Flaky(objects, errors.Unavailable("no disk"))
    shown = progress.Progress(flaky, "progress.json", "Inference", 10)
    started = time.monotonic()
    async with shown.shown():
        for _ in range(10):
            shown.done += 1
            # real time: the object is written once a second while its value changes
            await anyio.sleep(0.11)
    assert 3 <= len(flaky.keys) <= 2 + (time.monotonic() - started)
    assert msgspec.json.decode(await objects.get("progress.json"))["done"] == 10


@pytest.mark.parametrize(
    ("error", "want_code", "want_last"),
    [
        (endings.Ending(20, "Too late."), 20, "Too late."),
        (ExceptionGroup("", [ValueError("x"), endings.Ending(10, "Bad.")]), 10, "Bad."),
        (errors.Misconfigured("wrong"), 78, "wrong"),
        (errors.Unavailable("the store is away"), 75, "the store is away. Try again."),
        (KeyError("oops"), 70, "The step failed unexpectedly: KeyError: 'oops'. The log has the traceback; please report it."),
    ],
)
def test_how_a_step_ends(capsys, error, want_code, want_last):
    """Each error has its exit code, and the last line says what failed; only a defect shows its traceback."""

    async def step():
        raise error

    assert endings.run(step) == want_code
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == want_last
    assert ("Traceback" in printed) == (want_code == 70)
