"""Process information from the operating system: identities that are never recycled, trees, memory, parent-death signals.

Without `/proc` (not Linux), trees are empty and memory use is unknown, so limits are not enforced.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def boot() -> str:
    """The boot ID, which changes with every start of the machine. Process IDs and start times are valid only within one boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _stat(pid: int) -> list[bytes]:
    """The fields of `/proc/<pid>/stat` after the command name, which can contain any character; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def started(pid: int) -> int | None:
    """Start time of the process in ticks since boot, which with the pid identifies it. None if it does not exist or is a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in b"ZX" else None


def session(pid: int) -> int | None:
    """The process's session; None if it does not exist."""
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def group(pid: int) -> int | None:
    """The process group of a process; None if it does not exist."""
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def tasks(pids: list[int]) -> int:
    """The number of threads of these processes."""
    return sum(int(fields[17]) for fields in map(_stat, pids) if fields)


def all_pids() -> list[int]:
    """All processes that are visible here."""
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


def children(pid: int) -> list[int]:
    """The direct children of a process, the oldest first."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(each) for each in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return [each for each in all_pids() if (_stat(each) or [b"", b"0"])[1] == b"%d" % pid]


def memory(pids: list[int]) -> int:
    """Bytes of anonymous and shared memory of these processes, which is what a memory cgroup cannot reclaim.

    Mapped files (a model's weights) are not counted, since the kernel can drop their pages.
    """
    return sum(_kib(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:")) for pid in pids) * 1024


def exact_memory(pids: list[int]) -> int:
    """Like `memory`, but with memory that processes share counted once. Expensive for large processes.

    A process can hide the exact number from its own user. Then its share of common memory is counted as its own.
    """
    return sum(_kib(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:")) * 1024 or memory([pid]) for pid in pids)


def _kib(path: str, keys: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(keys))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Let this process be killed when `parent` ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def name_self(name: str) -> None:
    """Set the short name of this process (at most 15 bytes), which tools show."""
    text = ctypes.create_string_buffer(name.encode())
    _prctl(_PR_SET_NAME, ctypes.addressof(text))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
            raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")


def signal_exactly(pid: int, ticks: int | None, number: int) -> None:
    """Send a signal to the process with this pid and start time, and never to another process that got the pid later."""
    with suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            if started(pid) == ticks:
                os.kill(pid, number)
            return
        pinned = os.pidfd_open(pid)  # from here on the descriptor refers to this process or to none
        try:
            if started(pid) == ticks:
                signal.pidfd_send_signal(pinned, number)
        finally:
            os.close(pinned)


def kill_group(leader: int, number: int) -> None:
    """Send a signal to a process group that this process created and whose leader it has not reaped."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
