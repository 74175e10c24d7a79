from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dyff.cluster.pods.shim import files, output, processes, watch
from tests.narrowing import sure

ROOT = Path(__file__).parents[2]


def test_the_shim_needs_only_the_standard_library():
    """The shim starts without site-packages and loads nothing of ours but itself."""
    script = "import sys; sys.path.append(sys.argv[1]); from dyff.cluster.pods.shim import main; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(ROOT)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in loaded if name.startswith("dyff.") and not name.startswith("dyff.cluster.pods.shim")] == [
        "dyff.cluster",
        "dyff.cluster.pods",
    ]
    assert [name for name in loaded if name.partition(".")[0] not in {*sys.stdlib_module_names, "__main__", "dyff"}] == []


def lines(path: Path) -> list[tuple[str, str]]:
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in path.read_text().splitlines()]


def test_a_line_is_written_when_it_is_whole(tmp_path):
    """Pieces are put together, and what has no end is written at the end."""
    log = output.Log(str(tmp_path / "log"), 10**6)
    log.feed(b"on")
    assert lines(tmp_path / "log") == []
    log.feed(b"e\ntwo\nthr")
    assert [text for _, text in lines(tmp_path / "log")] == ["one", "two"]
    log.feed(b"ee")
    log.close()
    assert [text for _, text in lines(tmp_path / "log")] == ["one", "two", "three"]


def test_times_rise_by_microseconds(tmp_path):
    """Each line has its own RFC 3339 time, later than the one before by at least a microsecond, and close to now."""
    log = output.Log(str(tmp_path / "log"), 10**6)
    log.feed(b"x\n" * 5000)
    log.close()
    stamps = [datetime.fromisoformat(stamp) for stamp, _ in lines(tmp_path / "log")]
    assert stamps == sorted(set(stamps))
    assert abs((stamps[-1] - datetime.now(UTC)).total_seconds()) < 5


def test_an_endless_line_is_split(tmp_path):
    """A line that does not end is written in pieces, so that memory stays small."""
    log = output.Log(str(tmp_path / "log"), 10**6)
    log.feed(b"x" * (2 * output.MAX_LINE_BYTES + 1))
    log.close()
    assert [len(text) for _, text in lines(tmp_path / "log")] == [output.MAX_LINE_BYTES, output.MAX_LINE_BYTES, 1]


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ([], ""),
        (["a", "b"], "a\nb"),
        (["a" * 1500, "b" * 1000], "b" * 1000),
        (["a" * 1500, "b" * 2048], "b" * 2048),
        (["a" * 1500, "b" * 3000], "b" * 2048),
        (["a" * 1000, "b" * 1047], "a" * 1000 + "\n" + "b" * 1047),
    ],
    ids=["nothing", "all", "a line that fits in part", "a line that just fits", "a line that is longer than all", "two that just fit"],
)
def test_the_last_lines_are_whole(tmp_path, written, want):
    """What is kept of a container's end begins at the start of a line, unless one line alone is too long."""
    log = output.Log(str(tmp_path / "log"), 10**6)
    log.feed("".join(f"{line}\n" for line in written).encode())
    log.close()
    assert log.tail() == want


def test_a_log_that_cannot_be_made_costs_lines_only(tmp_path, monkeypatch):
    """On a full disk the container runs without a log, which begins when there is space."""

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        log = output.Log(str(tmp_path / "log"), 10**6)
        log.feed(b"lost\n")
    log.feed(b"after\n")
    log.close()
    assert [text for stamp, text in lines(tmp_path / "log") if stamp] == ["dyff: 1 lines could not be written here", "after"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        output.Log(str(tmp_path / "other"), 10**6).close()


class Full(io.TextIOBase):
    """A file on a full disk."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_supervisor_outlives_a_disk_that_is_full_for_its_own_log_too(tmp_path, monkeypatch):
    """It waits until the record can be written, though not even that can be logged: otherwise how the pod ended would be lost."""
    written, attempts = files.write, iter(range(4))

    def full_at_first(path: str, value: files.Json) -> None:
        if next(attempts) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(path, value)

    intent = {"run": 0, "done": {}, "containers": [], "deadline_s": None, "server_lock": str(tmp_path / "lock"), "orphan_grace_s": 60.0}
    monkeypatch.setattr(files, "write", full_at_first)
    monkeypatch.setattr(watch, "RETRY_RECORD_S", 0.01)
    monkeypatch.setattr(watch, "_wake_on_signals", lambda: -1)
    pod = watch.Pod(str(tmp_path), intent, started=-1)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Full())
        pod.run()
    assert sure(files.read(str(tmp_path / "record.json")))["finished"] is True


def test_a_supervisor_whose_directory_was_removed_ends(tmp_path, monkeypatch):
    """Its record can be read by no one, so it does not try forever to write it."""
    intent = {"run": 0, "done": {}, "containers": [], "deadline_s": None, "server_lock": str(tmp_path / "lock"), "orphan_grace_s": 60.0}
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it tries again"))
    monkeypatch.setattr(watch, "_wake_on_signals", lambda: -1)
    watch.Pod(str(tmp_path / "removed"), intent, started=-1).run()
    assert not (tmp_path / "removed").exists()


def test_a_full_disk_costs_lines_only(tmp_path, monkeypatch):
    """Lines that could not be written are counted, and the log says so when it can be written again."""
    log = output.Log(str(tmp_path / "log"), 10**6)
    log.feed(b"before\n")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.feed(b"lost\nlost\n")
        log.feed(b"lost\n")
    log.feed(b"after\n")
    log.close()
    texts = [text for stamp, text in lines(tmp_path / "log") if stamp]
    assert texts == ["before", "dyff: 3 lines could not be written here", "after"]


def test_a_durable_file_is_whole_or_absent(tmp_path, monkeypatch):
    """A write that fails leaves the old file as it was."""
    path = str(tmp_path / "file.json")
    files.write(path, {"version": 1})

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            files.write(path, {"version": 2})
    assert files.read(path) == {"version": 1}
    assert files.read(str(tmp_path / "absent.json")) is None


def test_a_lock_has_one_holder(tmp_path):
    """A lock that is held is neither free nor given to another, and is free again when its holder lets go."""
    path = str(tmp_path / "lock")
    assert files.is_free(path)
    with files.taken(path) as first:
        assert first
        assert not files.is_free(path)
        with files.taken(path) as second:
            assert not second
    assert files.is_free(path)


def test_an_identity_is_more_than_a_number():
    """A process is known by its number and its start; one that has ended, reaped or not, has none."""
    child = subprocess.Popen(["/bin/sleep", "600"])
    ticks = processes.started(child.pid)
    assert isinstance(ticks, int)
    assert child.pid in processes.descendants(os.getpid())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.started(child.pid) is None
    child.wait()
    assert processes.started(child.pid) is None
