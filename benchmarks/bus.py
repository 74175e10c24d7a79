"""The embedded bus against bare SQLite (apsw) with the same batches and the same durability, in one run.

Prints both figures and their ratio. In addition to writing rows, the bus has a thread of its own, partitions, checksums, stored
next offsets and evidence next to the file, and it wakes waiting readers. Bare SQLite blocks its caller and has no waiters.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import apsw
import msgspec

from dyff.bus import port
from dyff.bus.embedded import EmbeddedBus
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

GOAL = 0.7
ROUNDS = 3
SLICES = 5
VALUE = os.urandom(768).hex().encode()[:1024]
HEADERS = (
    ("dyff-id", b"0123456789abcdef0123456789abcdef"),
    ("dyff-time", b"2026-11-23T23:42:00.000000Z"),
    ("dyff-expires", b"2026-11-24T23:42:00.000000Z"),
    ("dyff-principal", b"accounts/0123456789abcdef"),
)
STORED_HEADERS = msgspec.msgpack.encode(HEADERS)
HEADER_DECODER = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


class Bare:
    """One table, as in a program that needs nothing else of SQLite."""

    def __init__(self, folder: Path) -> None:
        """Create the table in `folder`."""
        self.connection = apsw.Connection(str(folder / "bare.db"))
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(
            "CREATE TABLE records (offset INTEGER PRIMARY KEY, stamp INTEGER, key BLOB, headers BLOB, value BLOB) STRICT"
        )
        self.end = 0

    def append(self, count: int) -> None:
        """Insert `count` records in one transaction."""
        start, self.end = self.end, self.end + count
        rows = ((offset, 1, b"k" * 32, STORED_HEADERS, VALUE) for offset in range(start, self.end))
        with self.connection:
            self.connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)

    def select(self, start: int, limit: int) -> int:
        """Read records from `start` on as Python values, with headers decoded; returns how many."""
        rows = self.connection.execute("SELECT * FROM records WHERE offset >= ? ORDER BY offset LIMIT ?", (start, limit)).fetchall()
        return len([(*row[:3], HEADER_DECODER.decode(row[3]), row[4]) for row in rows])

    def read(self, limit: int) -> int:
        """Read all records, `limit` at a time; returns how many."""
        found = 0
        while count := self.select(found, limit):
            found += count
        return found


def messages(count: int) -> list[port.Message]:
    """Return `count` commands of a typical size, for one partition, because the bare table has a single order."""
    return [port.Message(b"k" * 32, VALUE, HEADERS, 0) for _ in range(count)]


Work = Callable[[], Awaitable[None]]


async def compared(ours: Work, bare: Work, records: int) -> tuple[float, float]:
    """Return the records per second of both. They alternate, so that changes in the disk's speed affect both."""
    seconds = [0.0, 0.0]
    for _ in range(SLICES):
        for place, work in enumerate((ours, bare)):
            started = time.perf_counter()
            await work()
            seconds[place] += time.perf_counter() - started
    return SLICES * records / seconds[0], SLICES * records / seconds[1]


async def batches(bus: EmbeddedBus, bare: Bare, size: int, calls: int) -> tuple[float, float]:
    """One publisher with `size` messages per call, against the same number of rows per transaction."""
    batch = messages(size)

    async def publish() -> None:
        for _ in range(calls):
            await bus.publish("t", batch)

    async def append() -> None:
        for _ in range(calls):
            bare.append(size)

    return await compared(publish, append, size * calls)


async def publishers(bus: EmbeddedBus, bare: Bare, count: int, calls: int) -> tuple[float, float]:
    """`count` concurrent publishers with one message per call, against `count` rows per transaction."""

    async def one() -> None:
        message = messages(1)
        for _ in range(calls):
            await bus.publish("t", message)

    async def publish() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(one)

    async def append() -> None:
        for _ in range(calls):
            bare.append(count)

    return await compared(publish, append, count * calls)


async def history(bus: EmbeddedBus, bare: Bare, limit: int) -> tuple[float, float]:
    """Read everything from the beginning, from the file."""
    end = (await bus.ranges("t"))[0].end

    async def read() -> None:
        async with bus.read("t", 0, 0) as reader:
            while reader.position < end:
                await reader.poll(limit, 1.0)

    async def select() -> None:
        assert bare.read(limit) == end

    return await compared(read, select, end)


async def following(bus: EmbeddedBus, bare: Bare, calls: int) -> tuple[float, float]:
    """A group member that follows a publisher of batches, against rows that are written and then read back."""
    batch = messages(100)

    async def publish_and_follow() -> None:
        seen, ready = 0, anyio.Event()

        async def publish() -> None:
            await ready.wait()
            for _ in range(calls):
                await bus.publish("t", batch)

        async with bus.subscribe("g", "t") as subscription, anyio.create_task_group() as group:
            group.start_soon(publish)
            while seen < calls * len(batch):
                polled = await subscription.poll(500, 1.0)
                for assignment in polled.assigned:
                    await subscription.start(assignment, (await bus.ranges("t"))[assignment.partition].end)
                    ready.set()
                seen += len(polled.records)

    async def append_and_select() -> None:
        for _ in range(calls):
            start = bare.end
            bare.append(len(batch))
            assert bare.select(start, 500) == len(batch)

    return await compared(publish_and_follow, append_and_select, calls * len(batch))


async def latency(bus: EmbeddedBus, bare: Bare, count: int) -> None:
    """Print the latency of one publish without concurrent ones, and of a bare commit."""
    ours, bares = [], []
    message = messages(1)
    for _ in range(count):
        started = time.perf_counter()
        await bus.publish("t", message)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        bare.append(1)
        bares.append(time.perf_counter() - started)
    for name, times in (("bus", ours), ("bare", bares)):
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"  latency of one publish, {name:<5}  p50 {statistics.median(times) * 1000:6.2f} ms   p99 {p99 * 1000:6.2f} ms")


async def main() -> None:
    """Run everything. Each line has the medians of its rounds."""
    print(f"SQLite {apsw.sqlite_lib_version()}, synchronous=FULL, {len(VALUE)} bytes a value; the goal is {GOAL:.0%} of bare SQLite")
    results: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            bare = Bare(Path(name))
            async with EmbeddedBus.open(Path(name) / "log.db", clock=SystemClock(), ids=RandomIds()) as bus:
                await bus.create_topics([port.TopicSpec("t", 1, compacted=False)])
                for title, result in (
                    ("append, 1 a call", await batches(bus, bare, 1, 100)),
                    ("append, 100 a call", await batches(bus, bare, 100, 40)),
                    ("append, 1000 a call", await batches(bus, bare, 1000, 8)),
                    ("append, 16 publishers", await publishers(bus, bare, 16, 50)),
                    ("append, 100 publishers", await publishers(bus, bare, 100, 40)),
                    ("append and follow in a group", await following(bus, bare, 40)),
                    ("read from the file, 500 a poll", await history(bus, bare, 500)),
                ):
                    results.setdefault(title, []).append(result)
                if len(results["append, 1 a call"]) == ROUNDS:
                    await latency(bus, bare, 300)
            bare.connection.close()
    for title, rounds in results.items():
        ratio, ours, plain = sorted((ours / plain, ours, plain) for ours, plain in rounds)[len(rounds) // 2]
        verdict = "" if ratio >= GOAL else "   below the goal"
        print(f"  {title:<32} {ours:>10,.0f} records/s   bare {plain:>10,.0f}   ratio {ratio:5.0%}{verdict}")


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
