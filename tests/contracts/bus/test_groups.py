"""The contract of the bus: consumer groups."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import anyio
import pytest

from dyff.bus import port
from dyff.kernel import errors
from tests.contracts.bus.records import DEADLINE_S, message, publish


class Consumer:
    """A member that starts what it is given where the group left off, and remembers everything."""

    def __init__(self, subscription, start=True):
        self.subscription = subscription
        self.held = {}
        self.revoked = []
        self.seen = defaultdict(list)
        self._start = start

    async def turn(self):
        polled = await self.subscription.poll(100, 0.05)
        for assignment in polled.revoked:
            self.held.pop(assignment.partition)
            self.revoked.append(assignment)
        for assignment in polled.assigned:
            self.held[assignment.partition] = assignment
            if self._start:
                await self.subscription.start(assignment)
        for record in polled.records:
            self.seen[record.partition].append(record.value.decode())
        return polled


async def until(condition, *consumers):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the group did not get there in time"
        for consumer in consumers:
            await consumer.turn()


async def test_a_single_member_gets_everything(bus):
    """One member gets all partitions, and all records of each in order."""
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription)
        for partition in range(3):
            await publish(bus, "a", "b", partition=partition)
        await until(lambda: all(len(consumer.seen[each]) == 2 for each in range(3)), consumer)
    assert consumer.seen == {0: ["a", "b"], 1: ["a", "b"], 2: ["a", "b"]}


async def test_an_assignment_is_silent_until_it_is_started(bus):
    """Nothing is delivered of a partition before `start`, and `position` is None."""
    await publish(bus, "a")
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        for _ in range(3):
            await consumer.turn()
        assert not consumer.seen
        assert subscription.position(consumer.held[0]) is None
        await subscription.start(consumer.held[0], 0)
        assert subscription.position(consumer.held[0]) == 0
        await until(lambda: consumer.seen[0] == ["a"], consumer)
        assert subscription.position(consumer.held[0]) == 1


async def test_uncommitted_records_are_delivered_again(bus):
    """A member that leaves without a commit leaves its records to the next; what was committed is not repeated."""
    await publish(bus, "a", "b", "c")
    for want, commit in ((["a", "b", "c"], None), (["a", "b", "c"], 2), (["c"], 3), ([], None)):
        async with bus.subscribe("g", "plain") as subscription:
            consumer = Consumer(subscription)
            await until(lambda consumer=consumer: len(consumer.held) == 3, consumer)
            await until(lambda consumer=consumer, want=want: consumer.seen[0] == want, consumer)
            await consumer.turn()
            assert consumer.seen[0] == want
            if commit is not None:
                await subscription.commit({consumer.held[0]: commit})
    assert await bus.committed("g", "plain") == {0: 3}


async def test_groups_do_not_know_each_other(bus):
    """Each group gets every record and has offsets of its own."""
    await publish(bus, "a")
    async with bus.subscribe("one", "plain") as first, bus.subscribe("two", "plain") as second:
        consumers = Consumer(first), Consumer(second)
        await until(lambda: all(each.seen[0] == ["a"] for each in consumers), *consumers)
        await first.commit({consumers[0].held[0]: 1})
    assert await bus.committed("one", "plain") == {0: 1}
    assert await bus.committed("two", "plain") == {}


async def test_members_share_the_partitions(bus):
    """Two members have all partitions between them, none twice; when one leaves, the other gets all."""
    async with bus.subscribe("g", "plain") as stays:
        first = Consumer(stays)
        await until(lambda: len(first.held) == 3, first)
        async with bus.subscribe("g", "plain") as leaves:
            second = Consumer(leaves)
            await until(lambda: len(first.held) + len(second.held) == 3 and second.held, first, second)
            assert first.held
            assert not set(first.held) & set(second.held)
            for partition in range(3):
                await publish(bus, "shared", partition=partition)
            await until(lambda: sum(len(each.seen[p]) for each in (first, second) for p in range(3)) >= 3, first, second)
            assert all("shared" in first.seen[p] + second.seen[p] for p in range(3))
        await until(lambda: len(first.held) == 3, first)


async def test_more_members_than_partitions(bus):
    """A member may have nothing, and takes over when another leaves."""
    async with bus.subscribe("g", "compacted") as one:
        first = Consumer(one)
        await until(lambda: len(first.held) == 1, first)
        async with bus.subscribe("g", "compacted") as other:
            second = Consumer(other)
            await until(lambda: len(first.held) + len(second.held) == 1, first, second)
            idle, busy = (first, second) if not first.held else (second, first)
            assert busy.held
            assert not idle.held
    async with bus.subscribe("g", "compacted") as one:
        third = Consumer(one)
        await until(lambda: len(third.held) == 1, third)


async def test_a_partition_that_moved_has_a_new_generation(bus):
    """What the former holder still commits or starts is ignored; the new one goes on from the group's offset."""
    await publish(bus, "a", "b", key="k", partition=0)
    async with bus.subscribe("g", "compacted") as one:
        first = Consumer(one)
        await publish(bus, "a", "b", topic="compacted")
        await until(lambda: first.seen[0] == ["a", "b"], first)
        stale = first.held[0]
        await one.commit({stale: 1})
    async with bus.subscribe("g", "compacted") as other:
        second = Consumer(other)
        await until(lambda: second.seen[0] == ["b"], second)
        assert second.held[0].generation != stale.generation or second.held[0] == stale
        await other.commit({second.held[0]: 2})
        await one.commit({stale: 1})
        await one.start(stale, 0)
        assert await bus.committed("g", "compacted") == {0: 2}


