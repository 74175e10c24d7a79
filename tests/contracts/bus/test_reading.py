"""The contract of the bus: reading without a group."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from dyff.bus import port
from dyff.kernel import errors
from tests.contracts.bus.records import DEADLINE_S, publish, values_of


async def test_a_reader_waits_for_what_comes(bus):
    """`poll` returns as soon as there is a record, long before its time is up."""
    seen = []

    async def read():
        async with bus.read("plain", 0, 0) as reader:
            seen.extend(await reader.poll(10, DEADLINE_S))

    started = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await publish(bus, "news")
    assert [record.value for record in seen] == [b"news"]
    assert time.monotonic() - started < DEADLINE_S / 2


async def test_a_reader_waits_no_longer_than_asked(bus):
    """Without news `poll` returns nothing when its time is up."""
    async with bus.read("plain", 0, 0) as reader:
        assert await reader.poll(10, 0.02) == ()
        assert await reader.poll(10, 0.0) == ()


async def test_a_reader_gets_at_most_what_it_asks_for(bus):
    """`max_records` bounds a poll, and `position` says where the next goes on."""
    await publish(bus, *map(str, range(10)))
    async with bus.read("plain", 0, 0) as reader:
        first = await reader.poll(4, 5.0)
        assert 1 <= len(first) <= 4
        assert reader.position == first[-1].offset + 1
    assert await values_of(bus, offset=reader.position) == list(map(str, range(len(first), 10)))


async def test_cancelling_a_poll_loses_nothing(bus):
    """A reader whose polls are cancelled at any moment still sees every record once."""
    seen: list[Any] = []
    async with anyio.create_task_group() as group, bus.read("plain", 0, 0) as reader:

        async def fill():
            for number in range(100):
                await publish(bus, str(number))

        group.start_soon(fill)
        deadline = time.monotonic() + DEADLINE_S
        while len(seen) < 100 and time.monotonic() < deadline:
            with anyio.move_on_after(0.002):
                seen.extend(await reader.poll(3, 1.0))
    assert [record.value.decode() for record in seen] == list(map(str, range(100)))


@pytest.mark.parametrize("offset", [-1, 4])
async def test_an_offset_outside_the_log_is_reported(bus, offset):
    """Reading below the first or above the end is `OffsetOutOfRange`, with what the log holds."""
    await publish(bus, "a", "b", "c")
    with pytest.raises(errors.OffsetOutOfRange) as caught:
        async with bus.read("plain", 0, offset) as reader:
            await reader.poll(1, 0.1)
    assert (caught.value.offset, caught.value.first, caught.value.end) == (offset, 0, 3)


async def test_truncated_records_are_gone(server, bus):
    """After a truncation the log begins there, and reading below it is an error, never a silent jump."""
    await publish(bus, "a", "b", "c")
    await server.truncate(bus, "plain", 0, 2)
    assert (await bus.ranges("plain"))[0].first == 2
    assert await values_of(bus) == ["c"]
    with pytest.raises(errors.OffsetOutOfRange):
        async with bus.read("plain", 0, 1) as reader:
            await reader.poll(1, 0.1)


async def test_single_records_are_looked_up(bus):
    """A record is had by its offset, however many are wanted and in whatever order; where there is none, there is none."""
    await publish(bus, *map(str, range(300)))
    async with bus.own("o") as owner:
        positions = await owner.append("plain", [port.Message(b"k", b"x" * number, (("h", b"v"),), 1) for number in range(300)])
        await owner.append("plain", [port.Message(b"k", None, (), 1)])
    offsets = [position.offset for position in positions]
    found = await bus.lookup("plain", 1, [*offsets[::-7], offsets[-1] + 10_000])
    assert {offset: len(record.value) for offset, record in found.items()} == {offset: offset - offsets[0] for offset in offsets[::-7]}
    assert {(each.topic, each.partition, each.key, each.headers) for each in found.values()} == {("plain", 1, b"k", (("h", b"v"),))}
    assert all(record.offset == offset and record.timestamp_ms > 0 for offset, record in found.items())
    end = (await bus.ranges("plain"))[1].end
    (record,) = (await bus.lookup("plain", 1, range(offsets[-1] + 1, end))).values()
    assert record.value is None
    assert await bus.lookup("plain", 1, []) == {}
    with pytest.raises(errors.NotFound):
        await bus.lookup("plain", 3, [0])


async def test_what_was_compacted_away_is_not_looked_up(server, bus):
    """Where a record was removed there is none; the others are where they were."""
    offsets = [(await publish(bus, str(number), key=f"key-{number % 3}", topic="compacted"))[0].offset for number in range(9)]
    await server.compact(bus, "compacted")
    found = await bus.lookup("compacted", 0, offsets)
    assert {offset: record.value.decode() for offset, record in found.items()} == dict(zip(offsets[6:], "678", strict=True))
