"""What the suite puts on a bus and reads back."""

from __future__ import annotations

from dyff.bus import port

PLAIN = port.TopicSpec("plain", 3, compacted=False)
COMPACTED = port.TopicSpec("compacted", 1, compacted=True)
LIMIT_BYTES = 2**20
DEADLINE_S = 30.0


def message(value, key="k", partition=0):
    return port.Message(key.encode(), value.encode(), (), partition)


async def publish(bus, *values, key="k", partition=0, topic="plain"):
    return await bus.publish(topic, [message(value, key, partition) for value in values])


async def values_of(bus, topic="plain", partition=0, offset=None):
    """All values from `offset` on (None: from the first) to the end as of now."""
    held = (await bus.ranges(topic))[partition]
    found = []
    async with bus.read(topic, partition, held.first if offset is None else offset) as reader:
        while reader.position < held.end:
            found += await reader.poll(100, 1.0)
    return [record.value.decode() if record.value is not None else None for record in found]