async def test_a_revoked_assignment_commits_nothing(bus):
    """As soon as a partition is another member's, a commit with the old assignment is ignored."""
    for partition in range(3):
        await publish(bus, "a", "b", partition=partition)
    async with bus.subscribe("g", "plain") as one:
        first = Consumer(one)
        await until(lambda: len(first.held) == 3 and all(len(first.seen[p]) == 2 for p in range(3)), first)
        async with bus.subscribe("g", "plain") as other:
            second = Consumer(other)
            await until(lambda: second.held and len(first.held) + len(second.held) == 3, first, second)
            assert first.revoked
            await one.commit(dict.fromkeys(first.revoked, 2))
            assert await bus.committed("g", "plain") == {}
            kept = next(iter(first.held.values()))
            await one.commit({kept: 2, **dict.fromkeys(first.revoked, 2)})
            assert await bus.committed("g", "plain") == {kept.partition: 2}


async def test_a_start_offset_is_obeyed(bus):
    """`start` at an offset delivers from there, whatever is committed; at the end it waits for what comes."""
    await publish(bus, "a", "b", "c")
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        await subscription.commit({consumer.held[0]: 3})
        await subscription.start(consumer.held[0], 1)
        await until(lambda: consumer.seen[0] == ["b", "c"], consumer)
        await subscription.start(consumer.held[1], 0)
        await publish(bus, "later", partition=1)
        await until(lambda: consumer.seen[1] == ["later"], consumer)


@pytest.mark.parametrize("offset", [0, 9])
async def test_a_start_outside_the_log_is_reported(server, bus, offset):
    """`start` below the first or above the end is `OffsetOutOfRange`: a group must never jump silently."""
    await publish(bus, "a", "b", "c")
    await server.truncate(bus, "plain", 0, 1)
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        with pytest.raises(errors.OffsetOutOfRange):
            await subscription.start(consumer.held[0], offset)


async def test_a_committed_offset_outside_the_log_is_reported(server, bus):
    """A group whose committed offset was truncated away is not moved to what is left."""
    await publish(bus, "a", "b", "c")
    async with bus.own("o") as owner:
        await owner.append("plain", [message("d")], port.Commit("g", "plain", 0, 1))
    await server.truncate(bus, "plain", 0, 3)
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        with pytest.raises(errors.OffsetOutOfRange):
            await subscription.start(consumer.held[0])


async def test_a_waiting_member_is_woken(bus):
    """A poll that waits returns as soon as a record comes."""
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription)
        await until(lambda: len(consumer.held) == 3, consumer)
        got: list[Any] = []

        async def wait():
            while not got:
                got.extend((await subscription.poll(10, DEADLINE_S)).records)

        started = time.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await publish(bus, "news", partition=2)
        assert [record.value for record in got] == [b"news"]
        assert time.monotonic() - started < DEADLINE_S / 2


async def test_no_partition_starves(bus):
    """A partition with much to deliver does not keep the others waiting until it is empty."""
    await publish(bus, *map(str, range(1000)), partition=0)
    await publish(bus, "few", partition=1)
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription)
        await until(lambda: len(consumer.held) == 3, consumer)
        while not consumer.seen[1]:
            assert len(consumer.seen[0]) < 900
            for record in (await subscription.poll(5, 1.0)).records:
                consumer.seen[record.partition].append(record.value.decode())
