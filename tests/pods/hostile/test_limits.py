"""Programs that take without end, in each tier, as root and as a regular user: each is ended, or refused more, and the reason is recorded.

A regular user has no control groups on most machines, so there the supervisor measures memory and processes itself.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from dyff.cluster.pods.shim import limits, usage
from tests.narrowing import sure

HIDDEN = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); "
"""Hides a process from others of the same user, as far as the kernel allows that."""


def outcome(bench, program: str):
    """How a container with this program ends, and its output."""
    bench.start(program)
    return bench.outcome(), bench.log().splitlines()


def test_a_program_runs(bench):
    """A program that behaves runs to its end, in a folder that it can write to."""
    ended, lines = outcome(bench, "open('x', 'w').write('1'); print(open('x').read()); raise SystemExit(3)")
    assert (ended["exitCode"], lines) == (3, ["1"]), ended


def test_a_full_disk_belongs_to_the_pod(bench):
    """Files of more than the limit together end the pod as Evicted, with the limit and its setting."""
    ended, _ = outcome(bench, "import os, time\nfor i in range(9): open(str(i), 'wb').write(os.urandom(4 << 20))\ntime.sleep(60)")
    assert (ended["reason"], ended["exitCode"]) == ("Evicted", 137)
    assert "20971520 bytes that pods.limits.disk_bytes allows" in ended["message"]


def test_one_file_is_no_larger_than_the_disk(bench):
    """A single file cannot grow beyond the limit: the write fails before any measurement."""
    program = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nf = open('big', 'wb', 0)\n"
        "try:\n  while True: f.write(bytes(1 << 20))\nexcept OSError as e: print(e.errno, f.tell())"
    )
    ended, lines = outcome(bench, program)
    assert lines == ["27 20971520"] or ended["reason"] == "Evicted"  # with the folder itself, it is over the limit by now
    assert (bench.place.place.work / "big").stat().st_size == 20 << 20


def test_deleted_files_count(bench):
    """Space of files that were deleted but are still open is counted, too."""
    program = (
        "import os, time\nheld = []\nfor i in range(9):\n  f = open('x', 'wb'); f.write(os.urandom(4 << 20)); f.flush(); "
        "os.unlink('x'); held.append(f)\ntime.sleep(60)"
    )
    ended, _ = outcome(bench, program)
    assert (ended["reason"], ended["exitCode"]) == ("Evicted", 137)


UNSEEN = {
    "sent": "a, b = socket.socketpair()\ndef keep(f):\n  socket.send_fds(a, [b'1'], [f.fileno()]); f.close()\n",
    "hidden": HIDDEN + "held = []\nkeep = held.append\n",
    "mapped": "held = []\ndef keep(f):\n  held.append(mmap.mmap(f.fileno(), 4096)); f.close()\n",
}


@pytest.mark.parametrize("way", UNSEEN)
def test_deleted_files_count_wherever_they_are_kept(bench, way):
    """Deleted files cannot be kept where no measurement finds them: on their way between sockets, in a process that hides, or mapped."""
    program = (
        f"import mmap, os, socket, time\n{UNSEEN[way]}"
        "for i in range(9):\n  f = open('x', 'w+b'); f.write(os.urandom(4 << 20)); f.flush(); os.unlink('x'); keep(f)\ntime.sleep(60)"
    )
    ended, lines = outcome(bench, program)
    assert (ended["reason"], ended["exitCode"]) == ("Evicted", 137), (ended, lines)
    assert "20971520 bytes that pods.limits.disk_bytes allows" in ended["message"]


def test_descriptors_on_their_way_are_allowed(monkeypatch, tmp_path):
    """Descriptors on their way between sockets end a pod only if the disk was filled meanwhile, in three measurements in a row."""
    used = [0]
    monkeypatch.setattr(usage, "used_bytes", lambda folder: used[0])

    class Here:
        def pids(self, now: float) -> list[int]:
            return [os.getpid()]

        def ours(self) -> set[int]:
            return set()

    here: Any = Here()
    subject = limits.Disk(here, [str(tmp_path)], max_bytes=1 << 40, max_files=1000)

    def measure() -> limits.Breach | None:
        found = None
        subject.due = 0.0
        while subject.due == 0.0 and found is None:
            found = subject.check(0.0)
        return found

    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"1"], [0])
        assert [measure() for _ in range(5)] == [None] * 5
        used[0] = 2 << 40
        assert [measure() for _ in range(2)] == [None, None]
        assert "deleted files where they cannot be measured" in sure(measure()).message
        _, (received,), _, _ = socket.recv_fds(theirs, 1, 1)
        os.close(received)
        assert [measure() for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("locked", [False, True])
def test_small_files_without_end(bench, locked):
    """More files than allowed end the pod, also in a folder that its own user may not read."""
    lock = "os.chmod('d', 0); " if locked else ""
    program = f"import os, time; os.mkdir('d'); [open(f'd/{{i}}', 'w').close() for i in range(1000)]; {lock}time.sleep(60)"
    ended, _ = outcome(bench, program)
    if locked and bench.tier == "landlock" and bench.regular:
        # Without a user of its own it can lock nothing, and ends with that error, or before it.
        assert ended["reason"] == "Evicted" or "Operation not permitted" in ended["message"]
        return
    assert (ended["reason"], ended["exitCode"]) == ("Evicted", 137)
    assert "500 files and folders that pods.limits.disk_files allows" in ended["message"]


def test_folders_without_end(bench):
    """Folders nested beyond what can be walked end the pod."""
    program = "import os, time\nfor i in range(400): os.mkdir('d'); os.chdir('d')\ntime.sleep(60)"
    ended, _ = outcome(bench, program)
    assert (ended["reason"], ended["exitCode"]) == ("Evicted", 137)
    assert "nested more than 200 levels" in ended["message"]


@pytest.mark.parametrize("hidden", [False, True])
def test_memory_without_end(bench, hidden):
    """A program that takes memory without end is OOMKilled at the limit, in several processes, also if these hide."""
    fill = "import os\n[os.fork() for _ in range(2)]\nx = []\nwhile True: x.append(bytearray(b'1') * (4 << 20))"
    program = (HIDDEN if hidden else "") + fill
    ended, _ = outcome(bench, program)
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137), ended
    assert "memory limit of 268435456 bytes" in ended["message"]


KEEP = {
    "file": "def take(n): f = os.memfd_create('x'); [os.write(f, bytes(1 << 20)) for _ in range(n)]; held.append(f)\n",
    "sent": "a, b = socket.socketpair()\ndef take(n):\n  f = os.memfd_create('x'); [os.write(f, bytes(1 << 20)) for _ in range(n)]\n"
    "  socket.send_fds(a, [b'1'], [f]); os.close(f)\n",
    "mapped": "def take(n): m = mmap.mmap(-1, n << 20); m.write(bytes(n << 20)); m.madvise(mmap.MADV_DONTNEED); held.append(m)\n",
}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("way", KEEP)
def test_shared_memory_that_is_not_mapped(bench, way, hidden):
    """Memory that no process has mapped at the moment counts, too."""
    program = (
        f"{HIDDEN if hidden else ''}import mmap, os, socket, time\nheld = []\n{KEEP[way]}\nfor _ in range(40): take(10)\ntime.sleep(60)"
    )
    ended, lines = outcome(bench, program)
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137), (ended, lines)


def test_forks_without_end(bench):
    """A fork bomb gets no more processes than allowed, and nothing of it is left when its pod ends."""
    program = (
        "import os, time\nmade = 0\ntry:\n  while made < 4000:\n    if os.fork() == 0: time.sleep(60)\n    made += 1\n"
        "except OSError as error: print('refused', made < 80, flush=True)"
    )
    ended, lines = outcome(bench, program)
    assert lines == ["refused True"] or ended["reason"] == "Evicted", (ended, lines)


def test_descriptors_without_end(bench):
    """A process gets no more open files than allowed."""
    program = "import os\ntry:\n  for i in range(4000): os.dup(0)\nexcept OSError as error: print(error.errno, i < 64)"
    _, lines = outcome(bench, program)
    assert lines == ["24 True"]


def test_words_without_end(bench):
    """A flood of output neither fills the disk nor hides the end of the program, and is read no faster than the supervisor allows."""
    program = "import sys\nfor i in range(400_000): sys.stdout.write('x\\n')\nprint('end')"
    ended, lines = outcome(bench, program)
    assert (ended["exitCode"], lines[-1]) == (0, "end")
