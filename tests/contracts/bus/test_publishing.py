"""The contract of the bus: publishing."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import anyio
import msgspec
import pytest

from dyff.bus import envelope, port, topics
from dyff.entities import commands
from dyff.kernel import errors
from dyff.kernel.telemetry import trace_context
from tests.contracts.bus.records import LIMIT_BYTES, message, publish, values_of


async def test_records_come_back_whole_and_in_order(bus):
    """A record has the key, value, headers and position of its message, and the time of its appending."""
    before = time.time() * 1000
    messages = [
        port.Message(b"a", b"first", (("h", b"1"), ("h", b"2"), ("empty", b"")), 1),
        port.Message(b"b", None, (), 1),
        port.Message(b"", b"", (("z", b"\x00\xff"),), 1),
    ]
    positions = await bus.publish("plain", messages)
    async with bus.read("plain", 1, 0) as reader:
        records = await reader.poll(10, 5.0)
    assert [(r.key, r.value, r.headers, r.partition) for r in records] == [(m.key, m.value, m.headers, 1) for m in messages]
    assert [r.offset for r in records] == [p.offset for p in positions]
    assert {(p.epoch, p.partition) for p in positions} == {((await bus.topic("plain")).epoch, 1)}
    assert all(r.topic == "plain" and before - 5000 <= r.timestamp_ms <= time.time() * 1000 + 5000 for r in records)


async def test_the_key_decides_the_partition(bus):
    """Without a partition the shared partitioner decides, so that one key always has one order."""
    keys = [f"entity-{number}".encode() for number in range(50)]
    positions = await bus.publish("plain", [port.Message(key, b"v") for key in keys])
    assert [position.partition for position in positions] == [topics.partition_of(key, 3) for key in keys]
    assert {position.partition for position in positions} == {0, 1, 2}


async def test_offsets_only_grow(bus):
    """Later records of a partition have higher offsets, also if several publish them at the same time."""
    found = []

    async def one(number):
        found.extend(await publish(bus, *(f"{number}-{each}" for each in range(5))))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    assert len({position.offset for position in found}) == 100
    values = await values_of(bus)
    assert len(values) == 100
    for number in range(20):
        assert [value for value in values if value.startswith(f"{number}-")] == [f"{number}-{each}" for each in range(5)]


async def test_publishing_nothing_is_nothing(bus):
    """An empty publish gives no positions and appends nothing."""
    assert await bus.publish("plain", []) == []
    assert await values_of(bus) == []


async def test_a_partition_that_is_not_there_is_refused(bus):
    """A message for a partition that the topic does not have fails, and nothing of the call is appended."""
    with pytest.raises(errors.NotFound):
        await bus.publish("plain", [message("x"), message("y", partition=7)])
    assert await values_of(bus) == []


async def test_too_large_a_message_is_refused(bus):
    """A message over the limit is `TooLarge`, and nothing of the call is appended."""
    with pytest.raises(errors.TooLarge, match=str(LIMIT_BYTES)):
        await bus.publish("plain", [message("small"), message("x" * LIMIT_BYTES)])
    assert await values_of(bus) == []
    await publish(bus, "x" * (LIMIT_BYTES // 2))


async def test_ranges_report_what_is_held(bus):
    """`end` is after the last record of each partition."""
    await publish(bus, "a", "b", partition=2)
    held = await bus.ranges("plain")
    assert set(held) == {0, 1, 2}
    assert held[0].first == held[0].end
    assert len(await values_of(bus, partition=2)) == 2
    assert held[2].end > held[2].first


async def test_a_cancelled_publish_happened_or_did_not(bus):
    """After a cancellation the message is there once or not at all, and the next one follows."""
    for number in range(30):
        with anyio.move_on_after(0.0005 * (number % 4)):
            await publish(bus, f"maybe-{number}")
    await publish(bus, "last")
    values = await values_of(bus)
    assert values[-1] == "last"
    assert len(values) == len(set(values))


async def test_the_logs_clock_is_compared_with_ours(bus):
    """After an append it is known how far they are apart: on one machine not at all, however slow the append is."""
    await publish(bus, "published")
    assert bus.clock_offset_s() == pytest.approx(0.0, abs=5.0)
    async with bus.own("clock") as owner:
        await owner.append("plain", [message("appended")])
    assert bus.clock_offset_s() == pytest.approx(0.0, abs=5.0)


async def test_the_trace_of_a_command_travels_in_headers(bus):
    """It comes back as it was sent, and the key, the value and the other headers are those of a command without one."""
    context = trace_context.Context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1,b=2")
    now = datetime(2026, 11, 25, tzinfo=UTC)
    command = commands.edit("c", commands.UPDATE_STATUS, "Dataset", "e", {"status": "Ready"}, time=now, expires=now, trace=context)
    plain = envelope.command_message(msgspec.structs.replace(command, trace=None))
    await bus.publish("plain", [msgspec.structs.replace(envelope.command_message(command), partition=1)])
    async with bus.read("plain", 1, 0) as reader:
        (record,) = await reader.poll(10, 5.0)
    assert trace_context.of_headers(dict(record.headers)) == context
    assert (record.key, record.value, trace_context.compared(record.headers)) == (plain.key, plain.value, plain.headers)
    assert commands.decode(record.key, record.value, record.headers) == command
