"""`dyff verify` and `dyff replay` on embedded engines, against bare loops over the same data, in one run.

`verify` against only reading the same data: events, states and view. `replay` against the slower of a bare read loop over the states
and bare upserts, in the same batches, into tables with the same indexes. Each runs in a process of its own, in turn. Prints the rates
per second, the ratios, and the memory of a verification per entity. Run `python verify.py 1000000` for more entities.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import apsw
import structlog

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedBus, EmbeddedHistory
from dyff.consumers import sink
from dyff.consumers.aggregator import partitions
from dyff.consumers.verification import refolding, replaying, verifying
from dyff.entities import commands, folding
from dyff.kernel import sqlite
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from dyff.query import columns
from dyff.query import port as query_port
from dyff.query.embedded import EmbeddedQuery
from dyff.query.maintenance import EmbeddedMaintenance

GOAL_REPLAY = 0.7
AT_ONCE = 1000
PARTITIONS = 4
ROUNDS = 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(number: int) -> str:
    """Return the ID of an entity."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def created(number: int) -> commands.Command:
    """Return the creation of an evaluation of 2 KB."""
    body = {
        "id": key(number), "kind": "Evaluation", "account": f"a{number % 50}", "status": "Created", "dataset": f"d{number % 500}",
        "creationTime": f"2026-01-01T00:00:{number:013.6f}Z", "inferenceSessionReference": "s", "text": "x" * 1800,
    }  # fmt: skip
    return commands.create(f"{number:032x}", body, time=NOW, expires=NOW + timedelta(days=999))


def changed(number: int) -> commands.Command:
    """Return the change that completes an evaluation; every second one gets it."""
    given = {"time": NOW, "expires": NOW + timedelta(days=999), "decided_on": None}
    return commands.edit(f"{number:031x}c", commands.UPDATE_STATUS, "Evaluation", key(number), {"status": "Complete"}, **given)


async def fill(folder: Path, entities: int) -> None:
    """Write events, states and view, like api, aggregator and sink."""
    async with (
        EmbeddedBus.open(folder / "log.db", clock=SystemClock(), ids=RandomIds()) as bus,
        EmbeddedQuery.open(folder / "view.sqlite") as view,
    ):
        await bus.create_topics(topics.specs(PARTITIONS))
        epoch = (await bus.topic(topics.STATE)).epoch
        for start in range(0, entities, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, entities))
            asked = [*map(created, numbers), *map(changed, numbers[::2])]
            await bus.publish(topics.EVENTS, [envelope.command_message(each) for each in asked])
        for partition in range(PARTITIONS):
            await _folded(bus, view, partition, epoch)


async def _folded(bus: port.Bus, view: EmbeddedQuery, partition: int, epoch: str) -> None:
    source = (await bus.topic(topics.EVENTS)).epochs
    states: dict[bytes, folding.State] = {}
    written = 0
    held = (await bus.ranges(topics.EVENTS))[partition]
    async with bus.read(topics.EVENTS, partition, held.first) as reader:
        while reader.position < held.end:
            messages = []
            for record in await reader.poll(AT_ONCE, 1):
                after, _, message = partitions.fold_one(record, states.get(record.key), source, 1)
                assert after is not None
                assert message is not None
                states[record.key] = after
                messages.append(message)
            await bus.publish(topics.STATE, messages)
            held_states = (await bus.ranges(topics.STATE))[partition]
            async with bus.read(topics.STATE, partition, written) as states_reader:
                while states_reader.position < held_states.end:
                    records = await states_reader.poll(AT_ONCE, 1)
                    documents, reached = sink.view_of(records, epoch, partition, states_reader.position)
                    await view.apply(documents, reached)
            written = held_states.end


async def proved(folder: Path) -> int:
    """Verify everything; returns how many events were folded."""
    async with EmbeddedHistory.open(folder / "log.db") as history:
        report = await verifying.verify(history, EmbeddedMaintenance(folder / "view.sqlite"))
    assert (report.count, report.notes) == (0, [])
    return report.events


async def _read(folder: Path, *names: str) -> int:
    count = 0
    async with EmbeddedHistory.open(folder / "log.db") as history:
        for name in names:
            for partition, held in (await history.ranges(name)).items():
                async for _ in refolding.records(history, name, partition, held.first, held.end):
                    count += 1
    return count


