"""The aggregator and the sink beside bare loops of the same kind on the same broker, in one run.

Aggregator: consume 500, fold, produce 500 states of 2.2 KB and commit the offset in one transaction, on the role's whole way; the bare
loop consumes the same records and produces as many of the same size in the same transactions, with aiokafka's explicit batches (which
measure faster than a future for each record), and folds nothing. Sink: the role's whole way into a store that takes all and keeps
nothing, and into the two real ones; beside it a bare consume loop, and bare bulk upserts of the same documents.

Prints records a second and CPU time of the client by record, and the ratio. Runs take turns, so that a busy machine is busy for both.
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
"""For the test server of MongoDB's protocol, which takes some hundreds a second."""
ROUNDS = int(os.environ.get("DYFF_BENCH_ROUNDS", "5"))


class Counted:
    """A bus whose owner tells when it has committed an offset."""

    def __init__(self, bus: KafkaBus, until: int) -> None:
        """`until`: of the events topic."""
        self._bus, self._until = bus, until
        self.done = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    @asynccontextmanager
    async def own(self, name: str) -> AsyncIterator[Any]:
        """The real owner, watched."""
        async with self._bus.own(name) as owner:
            yield _Watched(owner, self._until, self.done)


class _Watched:
    """An owner that tells."""

    def __init__(self, owner: port.Owner, until: int, done: anyio.Event) -> None:
        self._owner, self._until, self._done = owner, until, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    async def append(self, topic: str, messages: Sequence[port.Message], commit: port.Commit | None = None) -> list[Position]:
        """As the owner does."""
        positions = await self._owner.append(topic, messages, commit)
        if commit is not None and commit.offset >= self._until:
            self._done.set()
        return positions


class Nowhere:
    """A query store that takes everything and keeps nothing."""

    async def apply(self, documents: Sequence[query_port.Document], reached: query_port.Reached) -> int:
        """Take them."""
        return len(documents)

    async def reset(self) -> None:
        """Nothing to do."""

    async def reached(self) -> query_port.Reached:
        """Nothing yet."""
        return query_port.Reached()


class Until:
    """A query store that tells when it is so far along the state topic."""

    def __init__(self, store: Any, until: int) -> None:
        self._store, self._until = store, until
        self.done = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def apply(self, documents: Sequence[query_port.Document], reached: query_port.Reached) -> int:
        """Into the store."""
        news: int = await self._store.apply(documents, reached)
        if max(reached.state.values()) >= self._until:
            self.done.set()
        return news


@asynccontextmanager
async def opened(server: str) -> AsyncIterator[KafkaBus]:
    """A bus of its own, with the topics of an installation. No compression, which would hide what the rest costs."""
    connection = Connection(bootstrap_servers=server, prefix=f"bench-{uuid.uuid4().hex}.", compression=None, replication=1)
    async with KafkaBus.open(connection) as bus:
        await bus.create_topics(topics.specs(1))
        yield bus


async def filled(bus: KafkaBus, topic: str, messages: Callable[[int], port.Message], count: int) -> int:
    """Put `count` messages on a topic; returns the end of its partition."""
    for start in range(0, count, 2000):
        await bus.publish(topic, [messages(number) for number in range(start, min(start + 2000, count))])
    return (await bus.ranges(topic))[0].end


async def role(run: Callable[..., Awaitable[None]], done: anyio.Event, count: int) -> Measured:
    """A role from its readiness until `done`."""
    async with anyio.create_task_group() as group:
        await group.start(run)
        measured = await timed(done.wait, count)
        group.cancel_scope.cancel()
    return measured


async def aggregated(bus: KafkaBus, end: int) -> Measured:
    """The role, from its readiness until the last event is committed."""
    counted = Counted(bus, end)

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await aggregator.run(counted, clock=clock.SystemClock(), task_status=task_status)

    return await role(run, counted.done, end)


async def sunk(bus: KafkaBus, store: Any, end: int) -> Measured:
    """The role, from its readiness until the store has it all."""
    until = Until(store, end)

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await sink.run(bus, until, task_status=task_status)

    return await role(run, until.done, end)


def reported(name: str, ours: Sequence[Measured], *bares: Sequence[Measured]) -> float:
    """Print the medians and the ratio to the slowest of the baselines: the median of the rounds' own, since they took turns."""
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
    """The results of each; who begins changes with each round."""
    found: list[list[Measured]] = [[] for _ in works]
    for number in range(ROUNDS):
        order = list(range(len(works)))
        for place in order if number % 2 == 0 else reversed(order):
            found[place].append(await works[place]())
    return found


async def compare_aggregator(server: str, mixed: bool) -> float:
    """Creations only, or creations and two changes of each."""

    async def ours() -> Measured:
        async with opened(server) as bus:
            return await aggregated(bus, await filled(bus, topics.EVENTS, lambda number: messages.a_command(number, mixed), EVENTS))

    async def theirs() -> Measured:
        async with opened(server) as bus:
            return await bare.aggregator(bus, await filled(bus, topics.EVENTS, lambda number: messages.a_command(number, mixed), EVENTS))

    return reported("aggregator, creations and changes" if mixed else "aggregator, creations", *await in_turns(ours, theirs))


async def compare_sink(server: str) -> float:
    """Into nowhere, and into a file, beside a bare consumer and bare upserts."""
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
    """Into MongoDB's protocol, beside a bare consumer and bare upserts."""
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
    """All, or those that are named: aggregator, mixed, sink, mongo."""
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
    garbage_collector.tune()  # as the server does
    print(f"batches of {BATCH}; the goal is {GOAL:.0%} of the slowest bare loop")
    ratios = [await available[name]() for name in chosen or available]
    return 0 if min(ratios) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1:], backend_options={"use_uvloop": True}))
