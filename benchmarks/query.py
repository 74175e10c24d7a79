"""The embedded query store with one collection and with one ten times as large, and bare SQLite (apsw), in one run.

Prints the median of each kind of read in both, their ratio (1 means that the size does not matter), and the time of bare SQLite for
the same rows of the large collection with an index for exactly that query. They alternate, so that load on the machine affects
all of them. Run `python query.py 1000000` for more documents.
"""

from __future__ import annotations

import functools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import apsw
import msgspec

from dyff.entities import codecs
from dyff.query import filters, port
from dyff.query.embedded import EmbeddedQuery

GROWTH = 2.0
"""The most by which a page may be slower in a collection ten times as large."""
ROUNDS = 200
PAGE: dict[str, Any] = {"collection": "evaluations", "order_by": ("creationTime",), "order": "descending", "limit": 100}
SCOPE = filters.AnyOf((filters.OneOf(("account",), ("a1", "public")), filters.OneOf(("id",), ("f" * 32,))))
READS = {
    "page": filters.AllOf(),
    "page of an account": filters.Equals(("account",), "a1"),
    "page of what I may see": SCOPE,
    "page of a rare account": filters.Equals(("account",), "rare"),
    "page of a dataset that I may see": filters.AllOf((filters.Equals(("dataset",), "d7"), SCOPE)),
}


Read = Callable[[], Awaitable[object]]


def created(number: int) -> str:
    """Return the creation time of document `number`. Times sort as text in the order of the numbers."""
    return f"2026-01-01T00:00:{number:013.6f}Z"


def document(number: int, order: random.Random) -> port.Document:
    """Return an evaluation of a typical size, 1.6 KB. One in a thousand belongs to a rare account."""
    entity_id = f"{order.getrandbits(128):032x}"
    service = {"id": f"s{number % 100}", "name": "service", "model": {"id": f"m{number % 50}", "name": "model"}, "args": ["x" * 30] * 20}
    body = {
        "id": entity_id, "kind": "Evaluation", "account": f"a{number % 5}" if number % 1000 else "rare", "status": "Complete",
        "creationTime": created(number), "dataset": f"d{number % 500}", "labels": {"team": "red"},
        "inferenceSession": {"inferenceService": service}, "metadata": {"documentation": {"fullPage": "y" * 600}},
    }  # fmt: skip
    return port.Document("evaluations", entity_id, number, codecs.encode(body))


async def load(store: EmbeddedQuery, size: int) -> float:
    """Write `size` documents; returns documents per second."""
    order, spent = random.Random(1), 0.0
    for start in range(0, size, 1000):
        batch = [document(number, order) for number in range(start, min(start + 1000, size))]
        started = time.perf_counter()
        await store.apply(batch, port.Reached("e", {0: start + 1000}, {0: start + 1000}))
        spent += time.perf_counter() - started
    return size / spent


def load_bare(bare: apsw.Connection, size: int) -> None:
    """Load the same documents, with the one index that the query needs."""
    bare.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    bare.execute("CREATE TABLE documents (id TEXT PRIMARY KEY, created TEXT, body BLOB); CREATE INDEX c ON documents (created, id)")
    order = random.Random(1)
    with bare:
        rows = ((each.id, created(each.version), each.body) for each in (document(number, order) for number in range(size)))
        bare.executemany("INSERT INTO documents VALUES (?, ?, ?)", rows)


async def reads(store: EmbeddedQuery, size: int) -> dict[str, Read]:
    """Return reads by name. Pages start in the middle of the collection, and no document is read twice (it would come from memory)."""
    middle = filters.After(created(size // 2), "")
    finds = {name: filters.Find(where=where, after=middle, **PAGE) for name, where in READS.items()}
    unread = iter([codecs.decode(body)["id"] for body in await found(store, msgspec.structs.replace(finds["page"], limit=ROUNDS))])
    return {
        "get": lambda: store.get("evaluations", next(unread)),
        **{name: functools.partial(found, store, find) for name, find in finds.items()},
    }


async def found(store: EmbeddedQuery, find: filters.Find) -> list[bytes]:
    """Return all documents of a find."""
    return await port.found(store.find(find))


def bare_reads(bare: apsw.Connection, size: int) -> dict[str, Read]:
    """Return reads of the same rows as `reads`."""
    page = "SELECT body FROM documents WHERE created < ? ORDER BY created DESC LIMIT ?"
    unread = iter(bare.execute(page.replace("body", "id"), (created(size // 2), ROUNDS)).fetchall())

    async def get() -> object:
        return bare.execute("SELECT body FROM documents WHERE id = ?", next(unread)).fetchall()

    async def paged() -> object:
        return bare.execute(page, (created(size // 2), 100)).fetchall()

    return {"get": get, "page": paged}


async def medians_us(given: list[Read]) -> list[float]:
    """Return the median time of each, in microseconds. They alternate."""
    times: list[list[float]] = [[] for _ in given]
    for _ in range(ROUNDS):
        for read, spent in zip(given, times, strict=True):
            started = time.perf_counter()
            await read()
            spent.append(time.perf_counter() - started)
    return [statistics.median(spent) * 1e6 for spent in times]


async def main(size: int) -> int:
    """Load and measure; return 1 if a read is too much slower in the larger collection."""
    with tempfile.TemporaryDirectory() as folder:
        bare = apsw.Connection(f"{folder}/bare.sqlite")
        load_bare(bare, size)
        async with EmbeddedQuery.open(Path(folder) / "small.sqlite") as small, EmbeddedQuery.open(Path(folder) / "large.sqlite") as large:
            await load(small, size // 10)
            rate = await load(large, size)
            print(f"writes: {rate:,.0f} documents/s with all indexes\n{'us':<34}{size // 10:>10,}{size:>12,}{'ratio':>8}{'bare':>8}")
            few, many, baseline = await reads(small, size // 10), await reads(large, size), bare_reads(bare, size)
            slower = []
            for name in many:
                first, second, *rest = await medians_us([few[name], many[name], *([baseline[name]] if name in baseline else [])])
                print(f"{name:<34}{first:>10.0f}{second:>12.0f}{second / first:>8.2f}{rest[0] if rest else float('nan'):>8.0f}")
                slower += [name] if second / first > GROWTH else []
        bare.close()
    print(f"goal: at most {GROWTH:g} times as long in ten times as much: {'missed by ' + ', '.join(slower) if slower else 'reached'}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
