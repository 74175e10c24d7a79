"""The loop of a group's member: one task for each partition, as long as it is held."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from dyff.bus import port
from dyff.consumers.common import group_consumer
from dyff.kernel import liveness
from tests import waiting
from tests.roles import log

A, B, A_AGAIN = port.Assignment(0, 1), port.Assignment(1, 2), port.Assignment(0, 3)


def record(partition, offset):
    return port.Record("t", partition, offset, 0, b"k", str(offset).encode())


class Script:
    """A bus with one subscription that says what it is given, then nothing more."""

    def __init__(self, *polled):
        self._polled = list(polled)
        self.positions = {}
        self.started = []
        self.polls = 0

    @asynccontextmanager
    async def subscribe(self, group, topic):
        yield self

    def then(self, *polled):
        self._polled += polled

    async def poll(self, max_records, wait_s):
        self.polls += 1
        # real time: a poll of a real bus takes a moment
        await anyio.sleep(0.001)
        if not self._polled:
            return port.Polled()
        if self._polled[0].records and len(self.started) == 0:
            return port.Polled()
        polled = self._polled.pop(0)
        for each in polled.records:
            self.positions[each.partition] = each.offset + 1
        return polled

    async def start(self, assignment, offset=None):
        self.started.append((assignment, offset))
        self.positions.setdefault(assignment.partition, offset)

    def position(self, assignment):
        return self.positions.get(assignment.partition)


class Recorder:
    """A role that remembers its batches and which partitions it has."""

    def __init__(self, takes_s=0.0, offset=0):
        self.batches = []
        self.running = []
        self.most = 0
        self._takes_s, self._offset = takes_s, offset

    async def serve(self, share):
        self.running.append(share.assignment)
        try:
            # real time: a share takes that long to begin, as it does where a state is restored
            await anyio.sleep(self._takes_s)
            async for batch in share.batches(self._offset):
                self.batches.append((share.partition, [each.offset for each in batch.records], batch.position))
        finally:
            self.running.remove(share.assignment)


def consuming(bus, recorder):
    return log.running(group_consumer.consume, bus, "g", "t", recorder.serve)


async def until(condition):
    async def met():
        return condition()

    await log.until(met)


async def test_each_partition_gets_its_records_in_order():
    """A task sees only its own partition's records, in order, each batch with the offset to go on at."""
    bus, recorder = Script(port.Polled(assigned=(A, B))), Recorder(offset=5)
    async with consuming(bus, recorder):
        bus.then(port.Polled(records=(record(0, 5), record(1, 5), record(0, 6))), port.Polled(records=(record(0, 9),)))
        await until(lambda: len(recorder.batches) == 3)
    assert sorted(recorder.batches) == [(0, [5, 6], 7), (0, [9], 10), (1, [5], 6)]
    assert bus.started == [(A, 5), (B, 5)]


async def test_a_hole_moves_the_position():
    """Where nothing is delivered but a hole was passed, the task gets the new position, once."""
    bus, recorder = Script(port.Polled(assigned=(A,))), Recorder()
    async with consuming(bus, recorder):
        bus.positions[0] = 4
        await until(lambda: recorder.batches)
        polls = bus.polls
        await until(lambda: bus.polls > polls + 3)
    assert recorder.batches == [(0, [], 4)]


async def test_a_task_ends_with_its_partition():
    """When a partition is taken away its task is gone before another of the same partition begins."""
    bus, recorder = Script(port.Polled(assigned=(A, B))), Recorder()
    async with consuming(bus, recorder):
        assert recorder.running == [A, B]
        bus.then(port.Polled(revoked=(A,)))
        await until(lambda: recorder.running == [B])
        bus.then(port.Polled(revoked=(B,), assigned=(A_AGAIN,)))
        await until(lambda: recorder.running == [A_AGAIN])
    assert recorder.running == []


async def test_a_long_opening_does_not_stop_the_polling():
    """While a task is not ready the loop polls on, so that the membership is not lost, and is not ready itself."""
    bus, recorder = Script(port.Polled(assigned=(A,))), Recorder(takes_s=0.2)
    async with consuming(bus, recorder):
        assert bus.started == [(A, 0)]
        assert bus.polls > 5


async def test_a_slow_task_is_not_flooded():
    """A task gets the next batch when it asks for it; until then the loop waits instead of gathering without end."""
    bus = Script(port.Polled(assigned=(A,)))
    got, proceed = [], anyio.Event()

    async def serve(share):
        async for batch in share.batches(0):
            got.append(batch.position)
            await proceed.wait()

    async with log.running(group_consumer.consume, bus, "g", "t", serve):
        bus.then(*(port.Polled(records=(record(0, offset),)) for offset in range(10)))
        await until(lambda: got)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert len(bus._polled) >= 7
        proceed.set()
        await until(lambda: got == list(range(1, 11)))


async def test_a_failing_task_ends_the_loop():
    """What a task raises ends the membership, so that everything is taken over again."""
    bus: Any = Script(port.Polled(assigned=(A, B)))

    async def serve(share):
        if share.partition == 1:
            raise log.CrashError
        async for _ in share.batches(0):
            pass

    with anyio.fail_after(log.DEADLINE_S), pytest.raises(ExceptionGroup) as caught:
        await group_consumer.consume(bus, "g", "t", serve)
    assert caught.group_contains(log.CrashError)


async def test_a_spare_is_ready(monkeypatch):
    """A member that gets no partition, because others have them, is ready after a while."""
    monkeypatch.setattr(group_consumer, "_SPARE_S", 0.05)
    started = anyio.current_time()
    async with consuming(Script(), Recorder()):
        assert anyio.current_time() - started >= 0.05


async def test_its_signs_report_how_far_behind_each_partition_is():
    """A batch counts when it is done, not when it was handed over; the records that nobody polled yet count as well."""
    bus: Any = Script(port.Polled(assigned=(A, B)))
    signs, proceed = liveness.Signs(), anyio.Event()

    async def ranges(topic):
        return {0: port.Range(0, 7), 1: port.Range(0, 5)}

    async def serve(share):
        async for _ in share.batches(5):
            await proceed.wait()

    async def reported():
        return sorted((sign.name, sign.waiting, sign.mark) for sign in await signs.read())

    bus.ranges = ranges
    async with log.running(group_consumer.consume, bus, "g", "t", serve, signs=signs):
        assert await reported() == [("t/0", "2 behind", 5), ("t/1", None, 5)]
        bus.then(port.Polled(records=(record(0, 5),)), port.Polled(records=(record(0, 6),)))
        await until(lambda: not bus._polled)
        assert await reported() == [("t/0", "2 behind", 5), ("t/1", None, 5)]
        proceed.set()
        bus.then(port.Polled())
        with anyio.fail_after(log.DEADLINE_S):
            while await reported() != [("t/0", None, 7), ("t/1", None, 5)]:
                await waiting.a_moment()
    assert await reported() == []
