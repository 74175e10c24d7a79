"""The embedded bus: nothing that was acknowledged is lost unnoticed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys

import apsw
import pytest

from dyff.bus import port
from dyff.bus.embedded import EmbeddedBus, EmbeddedHistory, high_watermark, logfile
from dyff.kernel import errors
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from tests.bus.logs import message, opened, texts
from tests.narrowing import sure

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
    acknowledged = [sure(process.stdout).readline().strip() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in sure(process.stdout).read().splitlines(keepends=True) if line.endswith("\n")]
    await asyncio.to_thread(process.wait)
    sure(process.stdout).close()
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


async def test_a_wal_that_was_cut_is_reported(tmp_path):
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


async def test_a_missing_file_is_reported(tmp_path):
    """A log whose WAL or whose file is gone is not silently begun again."""
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


@pytest.mark.parametrize("table", ["topics", "partitions", "committed", "owners"])
async def test_damage_of_a_small_table_is_found_when_the_log_is_opened(tmp_path, table):
    """Not only in the middle of the first work that needs it; a process that only reads notices it, too."""
    path = tmp_path / "log.db"
    async with opened(path) as bus:
        await bus.publish("t", [message("a")])
    connection = apsw.Connection(str(path))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    size = connection.pragma("page_size")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    for opening in (EmbeddedBus.open(path, clock=SystemClock(), ids=RandomIds()), EmbeddedHistory.open(path)):
        with pytest.raises(errors.LogDiverged, match=r"log\.db is damaged .*restore a backup"):
            async with opening:
                pass


async def test_an_older_copy_is_opened_when_the_mark_is_emptied(tmp_path):
    """The way out that the message names works."""
    folder, _ = await _killed_log(tmp_path)
    (folder / "log.db-wal").unlink()
    (folder / "log.db.mark").write_bytes(b"")
    async with opened(folder / "log.db") as bus:
        assert await texts(bus) == []


async def test_a_copy_without_its_wal_and_mark_is_refused_every_time(tmp_path):
    """It was copied from a log that was open. One that was closed in order needs neither file."""
    folder, _ = await _killed_log(tmp_path)
    (folder / "log.db-wal").unlink()
    (folder / "log.db.mark").unlink()
    for _ in range(2):
        with pytest.raises(errors.LogDiverged, match="without its -wal file"):
            async with opened(folder / "log.db"):
                pass
        with pytest.raises(errors.LogDiverged, match="without its -wal file"):
            async with EmbeddedHistory.open(folder / "log.db"):
                pass
    async with opened(tmp_path / "closed.db") as bus:
        await bus.publish("t", [message("a")])
    (tmp_path / "closed.db.mark").unlink()
    assert not (tmp_path / "closed.db-wal").exists()
    async with opened(tmp_path / "closed.db") as bus:
        assert await texts(bus) == ["a"]


async def test_a_file_that_was_cut_is_reported(tmp_path):
    """A database that lost any part of its last pages is refused, wherever it was cut."""
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
async def test_a_changed_byte_is_reported(tmp_path, where):
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


async def test_damage_further_back_is_reported_when_it_is_read(tmp_path):
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
    """A watermark that is damaged or cut is no evidence, so it never stops a good log."""
    made = high_watermark.HighWatermark(tmp_path / "mark")
    assert made.read() == 0
    made.write(12345678)
    assert made.read() == 12345678
    data = (tmp_path / "mark").read_bytes()
    for broken in (data[:-1], bytes([data[0] ^ 1]) + data[1:], b""):
        (tmp_path / "mark").write_bytes(broken)
        assert made.read() == 0
    made.close()
