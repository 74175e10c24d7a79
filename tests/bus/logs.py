"""An embedded log with two topics, and what is done with it."""

from __future__ import annotations

from contextlib import asynccontextmanager

from dyff.bus import port
from dyff.bus.embedded import EmbeddedBus
from dyff.kernel import patience
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

TOPIC = port.TopicSpec("t", 2, compacted=False)


@asynccontextmanager
async def opened(path, clock=None, troubles=None, patience_s=patience.PATIENCE_S):
    limits = {"troubles": troubles, "patience_s": patience_s}
    async with EmbeddedBus.open(path, clock=clock or SystemClock(), ids=RandomIds(), **limits) as bus:
        await bus.create_topics([TOPIC, port.TopicSpec("c", 1, compacted=True)])
        yield bus


def message(text, partition=0):
    return port.Message(text.encode(), text.encode(), (("h", b"x"),), partition)


async def texts(bus, partition=0, topic="t"):
    held = (await bus.ranges(topic))[partition]
    found = []
    async with bus.read(topic, partition, held.first) as reader:
        while reader.position < held.end:
            found += [record.value.decode() for record in await reader.poll(1000, 1.0)]
    return found
