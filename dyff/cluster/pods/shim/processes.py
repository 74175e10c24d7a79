"""What the operating system knows about processes: identities that are never recycled, trees, memory, parent-death signals.

Where there is no `/proc` (not Linux) trees are empty and memory is unknown: limits are then not watched.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def boot() -> str:
    """What changes with every start of the machine: process ids and start times mean nothing across it."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _stat(pid: int) -> list[bytes]:
    """The fields of `/proc/<pid>/stat` after the command's name, which may hold anything; empty: no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def started(pid: int) -> int | None:
    """When the process started, in ticks since boot: with the pid, an identity. None: no such process (or a zombie)."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in b"ZX" else None


def session(pid: int) -> int | None:
    """The process's session. None: no such process."""
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def all_pids() -> list[int]:
    """Every process that is visible here."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return []


def descendants(root: int) -> list[int]:
    """Children of `root`, their children and so on, without `root`."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found, frontier = [], [root]
    while frontier:
        below = children.get(frontier.pop(), [])
        found += below
        frontier += below
    return found


def memory(pids: list[int]) -> int:
    """Bytes that these processes hold for themselves: anonymous and shared memory, as a memory cgroup counts what it cannot reclaim.

    Mapped files (a model's weights) are not counted: the kernel drops those by itself.
    """
    return sum(_kib(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:")) for pid in pids) * 1024


def exact_memory(pids: list[int]) -> int:
    """Like `memory`, with what processes share counted once; expensive for big ones."""
    return sum(_kib(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:")) for pid in pids) * 1024


def _kib(path: str, keys: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(keys))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Be killed when `parent` ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
            raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")


def signal_exactly(pid: int, ticks: int | None, number: int) -> None:
    """Send a signal to the process that has this number and this start, and to no other that got the number later."""
    with suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            if started(pid) == ticks:
                os.kill(pid, number)
            return
        pinned = os.pidfd_open(pid)  # from here on the number means this process or nothing
        try:
            if started(pid) == ticks:
                signal.pidfd_send_signal(pinned, number)
        finally:
            os.close(pinned)


def kill_group(leader: int, number: int) -> None:
    """Send a signal to a process group that this process made and has not reaped the leader of."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def end_children(leader: int) -> None:
    """Kill everything that a container left behind and reap it: its group, then whatever became our child, until none is left."""
    kill_group(leader, signal.SIGKILL)
    while True:
        for pid in descendants(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
