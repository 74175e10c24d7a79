"""The contract of the bus: compaction."""

from __future__ import annotations

from dyff.bus import port
from tests.contracts.bus.records import publish, values_of


async def test_compaction_keeps_the_last_of_each_key(server, bus):
    """What is left of each key is its last record, at its old offset and in the old order."""
    offsets = {}
    for number in range(30):
        (position,) = await publish(bus, str(number), key=f"key-{number % 7}", topic="compacted")
        offsets[str(number)] = position.offset
    end = (await bus.ranges("compacted"))[0].end
    await server.compact(bus, "compacted")
    left = list(map(str, range(23, 30)))
    assert await values_of(bus, "compacted") == left
    async with bus.read("compacted", 0, offsets[left[0]]) as reader:
        found = [record for _ in left for record in await reader.poll(1, 5.0)]
    assert [(record.value.decode(), record.offset) for record in found] == [(value, offsets[value]) for value in left]
    assert (await bus.ranges("compacted"))[0].end >= end
    await publish(bus, "new", key="key-0", topic="compacted")
    await server.compact(bus, "compacted")
    assert await values_of(bus, "compacted") == [*map(str, range(23, 28)), "29", "new"]


async def test_a_tombstone_removes_its_key(server, bus):
    """After compaction nothing is left of a key whose last record has no value, in the end not even that."""
    await publish(bus, "secret", key="gone", topic="compacted")
    await publish(bus, "kept", key="kept", topic="compacted")
    await bus.publish("compacted", [port.Message(b"gone", None, (), 0)])
    await publish(bus, "last", key="other", topic="compacted")
    await server.compact(bus, "compacted")
    await server.compact(bus, "compacted")
    assert await values_of(bus, "compacted") == ["kept", "last"]


async def test_a_reader_passes_the_holes_of_compaction(server, bus):
    """A reader in the middle of a compacted log goes on behind the holes and reaches the end."""
    for number in range(20):
        await publish(bus, str(number), key=f"key-{number % 2}", topic="compacted")
    async with bus.read("compacted", 0, 0) as reader:
        assert len(await reader.poll(1, 5.0)) == 1
        await server.compact(bus, "compacted")
        seen = []
        while reader.position < (await bus.ranges("compacted"))[0].end:
            seen += await reader.poll(5, 1.0)
    assert {record.key: record.value for record in seen} == {b"key-0": b"18", b"key-1": b"19"}


async def test_other_topics_are_never_compacted(server, bus):
    """A topic that is not compacted keeps every record of a key."""
    await publish(bus, "a", "b", "c")
    await publish(bus, "x", topic="compacted")
    await server.compact(bus, "compacted")
    assert await values_of(bus) == ["a", "b", "c"]
