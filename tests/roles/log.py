"""A log for the tests of roles: builders of commands, roles that run next to the test, and ways to look at what came out."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import msgspec

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.consumers.aggregator import partitions
from dyff.entities import commands, folding
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from tests import waiting

CLOCK = SystemClock()
IDS = RandomIds()
PARTITIONS = 2
DEADLINE_S = 30.0


@asynccontextmanager
async def opened(path, partitions=PARTITIONS):
    """A bus with the topics of an installation."""
    async with EmbeddedBus.open(path, clock=CLOCK, ids=IDS) as bus:
        await bus.create_topics(topics.specs(partitions))
        yield bus


def an_evaluation(entity_id=None, **fields):
    """An entity of a kind that is known."""
    entity_id = entity_id or IDS.new()
    return {"id": entity_id, "kind": "Evaluation", "account": "acc", "status": "Created", "inferenceSessionReference": "s", **fields}


def create(entity, command_id=None):
    """The command that makes `entity` exist."""
    now = CLOCK.now()
    return commands.create(command_id or IDS.new(), entity, time=now, expires=now + timedelta(minutes=10))


def edit(entity, name, attributes, command_id=None, decided_on=None):
    """A command that changes `entity`."""
    now = CLOCK.now()
    keywords = {"time": now, "expires": now + timedelta(minutes=10), "decided_on": decided_on}
    return commands.edit(command_id or IDS.new(), name, entity["kind"], entity["id"], attributes, **keywords)


def status(entity, new, **more):
    """The command that moves `entity` to `new`."""
    return edit(entity, commands.UPDATE_STATUS, {"status": new}, **more)


def forget(entity):
    """The command that removes `entity` for ever."""
    now = CLOCK.now()
    data = {"kind": entity["kind"], "id": entity["id"]}
    return commands.Command(IDS.new(), now, now + timedelta(minutes=10), commands.FORGET, entity["id"], data)


async def publish(bus, *given):
    """Put commands on the events topic, in order."""
    return await bus.publish(topics.EVENTS, [envelope.command_message(each) for each in given])


@asynccontextmanager
async def running(role, *args, **keywords):
    """`role` next to the test, from its readiness on."""
    async with anyio.create_task_group() as group:
        with anyio.fail_after(DEADLINE_S):
            await group.start(lambda *, task_status: role(*args, **keywords, task_status=task_status))
        yield
        group.cancel_scope.cancel()


async def until(condition):
    """Poll until `condition`, a coroutine function, is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await waiting.a_moment()


async def records(bus, topic):
    """All records of a topic, by partition and offset."""
    found = []
    for partition, held in (await bus.ranges(topic)).items():
        async with bus.read(topic, partition, held.first) as reader:
            while reader.position < held.end:
                found += await reader.poll(1000, 1.0)
    return found


async def states(bus):
    """The states on the state topic, in order, as (key, state)."""
    return [
        (each.key.decode(), envelope.state(each)) for each in await records(bus, topics.STATE) if each.headers and not _is_progress(each)
    ]


async def latest(bus):
    """What compaction would leave: by ID the last state on the topic."""
    return dict(await states(bus))


async def replayed(bus):
    """What the state topic must hold, byte for byte: the messages of folding all events again, by partition."""
    epochs = (await bus.topic(topics.EVENTS)).epochs
    known: dict[Any, Any] = {}
    messages: list[Any] = []
    versions: dict[Any, Any] = {}
    for record in await records(bus, topics.EVENTS):
        version = envelope.marker(record)
        if version is not None:
            versions[record.partition] = version
            continue
        try:
            _, outcome, message = partitions.fold_one(record, known.get(record.key), epochs, versions.get(record.partition, 1))
        except ValueError:
            continue
        if message is not None and outcome is not folding.Outcome.REDELIVERED:
            known[record.key] = envelope.state(
                port.Record(topics.STATE, record.partition, 0, 0, message.key, message.value, message.headers)
            )
            messages.append(message)
    return messages


async def written(bus):
    """The states on the topic as the messages that they were."""
    found = [each for each in await records(bus, topics.STATE) if not _is_progress(each)]
    return [port.Message(each.key, each.value, each.headers, each.partition) for each in found]


async def is_current(bus):
    """Whether the states tell that every event was seen."""
    seen: dict[Any, Any] = {}
    for source in [envelope.source(each) for each in await records(bus, topics.STATE) if each.headers]:
        seen[source.partition] = max(seen.get(source.partition, 0), source.offset + 1)
    return all(seen.get(partition, 0) >= held.end for partition, held in (await bus.ranges(topics.EVENTS)).items())


def _is_progress(record):
    return record.key == topics.PROGRESS_KEY


class CrashError(Exception):
    """The process died here."""


class Around:
    """A bus whose owners do something else with some appends. `act(append, topic, messages, commit)` answers in their place."""

    def __init__(self, bus, act):
        self._bus, self._act = bus, act

    def __getattr__(self, name):
        return getattr(self._bus, name)

    @asynccontextmanager
    async def own(self, name):
        async with self._bus.own(name) as owner:
            yield _Owner(owner, self._act)


class _Owner(msgspec.Struct):
    owner: Any
    act: Any

    @property
    def spacing(self):
        return self.owner.spacing

    async def append(self, topic, messages, commit=None):
        return await self.act(self.owner.append, topic, messages, commit)
