"""What only the embedded bus promises: one fsync for many, nothing acknowledged is lost, damage is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import anyio
import apsw
import pytest

from dyff.bus import port
from dyff.bus.embedded import EmbeddedBus, groups, logfile, mark, tails, writer
from dyff.kernel import errors
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

TOPIC = port.TopicSpec("t", 2, compacted=False)


@asynccontextmanager
async def opened(path, clock=None):
    async with EmbeddedBus.open(path, clock=clock or SystemClock(), ids=RandomIds()) as bus:
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


# -- group commit


async def test_who_waits_together_is_committed_together(tmp_path):
    """A hundred publishers at once need far fewer transactions than a hundred."""
    commits = []
    async with opened(tmp_path / "log.db") as bus:
        bus._connection.set_commit_hook(lambda: bool(commits.append(1)))
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
        with pytest.raises(errors.Fatal, match="disk"):
            await bus.maintain()


async def test_a_mark_that_cannot_be_written_costs_no_commit(tmp_path, monkeypatch):
    """The mark is evidence only: where it cannot be written, what is durable is acknowledged, and the log goes on."""

    def refuse(self, count):
        raise OSError("no space left on device")

    async with opened(tmp_path / "log.db") as bus:
        with monkeypatch.context() as patched, anyio.fail_after(10):
            patched.setattr(mark.Mark, "write", refuse)
            await bus.publish("t", [message("first")])
            await bus.publish("t", [message("second")])
        await bus.publish("t", [message("third")])
        assert await texts(bus) == ["first", "second", "third"]
    async with opened(tmp_path / "log.db") as bus:
        assert await texts(bus) == ["first", "second", "third"]


async def test_too_much_that_waits_is_refused(tmp_path, monkeypatch):
    """A disk that cannot keep up costs `Unavailable`, not all of the memory."""
    monkeypatch.setattr(writer, "MAX_WAITING_BYTES", 1000)
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


# -- durability

_WRITER = """
import sys, anyio
from dyff.bus import port
from dyff.bus.embedded import EmbeddedBus
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

async def publish(bus, name):
    number = 0
    while True:
        text = f"{name}-{number}"
        await bus.publish("t", [port.Message(text.encode(), text.encode() * 50, (), number % 2)])
        print(text, flush=True)
        number += 1

async def main():
    async with EmbeddedBus.open(sys.argv[1], clock=SystemClock(), ids=RandomIds()) as bus:
        await bus.create_topics([port.TopicSpec("t", 2, compacted=False)])
        async with anyio.create_task_group() as group:
            for name in "abcdefgh":
                group.start_soon(publish, bus, name)

