"""A page of the samples of an evaluation, read by the bounded program, against bare pyarrow in this process, alternating in one run.

`python benchmarks/samples.py 1000000` for as many rows; 100,000 without it. The files are as a writer of datasets and the verification
of outputs write them: one row group of all items, outputs in row groups of 65,536. It prints medians in milliseconds, and ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pyarrow as pa
import pyarrow.parquet as pq

from dyff.api.samples import asked, asking
from dyff.kernel import clock
from dyff.objects import local, signing

ROUNDS = 15
LIMIT = 25
GOAL_MS = 200
REPLICATION = "0" * 32
RESPONSES = pa.list_(pa.struct({"_response_index_": pa.int64(), "text": pa.string()}))


def write(folder: Path, rows: int) -> None:
    """Write the items, the outputs and a measurement."""
    index = pa.array(range(rows))
    prompts = [f"What is {each} plus {each}? " + "Think step by step. " * 4 for each in range(rows)]
    pq.write_table(pa.table({"_index_": index, "prompt": prompts}), folder / "items")
    texts = pa.array([f"It is {2 * each}." for each in range(rows)])
    inner = pa.StructArray.from_arrays([pa.repeat(0, rows), texts], names=["_response_index_", "text"])
    responses = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), inner)
    outputs = pa.table({"_replication_": [REPLICATION] * rows, "_index_": index, "responses": responses})
    pq.write_table(outputs, folder / "outputs", row_group_size=2**16, compression="zstd")
    pq.write_table(pa.table({"_index_": index, "correct": [each % 3 == 0 for each in range(rows)]}), folder / "scores")


def bare(folder: Path) -> list[object]:
    """The first rows of each file as values of Python."""
    return [
        next(pq.ParquetFile(folder / name, pre_buffer=False).iter_batches(LIMIT)).to_pylist() for name in ("items", "outputs", "scores")
    ]


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await work()
    return 1000 * (time.perf_counter() - began)


async def main() -> None:
    """Measure."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder, rows)
        objects = local.LocalObjects.open(folder / "store", signing.Signer(b"secret", "http://x", clock.SystemClock()))
        stored = []
        for name in ("outputs", "items", "scores"):
            info = await objects.put(name, (folder / name).read_bytes())
            stored.append(asking.Stored(name, info.size_bytes))
        files = [asked.File(number, each.key, each.size) for number, each in enumerate(stored)]
        request = {
            "url": "/v0/evaluations/x/samples", "outputs": asked.Table(files=(files[0],), is_sorted=True),
            "items": asked.Table(files=(files[1],), unique=True), "measurements": (asked.Table(files=(files[2],), id="x"),),
            "replications": (REPLICATION,), "limit": LIMIT,
        }  # fmt: skip
        programs = asking.Asking(objects)
        await programs.warm()
        pages = {
            "first page": {}, "page in the middle": {"after": (rows // 2, 0)}, "last page": {"after": (rows - 10, 0)},
            "one index": {"where": asked.Where(index=rows // 3)}, "a second of a search for a text": {"where": asked.Where(text="no such")},
        }  # fmt: skip
        found: dict[str, list[float]] = {name: [] for name in ("bare first rows", *pages)}
        looked = 0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            bare(folder)
            found["bare first rows"].append(1000 * (time.perf_counter() - began))
            for name, more in pages.items():

                async def ask(more: dict[str, object] = more) -> None:
                    nonlocal looked
                    answer = await programs.ask("me", asked.Request(**request, **more), stored)  # type: ignore[arg-type]
                    looked = answer.looked if isinstance(answer, asked.Page) else 0

                found[name].append(await timed(ask))
        await programs.close()
        base = statistics.median(found["bare first rows"])
        print(f"{rows} rows; goal for the first page: {GOAL_MS} ms")
        for name, times in found.items():
            middle = statistics.median(times)
            print(f"{name}: {middle:.1f} ms ({min(times):.1f} to {max(times):.1f}), {middle / base:.1f} of the bare read")
        print(f"a second of a search looks at {looked} samples")


anyio.run(main)
