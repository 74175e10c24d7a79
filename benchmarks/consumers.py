"""The aggregator and the sink, compared with bare loops of the same kind on the same broker, in one run.

Aggregator: the complete role consumes 500 events, folds them, produces 500 states of 2.2 KB and commits the offset in one
transaction. The bare loop consumes the same records and produces as many of the same size in the same transactions, with aiokafka's
explicit batches (which are faster than a future for each record), and folds nothing. Sink: the complete role writes to a store that
discards everything, and to the two real ones. The baselines are a bare consume loop, and bare bulk upserts of the same documents.

Prints records per second, the client's CPU time per record, and the ratio. Runs alternate, so that load on the machine affects both.
Needs servers: `python -m tests.engines run --only kafka --only secantusdb -- python benchmarks/consumers.py`.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import structlog
from consumer_loops import bare, messages
from consumer_loops.measuring import BATCH, Measured, timed

from dyff.bus import port, topics
from dyff.bus.kafka import Connection, KafkaBus
from dyff.consumers import sink
from dyff.consumers.aggregator import role as aggregator
from dyff.entities import registry
from dyff.kernel import clock, garbage_collector, mongo
from dyff.kernel.positions import Position
from dyff.query import port as query_port
from dyff.query.embedded import EmbeddedQuery
from dyff.query.mongo import MongoQuery, stored

GOAL = 0.7
EVENTS = int(os.environ.get("DYFF_BENCH_EVENTS", "40000"))
DOCUMENTS = 4000
"""The number of documents for the test server of MongoDB's protocol, which accepts only a few hundred per second."""
ROUNDS = int(os.environ.get("DYFF_BENCH_ROUNDS", "5"))


class Counted:
    """A bus whose owner reports when it has committed an offset."""

    def __init__(self, bus: KafkaBus, until: int) -> None:
        """`until`: the offset in the events topic to report."""
        self._bus, self._until = bus, until
        self.done = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    @asynccontextmanager
    async def own(self, name: str) -> AsyncIterator[Any]:
        """Yield the real owner, wrapped."""
        async with self._bus.own(name) as owner:
            yield _Watched(owner, self._until, self.done)


class _Watched:
    """An owner that reports its commits."""

    def __init__(self, owner: port.Owner, until: int, done: anyio.Event) -> None:
        self._owner, self._until, self._done = owner, until, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    async def append(self, topic: str, messages: Sequence[port.Message], commit: port.Commit | None = None) -> list[Position]:
        """Append like the real owner."""
        positions = await self._owner.append(topic, messages, commit)
        if commit is not None and commit.offset >= self._until:
            self._done.set()
        return positions


class Nowhere:
    """A query store that discards everything."""

    async def apply(self, documents: Sequence[query_port.Document], reached: query_port.Reached) -> int:
        """Accept and discard the documents."""
        return len(documents)

    async def reset(self) -> None:
        """Do nothing."""

    async def reached(self) -> query_port.Reached:
        """Return no positions."""
        return query_port.Reached()


class Until:
    """A query store that reports when it has reached a position in the state topic."""

    def __init__(self, store: Any, until: int) -> None:
        self._store, self._until = store, until
        self.done = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def apply(self, documents: Sequence[query_port.Document], reached: query_port.Reached) -> int:
        """Pass the documents to the store."""
        news: int = await self._store.apply(documents, reached)
        if max(reached.state.values()) >= self._until:
            self.done.set()
        return news


@asynccontextmanager
async def opened(server: str) -> AsyncIterator[KafkaBus]:
    """Yield a separate bus with the topics of an installation. Without compression, which would hide other costs."""
    connection = Connection(bootstrap_servers=server, prefix=f"bench-{uuid.uuid4().hex}.", compression=None, replication=1)
    async with KafkaBus.open(connection) as bus:
        await bus.create_topics(topics.specs(1))
        yield bus


async def filled(bus: KafkaBus, topic: str, messages: Callable[[int], port.Message], count: int) -> int:
    """Publish `count` messages to a topic; returns the end of its partition."""
    for start in range(0, count, 2000):
        await bus.publish(topic, [messages(number) for number in range(start, min(start + 2000, count))])
    return (await bus.ranges(topic))[0].end


async def role(run: Callable[..., Awaitable[None]], done: anyio.Event, count: int) -> Measured:
    """Measure a role from its readiness until `done`."""
    async with anyio.create_task_group() as group:
        await group.start(run)
        measured = await timed(done.wait, count)
        group.cancel_scope.cancel()
    return measured


async def aggregated(bus: KafkaBus, end: int) -> Measured:
    """Measure the aggregator, from its readiness until the last event is committed."""
    counted = Counted(bus, end)

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await aggregator.run(counted, clock=clock.SystemClock(), task_status=task_status)

    return await role(run, counted.done, end)


async def sunk(bus: KafkaBus, store: Any, end: int) -> Measured:
    """Measure the sink, from its readiness until the store has everything."""
    until = Until(store, end)

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await sink.run(bus, until, task_status=task_status)

    return await role(run, until.done, end)