anyio.run(main)
"""


@pytest.mark.parametrize("lines", [1, 40, 400])
async def test_kill_loses_nothing_that_was_acknowledged(tmp_path, lines):
    """A process that is killed in the middle of its writing leaves every acknowledged record, once, in order."""
    path = tmp_path / "log.db"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    acknowledged = [process.stdout.readline().strip() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    async with EmbeddedBus.open(path, clock=SystemClock(), ids=RandomIds()) as bus:
        held = await bus.ranges("t")
        keys = []
        for partition in held:
            async with bus.read("t", partition, 0) as reader:
                while reader.position < held[partition].end:
                    keys += [record.key.decode() for record in await reader.poll(1000, 1.0)]
    assert set(acknowledged) <= set(keys)
    assert len(keys) == len(set(keys)) == sum(each.end for each in held.values())


async def _killed_log(tmp_path):
    """The files of a log as `kill -9` leaves them: everything is in the WAL. Returns their folder and the records."""
    async with opened(tmp_path / "log.db") as bus:
        for number in range(20):
            await bus.publish("t", [message(f"{number}-" + "x" * 300)])
        alive = tmp_path / "killed"
        alive.mkdir()
        for name in ("log.db", "log.db-wal", "log.db.mark"):
            shutil.copy(tmp_path / name, alive / name)
        return alive, await texts(bus)


async def test_a_wal_that_was_cut_is_told(tmp_path):
    """Wherever the WAL ends early, the log opens with everything that was acknowledged or not at all."""
    folder, want = await _killed_log(tmp_path)
    whole = (folder / "log.db-wal").read_bytes()
    assert len(whole) > 20 * 4096
    cuts = [0, 1, 31, 32, *range(len(whole) - 4200, len(whole), 60), len(whole) - 1]
    for length in cuts:
        target = tmp_path / f"cut-{length}"
        shutil.copytree(folder, target)
        (target / "log.db-wal").write_bytes(whole[:length])
        with pytest.raises(errors.LogDiverged, match=r"log\.db"):
            async with EmbeddedBus.open(target / "log.db", clock=SystemClock(), ids=RandomIds()):
                pass
        shutil.rmtree(target)
    async with EmbeddedBus.open(folder / "log.db", clock=SystemClock(), ids=RandomIds()) as bus:
        assert await texts(bus) == want


async def test_a_missing_file_is_told(tmp_path):
    """A log whose WAL or whose file is gone is not silently begun anew."""
    folder, _ = await _killed_log(tmp_path)
    (folder / "log.db-wal").unlink()
    with pytest.raises(errors.LogDiverged, match="acknowledged"):
        async with EmbeddedBus.open(folder / "log.db", clock=SystemClock(), ids=RandomIds()):
            pass
    for each in folder.glob("log.db*"):
        if each.suffix not in (".mark", ".lock"):
            each.unlink()
    with pytest.raises(errors.LogDiverged, match="missing"):
        async with EmbeddedBus.open(folder / "log.db", clock=SystemClock(), ids=RandomIds()):
            pass


async def test_an_older_copy_is_opened_when_the_mark_is_removed(tmp_path):
    """The way out that the message names works."""
    folder, _ = await _killed_log(tmp_path)
    (folder / "log.db-wal").unlink()
    (folder / "log.db.mark").unlink()
    async with opened(folder / "log.db") as bus:
        assert await texts(bus) == []


async def test_a_file_that_was_cut_is_told(tmp_path):
    """A database that lost any part of its last pages is refused, whatever the cut."""
    async with opened(tmp_path / "log.db") as bus:
        for number in range(50):
            await bus.publish("t", [message(f"{number}-" + "x" * 300)])
    whole = (tmp_path / "log.db").read_bytes()
    for length in [100, 4096, *range(len(whole) - 8192, len(whole), 130), len(whole) - 1]:
        folder = tmp_path / f"cut-{length}"
        folder.mkdir()
        (folder / "log.db").write_bytes(whole[:length])
        with pytest.raises(errors.LogDiverged, match=r"log\.db"):
            async with EmbeddedBus.open(folder / "log.db", clock=SystemClock(), ids=RandomIds()):
                pass
        shutil.rmtree(folder)


@pytest.mark.parametrize("where", [b"needle-in-the-value", b"needle-in-the-key", b"needle-in-a-header"])
async def test_a_changed_byte_is_told(tmp_path, where):
    """One flipped bit in a key, header or value is found when the record is read, and the log does not open on it."""
    path = tmp_path / "log.db"
    records = [port.Message(b"needle-in-the-key", b"needle-in-the-value", (("h", b"needle-in-a-header"),), 0)]
    async with opened(path) as bus:
        await bus.publish("t", records)
    data = bytearray(path.read_bytes())
    data[data.index(where) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(errors.LogDiverged, match=r"t/0@0 is damaged"):
        async with opened(path):
            pass


async def test_damage_further_back_is_told_when_it_is_read(tmp_path):
    """What is not looked at when the log opens is checked when it is read."""
    path = tmp_path / "log.db"
    async with opened(path) as bus:
        for number in range(300):
            await bus.publish("t", [message(f"record-{number}-x")])
    path.write_bytes(path.read_bytes().replace(b"record-7-x", b"rekord-7-x"))
    async with opened(path) as bus, bus.read("t", 0, 0) as reader:
        with pytest.raises(errors.LogDiverged, match="t/0@7"):
            await reader.poll(100, 1.0)


async def test_a_foreign_file_is_refused(tmp_path):
    """A database that is no log, or of a newer release, is left alone."""
    for name, statement in (("other", "CREATE TABLE a (b)"), ("newer", "PRAGMA user_version = 99")):
        connection = apsw.Connection(str(tmp_path / name))
        connection.execute(statement)
        connection.close()
        with pytest.raises(errors.Misconfigured, match=name):
            async with opened(tmp_path / name):
                pass
    (tmp_path / "text").write_text("not a database at all " * 100)
    with pytest.raises(errors.LogDiverged, match="text"):
        async with opened(tmp_path / "text"):
            pass


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0"])
def test_an_unsafe_sqlite_is_refused(version):
    """Libraries with the WAL-reset defect are refused; ours is not one of them."""
    with pytest.raises(errors.Misconfigured, match=version):
        logfile.require_safe_sqlite(version)
    logfile.require_safe_sqlite(apsw.sqlite_lib_version())


def test_every_commit_is_synced(tmp_path):
    """The writing connection is in WAL mode with full synchronisation, and never checkpoints by itself."""
    connection = logfile.connect(tmp_path / "log.db")
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("wal_autocheckpoint") == 0
    connection.close()


def test_a_torn_mark_claims_nothing(tmp_path):
    """A mark that is damaged or cut is no evidence, so it never stops a good log."""
    made = mark.Mark(tmp_path / "mark")
    assert made.read() == 0
    made.write(12345678)
    assert made.read() == 12345678
    data = (tmp_path / "mark").read_bytes()
    for broken in (data[:-1], bytes([data[0] ^ 1]) + data[1:], b""):
        (tmp_path / "mark").write_bytes(broken)
        assert made.read() == 0
    made.close()


# -- upkeep


class LateClock(SystemClock):
    """A clock that can be set forward."""

    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead


async def test_the_wal_stays_small(tmp_path, monkeypatch):
    """The writer checkpoints by itself when nobody does, so the WAL does not grow with what is written."""
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 50)
    async with opened(tmp_path / "log.db") as bus:
        bus._writer._checkpoint_at = 50
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


# -- memory


def test_a_tail_is_bounded_and_without_holes(monkeypatch):
    """The newest records are kept up to a size; what is older is told to be elsewhere."""
    monkeypatch.setattr(tails, "MAX_BYTES", 1000)
    tail = tails.Tail()
    assert tail.get(0, 10) is None
    for offset in range(100):
        tail.extend([port.Record("t", 0, offset, 0, b"k" * 10, b"v" * 90)])
    assert tail.get(0, 10) is None
    assert [record.offset for record in tail.get(98, 10)] == [98, 99]
    assert sum(tail.get(offset, 1) is not None for offset in range(100)) <= 10
    tail.extend([port.Record("t", 0, 100, 0, b"", b"v" * 5000)])
    assert tail.get(100, 1) is None


async def test_old_and_new_records_join_without_a_gap(tmp_path, monkeypatch):
    """A reader that begins on the disk and ends in memory sees every record once."""
    monkeypatch.setattr(tails, "MAX_BYTES", 2000)
    async with opened(tmp_path / "log.db") as bus:
        for number in range(200):
            await bus.publish("t", [message(str(number))])
        assert await texts(bus) == list(map(str, range(200)))


# -- groups


def test_partitions_stay_where_they_are():
    """When a member joins or leaves, only as many partitions move as must."""
    group = groups.Group(8)
    a, b, c = groups.Member(), groups.Member(), groups.Member()
    group.polled(a, 0.0)
    before = dict(a.held)
    group.polled(b, 0.0)
    assert all(before[partition] == assignment for partition, assignment in a.held.items())
    assert (len(a.held), len(b.held)) == (4, 4)
    kept_by_b = dict(b.held)
    group.polled(c, 0.0)
    assert sorted(map(len, (a.held, b.held, c.held))) == [2, 3, 3]
    group.leave(c)
    assert (len(a.held), len(b.held)) == (4, 4)
    assert sum(kept_by_b.get(partition) == assignment for partition, assignment in b.held.items()) >= 2


def test_a_silent_member_loses_its_partitions():
    """Who does not poll for too long is out; when it polls again it is told what it lost and takes part again."""
    group = groups.Group(2)
    silent, lively = groups.Member(), groups.Member()
    group.polled(silent, 0.0)
    group.polled(lively, 1.0)
    lost = tuple(silent.held.values())
    silent.news()
    assert group.polled(lively, groups.SESSION_S / 2) == []
    assert group.polled(lively, groups.SESSION_S + 1) == [lively]
    assert len(lively.held) == 2
    assert not any(silent.holds(assignment) for assignment in lost)
    group.polled(silent, groups.SESSION_S + 2)
    revoked, assigned = silent.news()
    assert revoked == lost
    assert len(assigned) == 1
    assert assigned[0].generation > lost[0].generation


def test_a_member_that_waits_in_a_poll_is_not_silent():
    """A long poll counts as polling."""
    group = groups.Group(2)
    waits, lively = groups.Member(), groups.Member()
    group.polled(waits, 0.0)
    group.polled(lively, 0.0)
    waits.polling = True
    group.polled(lively, groups.SESSION_S * 3)
    assert len(waits.held) == 1


def test_what_was_never_told_need_not_be_revoked():
    """A partition that came and went between two polls is not reported at all."""
    group = groups.Group(1)
    a, b = groups.Member(), groups.Member()
    group.polled(a, 0.0)
    group.polled(b, 0.0)
    group.leave(a)
    assert a.news() == ((), ())
    assert [assignment.partition for assignment in b.news()[1]] == [0]
