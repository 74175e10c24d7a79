"""The embedded bus: checkpoints and compaction."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import timedelta
from functools import partial

import anyio
import apsw
import pytest

from dyff.bus import port
from dyff.bus.embedded import log, logfile, transactions
from dyff.kernel import degradation, errors
from dyff.kernel.clock import SystemClock
from tests import waiting
from tests.bus.logs import message, opened, texts
from tests.threads import in_a_thread


class LateClock(SystemClock):
    """A clock that can be set forward."""

    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead


async def test_the_wal_stays_small(tmp_path, monkeypatch):
    """The writer checkpoints by itself when no other code does, so the WAL does not grow with what is written."""
    monkeypatch.setattr(transactions, "CHECKPOINT_PAGES", 50)
    async with opened(tmp_path / "log.db") as bus:
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
                    await waiting.a_moment()
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


@contextlib.contextmanager
def checkpointing(path):
    """While the context lasts, another connection holds the lock of checkpoints: it waits for a reader that does not end."""
    reader, other = logfile.connect(path), logfile.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM partitions").fetchall()
    held, over = threading.Event(), threading.Event()

    def wait(_tries):
        held.set()
        return not over.wait(0.01)

    def checkpoint():
        with contextlib.suppress(apsw.BusyError):
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)

    other.set_busy_handler(wait)
    thread = threading.Thread(target=checkpoint)
    thread.start()
    assert held.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()
        reader.close()
        other.close()


async def test_a_checkpoint_that_collides_with_another_is_no_failure(tmp_path):
    """Neither that of the maintenance nor the writer's own: the other one does the same work."""
    troubles = degradation.Troubles()
    async with opened(tmp_path / "log.db", troubles=troubles) as bus:
        await bus.publish("t", [message("a")])
        async with in_a_thread(checkpointing(tmp_path / "log.db")):
            for _ in range(6):
                await bus.checkpoint()
                bus._transactions._checkpoints._at = 0
                bus._transactions.rest()
        await bus.publish("t", [message("b")])
        assert await texts(bus) == ["a", "b"]
    assert troubles.current() == []


async def test_maintenance_that_fails_is_reported_and_stops_nothing(tmp_path, monkeypatch):
    """The log is written and read on, and the trouble is over when a checkpoint succeeds again."""
    troubles = degradation.Troubles()
    monkeypatch.setattr(degradation, "RETRY_FIRST_S", 0.01)
    async with opened(tmp_path / "log.db", troubles=troubles) as bus, anyio.create_task_group() as group:
        whole = log._checkpointed

        def refused(_connection):
            raise apsw.FullError("disk full")

        monkeypatch.setattr(log, "_checkpointed", refused)
        group.start_soon(partial(bus.maintain, every_s=0.02))
        with anyio.fail_after(10):
            while not [each for each in troubles.current() if each.times > 6]:
                await waiting.a_moment()
        (trouble,) = troubles.current()
        assert (trouble.name, "disk full" in trouble.reason) == ("upkeep of the log", True)
        await bus.publish("t", [message("a")])
        monkeypatch.setattr(log, "_checkpointed", whole)
        with anyio.fail_after(10):
            while troubles.current():
                await waiting.a_moment()
        assert await texts(bus) == ["a"]
        group.cancel_scope.cancel()
