"""A large evaluation needs no more memory than a small one."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests import waiting
from tests.arrow_types import schema_of
from tests.narrowing import sure
from tests.workflows import runs

FEW, ROWS, ROW_BYTES = 25_000, 50_000, 4_000
MANY = int(os.environ.get("DYFF_TEST_ROWS", "0"))


def peak_mib(steps, name, *arguments, **kwargs):
    """Run a step that must succeed; the most memory that it had, as its own system says (what a parent learns includes the parent's)."""
    process = steps.start(name, *arguments, **kwargs)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, peak_so_far_mib(process.pid))
        waiting.a_blocking_moment()
    output, _ = process.communicate(timeout=5)
    assert process.returncode == 0, output
    return peak


def peak_so_far_mib(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


@pytest.fixture(autouse=True)
def given_back():
    """This process does not keep the memory of its datasets, which other tests would be counted with."""
    yield
    pa.default_memory_pool().release_unused()


def a_dataset(count):
    """Rows that do not compress, in one row group. They are one piece of memory: of many small ones the process would keep most."""
    text = os.urandom(count * ROW_BYTES // 2).hex().encode()
    _, ends = pa.array(range(0, len(text) + 1, ROW_BYTES), pa.int32()).buffers()
    return pa.table({"_index_": range(count), "text": pa.StringArray.from_buffers(count, sure(ends), pa.py_buffer(text))})


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(store, steps):
    """50,000 items of 4 kB each take the client hardly more memory than 25,000 (100 MB less), and the verification a bounded amount.

    With fewer bytes its buffers and its allocators' arenas are not all filled yet: on busy cores from 8 to 100 MB up to 49 MiB more.
    """
    with runs.a_fast_service() as url:
        manifest = steps.manifest(url, workers=16)
        store.dataset(a_dataset(FEW))
        small = peak_mib(steps, "evaluation-client", "--manifest", manifest)
        shutil.rmtree(store.objects / "outputs")  # else what is done already is not done again
        store.dataset(a_dataset(ROWS))
        large = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-2")
        again = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-3")
        verification = peak_mib(steps, "verify-evaluation-output", "--manifest", manifest, attempt="verify")
    assert store.verified().num_rows == ROWS
    growth = (large - small, again - small)
    assert max(growth) < 40
    assert verification - small < 100


@pytest.mark.slow
def test_large_rows_are_few_at_a_time(store, steps):
    """Rows of 2 MiB, as images are, are read a few at a time: 400 MiB of them take less than 150 MiB more than small ones."""
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": "$.image"}}]
    with runs.a_fast_service() as url:
        manifest = steps.manifest(url, inputs=inputs, workers=4)
        store.dataset(pa.table({"_index_": range(10), "image": [b"x"] * 10}))
        small = peak_mib(steps, "evaluation-client", "--manifest", manifest)
        # By default Arrow puts a thousand rows into one page, whatever their size, and nobody can read less than a page.
        store.dataset(pa.table({"_index_": range(200), "image": [os.urandom(2**21) for _ in range(200)]}), write_batch_size=1)
        large = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-2")
    assert len(store.raw_rows()) == 200
    assert large - small < 150


def repeated(kind, count=80, cell_bytes=5_000_000):
    """Rows of 5 MB in a file of some KiB, and the options to write it: Arrow stores what repeats once."""
    cell, plain = "x" * cell_bytes, {"use_dictionary": False, "compression": "zstd"}
    if kind == "a dictionary":
        return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([cell])), {"store_schema": False}
    if kind == "a dictionary type":
        return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([cell])), {}
    if kind == "prefixes":
        return pa.array([cell] * count), {**plain, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}, "data_page_size": 2**30}
    if kind == "compressed pages":
        return pa.array([cell] * count), {**plain, "write_batch_size": 1}
    if kind == "lists of numbers":
        return pa.array([[1] * (cell_bytes // 25)] * count), {}
    return pa.array([[None] * (cell_bytes // 10)] * count, pa.list_(pa.bool_())), {}


KINDS = ["a dictionary", "a dictionary type", "prefixes", "compressed pages", "lists of numbers", "lists of nulls"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_small_in_the_file_are_few_at_a_time(store, steps, kind):
    """What the client needs depends on the bytes of a row and not on their number, however small the file is, however many workers wait."""
    values, options = repeated(kind)
    with runs.a_fast_service() as url:
        manifest = steps.manifest(url, workers=32)
        store.dataset(pa.table({"_index_": range(10), "text": ["x"] * 10}))
        small = peak_mib(steps, "evaluation-client", "--manifest", manifest)
        store.dataset(pa.table({"_index_": range(len(values)), "text": values}), **options)
        assert (store.objects / "datasets" / runs.DATASET / "data.parquet").stat().st_size < 300_000
        large = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-2")
    assert len(store.raw_rows()) == len(values)
    assert large - small < 250  # 64 MiB wait and are sent, and one row is converted


@pytest.mark.slow
def test_a_row_that_is_too_large_needs_no_memory_for_its_values(store, steps):
    """A list of 20 million values in a small file is not converted, which would take a gigabyte; the other items are sent."""
    lists = pa.array([[1], [1] * 20_000_000, [2]])
    with runs.a_fast_service() as url:
        manifest = steps.manifest(url, workers=4, client={"missingOutputPolicy": "Ignore"})
        store.dataset(pa.table({"_index_": range(3), "text": lists}))
        peak = peak_mib(steps, "evaluation-client", "--manifest", manifest)
    assert [row["_index_"] for row in store.raw_errors()] == [1]
    assert len(store.raw_rows()) == 2
    assert peak < 100 + 4 * 160  # Arrow has the row once or twice, with its levels


def many_rows(file, count, at_once=100_000):
    """Store `count` rows of some 200 bytes, without having them all in memory."""
    file.parent.mkdir(parents=True)
    schema = schema_of(("_index_", pa.int64()), ("text", pa.string()))
    with pa.parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, count, at_once):
            indices = range(start, min(start + at_once, count))
            writer.write_table(pa.table([indices, [f"{index} {os.urandom(90).hex()}" for index in indices]], schema=schema))


@pytest.mark.slow
@pytest.mark.skipif(not MANY, reason="takes minutes: set DYFF_TEST_ROWS, for instance to 1000000")
def test_a_million_items_fit_into_300_mb(store, steps):
    """As many items as the environment says, DYFF_TEST_ROWS, take no step more than 300 MB, whether it starts or goes on."""
    many_rows(store.objects / "datasets" / runs.DATASET / "data.parquet", MANY)
    with runs.a_fast_service() as url:
        manifest = steps.manifest(url, workers=32)
        started = time.monotonic()
        peaks = {"client": peak_mib(steps, "evaluation-client", "--manifest", manifest)}
        took_s = time.monotonic() - started
    peaks["client again"] = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-2")
    peaks["verification"] = peak_mib(steps, "verify-evaluation-output", "--manifest", manifest, attempt="verify")
    shown = ", ".join(f"{name} {peak:.0f} MiB" for name, peak in peaks.items())
    print(f"{MANY} items, {MANY / took_s:.0f}/s: {shown}")  # noqa: T201
    assert sum(artifact["path"].startswith("part-") for artifact in store.manifest()) >= 1
    assert max(peaks.values()) * 2**20 < 300e6, shown