async def read_all(folder: Path) -> int:
    """Only read events, states and documents; returns the number of events."""
    await _read(folder, topics.STATE)
    view = apsw.Connection(str(folder / "view.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    for _ in view.execute("SELECT id, version, body FROM documents"):
        pass
    view.close()
    return await _read(folder, topics.EVENTS)


async def read_states(folder: Path) -> int:
    """Only read the states; returns how many."""
    return await _read(folder, topics.STATE)


async def replayed(folder: Path) -> int:
    """Replay; returns how many states were read."""
    async with EmbeddedHistory.open(folder / "log.db") as history:
        await replaying.replay(history, EmbeddedMaintenance(folder / "view.sqlite"))
        return sum(held.end - held.first for held in (await history.ranges(topics.STATE)).values())


async def upserted(folder: Path) -> int:
    """Upsert states, after reading them, as rows in plain SQLite; returns how many. `Clock` times only the upserts."""
    documents: list[query_port.Document] = []
    async with EmbeddedHistory.open(folder / "log.db") as history:
        for partition, held in (await history.ranges(topics.STATE)).items():
            found = [each async for each in refolding.records(history, topics.STATE, partition, held.first, held.end)]
            documents += sink.view_of(found, "e", partition, held.end)[0]
    names = ", ".join(str(columns.name(path)) for path in columns.PATHS)
    marks = ", ".join("?" * len(columns.PATHS))
    updates = ", ".join(f"{columns.name(path)} = excluded.{columns.name(path)}" for path in columns.PATHS)
    statement = (
        f"INSERT INTO documents (collection, id, version, body, {names}) VALUES (?, ?, ?, CAST(? AS TEXT), {marks})"
        f" ON CONFLICT (collection, id) DO UPDATE SET version = excluded.version, body = excluded.body, {updates}"
    )
    bare = apsw.Connection(str(folder / "bare.sqlite"))
    bare.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536")
    bare.execute(columns.schema())
    rows = [(each.collection, each.id, each.version, each.body, *columns.values(each.body or b"")) for each in documents]
    Clock.begin()
    for start in range(0, len(rows), AT_ONCE):
        with bare:
            bare.executemany(statement, rows[start : start + AT_ONCE])
    Clock.end()
    bare.close()
    sqlite.remove(folder / "bare.sqlite")
    return len(rows)


class Clock:
    """Times a part of a loop, if not all of it is to be measured."""

    begun, spent = 0.0, 0.0

    @classmethod
    def begin(cls) -> None:
        cls.begun = time.perf_counter()

    @classmethod
    def end(cls) -> None:
        cls.spent = time.perf_counter() - cls.begun


Loop = Callable[[Path], Awaitable[int]]


def _run(loop: Loop, folder: Path, results: multiprocessing.SimpleQueue[tuple[float, int]]) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    started = time.perf_counter()
    count = anyio.run(loop, folder)
    spent = Clock.spent or time.perf_counter() - started
    results.put((count / spent, most_memory()))


def most_memory() -> int:
    """Return the peak memory of this process in bytes. `getrusage` would include the process that started it."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def apart(loop: Loop, folder: Path) -> tuple[float, int]:
    """Run a loop in a process of its own; returns its rate per second and its peak memory in bytes."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[tuple[float, int]] = context.SimpleQueue()
    process = context.Process(target=_run, args=(loop, folder, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    return results.get()


def main(entities: int) -> int:
    """Run everything; return 1 if the replay is too slow."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as empty:
        folder = Path(name)
        anyio.run(fill, folder, entities)
        anyio.run(fill, Path(empty), 1)
        base = apart(proved, Path(empty))[1]
        best: dict[str, tuple[float, int]] = {}
        for _ in range(ROUNDS):
            for loop in (read_all, proved, read_states, upserted, replayed):
                found = apart(loop, folder)
                best[loop.__name__] = max(best.get(loop.__name__, (0.0, 0)), found)
    verify, read = best["proved"], best["read_all"]
    events, of_all, memory = f"{verify[0]:,.0f} events/s", f"{verify[0] / read[0]:.0%}", (verify[1] - base) / entities
    print(f"verify, {entities:,} entities of {entities * 3 // 2:,} events: {events}, a bare read of all {read[0]:,.0f}: {of_all}")
    print(f"  {memory:,.0f} bytes of memory for each entity")
    bare = min(best["read_states"][0], best["upserted"][0])
    ratio = best["replayed"][0] / bare
    print(f"replay: {best['replayed'][0]:,.0f} states/s, bare reads {best['read_states'][0]:,.0f}", end="")
    print(f", bare upserts {best['upserted'][0]:,.0f}: {ratio:.0%} of the slower (goal {GOAL_REPLAY:.0%})")
    return int(ratio < GOAL_REPLAY)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
