"""The embedded bus: checkpoints and compaction."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial

import anyio
import pytest

from dyff.bus import port
from dyff.bus.embedded import transactions
from dyff.kernel import errors
from dyff.kernel.clock import SystemClock
from tests.bus.logs import message, opened, texts


class LateClock(SystemClock):
    """A clock that can be set forward."""

    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead


async def test_the_wal_stays_small(tmp_path, monkeypatch):
    """The writer checkpoints by itself when no other code does, so the WAL does not grow with what is written."""
    monkeypatch.setattr(transactions, "CHECKPOINT_PAGES", 50)
    async with opened(tmp_path / "log.db") as bus:
        bus._transactions._checkpoint_at = 50
        for number in range(100):
            await bus.publish("t", [message(f"{number}-" + "x" * 20_000)])
        assert os.path.getsize(tmp_path / "log.db-wal") < 100 * 4096 * 2
        assert os.path.getsize(tmp_path / "log.db") > 100 * 20_000 * 0.7


async def test_maintenance_compacts_what_is_due(tmp_path):
    """`maintain` leaves young records alone and compacts when enough is old; the next pass waits until it is worth it."""
    clock = LateClock()
    async with opened(tmp_path / "log.db", clock) as bus:
        await bus.publish("c", [port.Message(b"same", str(number).encode()) for number in range(1500)])
        assert await bus.compact("c") == 0
        clock.ahead = timedelta(days=2)
        async with anyio.create_task_group() as group:
            group.start_soon(partial(bus.maintain, every_s=0.01))
            with anyio.fail_after(20):
                while await texts(bus, topic="c") != ["1499"]:
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        await bus.publish("c", [port.Message(b"same", b"new")] * 500)
        clock.ahead = timedelta(days=4)
        assert await bus.compact("c") == 0
        await bus.publish("c", [port.Message(b"same", b"newest")] * 600)
        clock.ahead = timedelta(days=6)
        assert await bus.compact("c") == 1100
    async with opened(tmp_path / "log.db", clock) as bus:
        assert await texts(bus, topic="c") == ["newest"]


async def test_a_deletion_outlives_the_records_before_it(tmp_path):
    """Young tombstones stay, so that a reader that began before the deletion cannot miss it."""
    clock = LateClock()
    async with opened(tmp_path / "log.db", clock) as bus:
        await bus.publish("c", [port.Message(b"k", b"v"), port.Message(b"k", None), port.Message(b"other", b"o")])
        clock.ahead = timedelta(days=2)
        assert await bus.compact("c", lag=timedelta(days=1)) == 1
        async with bus.read("c", 0, 0) as reader:
            assert [(r.key, r.value) for r in await reader.poll(10, 1.0)] == [(b"k", None), (b"other", b"o")]
        clock.ahead = timedelta(days=40)
        assert await bus.compact("c", lag=timedelta(days=1)) == 1
        assert await texts(bus, topic="c") == ["o"]


async def test_the_last_record_always_stays(tmp_path):
    """Even a deletion, so that the log can be checked to end where it should when it is opened."""
    async with opened(tmp_path / "log.db") as bus:
        await bus.publish("c", [port.Message(b"k", b"v"), port.Message(b"k", None)])
        assert await bus.compact("c", lag=timedelta(seconds=-1), tombstone_lag=timedelta(seconds=-1)) == 1
    async with opened(tmp_path / "log.db") as bus, bus.read("c", 0, 0) as reader:
        assert [record.offset for record in await reader.poll(10, 1.0)] == [1]


async def test_only_compacted_topics_are_compacted(tmp_path):
    """Events are kept for ever: asking to compact them is an error."""
    async with opened(tmp_path / "log.db") as bus:
        with pytest.raises(errors.Misconfigured, match="t is not compacted"):
            await bus.compact("t")
