"""The time until a restarted aggregator folds again, by the number of entities, their history, and the records after the checkpoint.

For each size, it restores from the whole state topic, as without a checkpoint; writes a checkpoint; and restores from that and a
tail, whose length is the same for all sizes. In addition to the tail, 32 bytes for each entity are read. Prints seconds, and the
index's memory per entity. Runs embedded, and on Kafka if `DYFF_TEST_KAFKA` names a broker. Run `python restart.py 1000000` for more.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import structlog

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.consumers.aggregator import checkpoints, restoring
from dyff.consumers.aggregator import role as aggregator
from dyff.entities import codecs, folding
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from dyff.kernel.positions import Position

TAIL = 10_000
GOAL = 0.1
"""The largest part of the time of a full restore that a restart may take, with the most entities."""
AT_ONCE = 2000
BODY = {"kind": "Evaluation", "account": "a", "status": "Created", "text": "x" * 900}
"""About 1 KB, because filling the topics takes most of the time."""


def key(number: int) -> str:
    """Return the ID of an entity."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def a_state(number: int, entity: int, epoch: str) -> port.Message:
    """Return the state of an entity after event `number`."""
    at = Position(epoch, 0, number)
    return envelope.state_message(folding.State("Evaluation", {**BODY, "id": key(entity)}, at, "0" * 32, at, {}), key(entity))


@contextlib.asynccontextmanager
async def embedded() -> AsyncIterator[port.Bus]:
    """Yield a log in a file."""
    with tempfile.TemporaryDirectory() as name:
        async with EmbeddedBus.open(Path(name) / "log.db", clock=SystemClock(), ids=RandomIds()) as bus:
            yield bus


@contextlib.asynccontextmanager
async def kafka() -> AsyncIterator[port.Bus]:
    """Yield a log with its own topics on the broker."""
    from dyff.bus.kafka import Connection, KafkaBus

    connection = Connection(bootstrap_servers=os.environ["DYFF_TEST_KAFKA"], prefix=f"bench-{uuid.uuid4().hex}.", replication=1)
    async with KafkaBus.open(connection) as bus:
        yield bus


async def filled(bus: port.Bus, start: int, count: int, entities: int) -> None:
    """Append `count` more events, and a state after each, for the entities in turn."""
    epoch = (await bus.topic(topics.EVENTS)).epoch
    event = port.Message(b"e", b"{}", (("dyff-id", b"0" * 32),), 0)
    for first in range(start, start + count, AT_ONCE):
        last = min(first + AT_ONCE, start + count)
        await bus.publish(topics.EVENTS, [event] * (last - first))
        await bus.publish(topics.STATE, [a_state(number, number % entities, epoch) for number in range(first, last)])


async def restored(bus: port.Bus) -> tuple[float, restoring.States]:
    """Return the seconds of a restore, including the checks of a takeover."""
    started = time.perf_counter()
    end = (await bus.ranges(topics.STATE))[0].end
    states = await restoring.restore(bus, 0, end, (await bus.topic(topics.EVENTS)).epochs)
    await restoring.require_same_log(bus, 0, (await bus.ranges(topics.EVENTS))[0], states)
    return time.perf_counter() - started, states


async def checkpointed(bus: port.Bus, states: restoring.States) -> float:
    """Return the seconds to write a complete checkpoint."""
    started = time.perf_counter()
    async with bus.own(aggregator.owner_name(0)) as owner:
        end = (await bus.ranges(topics.STATE))[0].end
        known = states.known((await bus.topic(topics.STATE)).epoch, end)
        await checkpoints.Writer(owner, 0, None).write(states.index, known)
    return time.perf_counter() - started


async def measure(name: str, opened: contextlib.AbstractAsyncContextManager[port.Bus], entities: int, history: int) -> float:
    """Print one line; returns the time of a restart from a checkpoint as a part of the time without one."""
    async with opened as bus:
        await bus.create_topics(topics.specs(1))
        await filled(bus, 0, entities * history, entities)
        whole, states = await restored(bus)
        assert len(states.index) == entities
        writing = await checkpointed(bus, states)
        await filled(bus, entities * history, TAIL, entities)
        del states
        times = []
        for _ in range(3):
            tail, states = await restored(bus)
            assert (states.since, len(states.index)) == (TAIL, entities)
            times.append(tail)
        tail = sorted(times)[1]
    print(f"{name:<10}{entities:>10,}{history:>9}{whole:>12.2f}{writing:>12.2f}{tail:>16.2f}", flush=True)
    return tail / whole


def memory(entities: int) -> float:
    """Return the bytes of memory per entity of an index."""
    from dyff.consumers.aggregator.index import Index

    tracemalloc.start()
    index = Index()
    for number in range(entities):
        index.put(key(number).encode(), number, number)
        if number % checkpoints.EVERY == 0:
            index.take_changes()
    index.take_changes()
    found = tracemalloc.get_traced_memory()[0] / entities
    tracemalloc.stop()
    return found


async def main(size: int) -> int:
    """Run everything; return 1 if a restart from a checkpoint takes too long with the most entities."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(f"memory of the index: {memory(size):.0f} bytes for each of {size:,} entities; a state is {len(codecs.encode(BODY)) + 40} bytes")
    print(f"{'seconds':<10}{'entities':>10}{'history':>9}{'from all':>12}{'checkpoint':>12}{f'from it + {TAIL}':>16}")
    missed = []
    for name, opened in (("embedded", embedded), ("kafka", kafka)):
        if name == "kafka" and "DYFF_TEST_KAFKA" not in os.environ:
            print("kafka: left out: DYFF_TEST_KAFKA names no server")
            continue
        for entities, history in ((size // 10, 1), (size // 10, 5), (size, 1)):
            part = await measure(name, opened(), entities, history)
        missed += [name] if part > GOAL else []
    print(f"goal: at most {GOAL:.0%} of a restore of all: {'missed by ' + ', '.join(missed) if missed else 'reached'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