def reported(name: str, ours: Sequence[Measured], *bares: Sequence[Measured]) -> float:
    """Print the medians, and the ratio to the slowest baseline: the median of the ratios of the rounds, because they alternated."""
    ratios = [each[0] / min(bare[number][0] for bare in bares) for number, each in enumerate(ours)]
    ratio = statistics.median(ratios)
    rates = [statistics.median(each[0] for each in them) for them in (ours, *bares)]
    cpu = [statistics.median(each[1] for each in them) for them in (ours, *bares)]
    verdict = "" if ratio >= GOAL else "   below the goal"
    print(
        f"{name:<34}{rates[0]:>9,.0f}/s  bare {' '.join(f'{rate:>9,.0f}' for rate in rates[1:])}  ratio {ratio:5.0%} ({min(ratios):.0%} to"
        f" {max(ratios):.0%})  CPU {' / '.join(f'{each:.1f}' for each in cpu)} us{verdict}",
        flush=True,
    )
    return ratio


async def in_turns(*works: Callable[[], Awaitable[Measured]]) -> list[list[Measured]]:
    """Return the results of each. The order changes with each round."""
    found: list[list[Measured]] = [[] for _ in works]
    for number in range(ROUNDS):
        order = list(range(len(works)))
        for place in order if number % 2 == 0 else reversed(order):
            found[place].append(await works[place]())
    return found


async def compare_aggregator(server: str, mixed: bool) -> float:
    """Compare on creations only, or on creations with two changes of each (`mixed`)."""

    async def ours() -> Measured:
        async with opened(server) as bus:
            return await aggregated(bus, await filled(bus, topics.EVENTS, lambda number: messages.a_command(number, mixed), EVENTS))

    async def theirs() -> Measured:
        async with opened(server) as bus:
            return await bare.aggregator(bus, await filled(bus, topics.EVENTS, lambda number: messages.a_command(number, mixed), EVENTS))

    return reported("aggregator, creations and changes" if mixed else "aggregator, creations", *await in_turns(ours, theirs))


async def compare_sink(server: str) -> float:
    """Compare the sink, into nowhere and into a file, with a bare consumer and bare upserts."""
    with tempfile.TemporaryDirectory() as name:
        async with opened(server) as bus:
            epoch = (await bus.topic(topics.EVENTS)).epoch
            end = await filled(bus, topics.STATE, lambda number: messages.a_state(number, epoch), EVENTS)
            documents = _documents([messages.a_state(number, epoch) for number in range(EVENTS)])

            async def embedded() -> Measured:
                async with EmbeddedQuery.open(Path(name) / f"{uuid.uuid4().hex}.db") as store:
                    return await sunk(bus, store, end)

            nowhere, consuming = await in_turns(lambda: sunk(bus, Nowhere(), end), lambda: bare.consumer(bus, topics.STATE, end))
            ratio = reported("sink, nowhere", nowhere, consuming)
            real, consuming, upserts = await in_turns(
                embedded, lambda: bare.consumer(bus, topics.STATE, end), lambda: bare.sqlite(Path(name), documents)
            )
            return min(ratio, reported("sink, embedded query store", real, consuming, upserts))


async def compare_mongo(server: str, uri: str) -> float:
    """Compare the sink, into a server of MongoDB's protocol, with a bare consumer and bare upserts."""
    connection = mongo.Connection(uri=uri, database=f"dyff-bench-{uuid.uuid4().hex}", driver="pymongo", timeout_s=120.0)
    async with opened(server) as bus, mongo.Database.open(connection, "the benchmark") as database:
        epoch = (await bus.topic(topics.EVENTS)).epoch
        end = await filled(bus, topics.STATE, lambda number: messages.a_state(number, epoch), DOCUMENTS)
        documents = _documents([messages.a_state(number, epoch) for number in range(DOCUMENTS)])
        row = registry.BY_PLURAL["evaluations"]

        async def ours() -> Measured:
            async with MongoQuery.open(connection) as store:
                await store.reset()
                return await sunk(bus, store, end)

        async def theirs() -> Measured:
            collection = database._database[f"bare-{uuid.uuid4().hex}"]
            await database.collection(collection.name).ensure(stored.indexes(row))
            measured = await bare.mongo(collection, documents)
            await collection.drop()
            return measured

        try:
            return reported("sink, MongoDB", *await in_turns(ours, lambda: bare.consumer(bus, topics.STATE, end), theirs))
        finally:
            await database.drop()


def _documents(states: Sequence[port.Message]) -> list[query_port.Document]:
    return [query_port.Document("evaluations", each.key.decode(), number, each.value) for number, each in enumerate(states)]


async def main(chosen: Sequence[str]) -> int:
    """Run all comparisons, or the named ones: aggregator, mixed, sink, mongo."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    server, uri = os.environ.get("DYFF_TEST_KAFKA"), os.environ.get("DYFF_TEST_MONGODB")
    if not server:
        print("left out: DYFF_TEST_KAFKA names no server")
        return 0
    available: Mapping[str, Callable[[], Awaitable[float]]] = {
        "aggregator": lambda: compare_aggregator(server, mixed=False),
        "mixed": lambda: compare_aggregator(server, mixed=True),
        "sink": lambda: compare_sink(server),
        **({"mongo": lambda: compare_mongo(server, uri)} if uri else {}),
    }
    garbage_collector.tune()  # like the server
    print(f"batches of {BATCH}; the goal is {GOAL:.0%} of the slowest bare loop")
    ratios = [await available[name]() for name in chosen or available]
    return 0 if min(ratios) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1:], backend_options={"use_uvloop": True}))
