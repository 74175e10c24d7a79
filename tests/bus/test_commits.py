"""The embedded bus: one commit for many, and what a disk that fails costs."""

from __future__ import annotations

from typing import Any

import anyio
import apsw
import pytest

from dyff.bus.embedded import high_watermark, log
from dyff.kernel import degradation, errors, sqlite, sqlite_writer
from tests.bus.logs import message, opened, texts


async def test_what_waits_together_is_committed_together(tmp_path):
    """A hundred publishers at once need far fewer transactions than a hundred."""
    commits = []

    def counted() -> bool:
        commits.append(1)
        return False

    async with opened(tmp_path / "log.db") as bus:
        bus._connection.set_commit_hook(counted)
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(bus.publish, "t", [message(str(number))])
        bus._connection.set_commit_hook(None)
        assert len(await texts(bus)) == 100
    assert 1 <= len(commits) <= 10


async def test_one_refused_job_does_not_disturb_the_others(tmp_path):
    """A fenced owner's append in the same transaction fails alone."""
    async with opened(tmp_path / "log.db") as bus, bus.own("o") as zombie, bus.own("o"):
        outcomes = []

        async def fenced():
            with pytest.raises(errors.Fenced):
                await zombie.append("t", [message("zombie")])
            outcomes.append("fenced")

        async def publish(text):
            await bus.publish("t", [message(text)])
            outcomes.append(text)

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(publish, str(number))
                group.start_soon(fenced)
        assert sorted(await texts(bus)) == sorted(map(str, range(10)))
        assert outcomes.count("fenced") == 10


async def test_a_full_disk_refuses_and_recovers(tmp_path):
    """When there is no room nothing is appended, which `Unavailable` says; with room again it goes on."""
    async with opened(tmp_path / "log.db") as bus:
        await bus.publish("t", [message("before")])
        pages = bus._connection.pragma("page_count")
        bus._connection.pragma("max_page_count", pages)
        with pytest.raises(errors.Unavailable, match="full"):
            await bus.publish("t", [message("x" * 100_000)])
        bus._connection.pragma("max_page_count", pages * 1000)
        positions = await bus.publish("t", [message("after")])
        assert [position.offset for position in positions] == [1]
    async with opened(tmp_path / "log.db") as bus:
        assert await texts(bus) == ["before", "after"]


async def test_an_owner_waits_for_space(tmp_path):
    """A publisher is refused after a while, with nothing appended; an owner gives nothing up, and appends once when there is space."""
    troubles = degradation.Troubles()
    async with opened(tmp_path / "log.db", troubles=troubles, patience_s=0.2) as bus, bus.own("me") as owner:
        pages = bus._connection.pragma("page_count")
        bus._connection.pragma("max_page_count", pages)
        large = [message("x" * 100_000)]
        with pytest.raises(errors.DiskFull, match="full"):
            await bus.publish("t", large)
        async with anyio.create_task_group() as group:
            group.start_soon(owner.append, "t", large)
            # real time: the writer's thread has tried and failed by then, more than once
            await anyio.sleep(0.5)
            (trouble,) = troubles.current()
            assert (trouble.name, trouble.blocks, troubles.blocked) == ("space for the log", True, True)
            bus._connection.pragma("max_page_count", pages * 1000)
        assert len(await texts(bus)) == 1
        assert troubles.current() == []


@pytest.mark.parametrize(
    ("code", "want"),
    [(apsw.SQLITE_IOERR_WRITE, errors.DiskFull), (apsw.SQLITE_IOERR_SHMSIZE, errors.OutcomeUnknown)],
    ids=["of the file", "of its index"],
)
async def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path, monkeypatch, code, want):
    """SQLite calls it an I/O error. It ends nothing; of the index, the outcome is unknown."""
    monkeypatch.setattr(sqlite, "is_full", lambda *_: True)
    async with opened(tmp_path / "log.db", patience_s=0.0) as bus:

        def fail():
            error: Any = apsw.IOError("no quota")
            error.extendedresult = code
            raise error

        bus._connection.set_commit_hook(fail)
        with pytest.raises(want):
            await bus.publish("t", [message("a")])
        bus._connection.set_commit_hook(None)
        await bus.publish("t", [message("b")])
        assert await texts(bus) == ["b"]


async def test_a_failing_disk_ends_the_log(tmp_path):
    """After an I/O error in a commit its outcome is unknown, later calls are refused, and `maintain` says it is fatal."""
    async with opened(tmp_path / "log.db") as bus:

        def fail():
            raise apsw.IOError("the disk is gone")

        bus._connection.set_commit_hook(fail)
        with pytest.raises(errors.OutcomeUnknown):
            await bus.publish("t", [message("a")])
        bus._connection.set_commit_hook(None)
        with pytest.raises(errors.Unavailable):
            await bus.publish("t", [message("b")])
        with pytest.RaisesGroup(pytest.RaisesExc(errors.DiskFailed, match="disk")):
            await bus.maintain()


async def test_a_watermark_that_cannot_be_written_costs_no_commit(tmp_path, monkeypatch):
    """The watermark is evidence only: where it cannot be written, what is durable is acknowledged, and the log goes on."""

    def refuse(self, count):
        raise OSError("no space left on device")

    async with opened(tmp_path / "log.db") as bus:
        with monkeypatch.context() as patched, anyio.fail_after(10):
            patched.setattr(high_watermark.HighWatermark, "write", refuse)
            await bus.publish("t", [message("first")])
            await bus.publish("t", [message("second")])
        await bus.publish("t", [message("third")])
        assert await texts(bus) == ["first", "second", "third"]
    async with opened(tmp_path / "log.db") as bus:
        assert await texts(bus) == ["first", "second", "third"]


async def test_too_much_that_waits_is_refused(tmp_path, monkeypatch):
    """A disk that cannot keep up costs `Unavailable`, not all of the memory."""
    monkeypatch.setattr(log, "LIMITS", sqlite_writer.Limits(waiting_bytes=1000))
    refused = []
    async with opened(tmp_path / "log.db") as bus:

        async def publish():
            try:
                await bus.publish("t", [message("x" * 600)])
            except errors.Unavailable:
                refused.append(1)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(publish)
        assert len(await texts(bus)) == 10 - len(refused)
        await bus.publish("t", [message("later")])
    assert refused


async def test_a_closed_log_refuses(tmp_path):
    """After the end nothing is taken, rather than waiting for ever."""
    async with opened(tmp_path / "log.db") as bus:
        await bus.publish("t", [message("a")])
    with pytest.raises(errors.Unavailable, match="closed"):
        await bus.publish("t", [message("b")])


async def test_a_second_server_is_refused(tmp_path):
    """One log is open once; when it is closed it can be opened again."""
    async with opened(tmp_path / "log.db"):
        with pytest.raises(errors.InUse, match=r"log\.db"):
            async with opened(tmp_path / "log.db"):
                pass
    async with opened(tmp_path / "log.db"):
        pass
