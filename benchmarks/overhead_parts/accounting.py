"""CPU time of everything that a process started, including processes that were detached from it and have ended."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A process. `own_s`: CPU seconds of its own threads. `reaped_s`: of children that it has waited for, and theirs."""

    pid: int
    parent: int
    state: str
    own_s: float
    reaped_s: float
    started: int


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends.

    Raises:
        OSError: the system cannot do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the system refuses PR_SET_CHILD_SUBREAPER")


def cpu_s() -> float:
    """Return the CPU seconds of all processes that this one started, directly or not, living or dead; not its own."""
    living = list(descendants())
    for each in living:
        # The parent of an adopted orphan is this process, so nothing else waits for it. A `Popen` notices that it was waited for.
        if each.parent == os.getpid() and each.state == "Z":
            with suppress(ChildProcessError):
                os.waitpid(each.pid, os.WNOHANG)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + sum(each.own_s + each.reaped_s for each in descendants())


def own_cpu_s(pid: int) -> float:
    """Return the CPU seconds of one process without its children; 0.0 if it is gone."""
    found = read(pid)
    return found.own_s if found else 0.0


def descendants() -> Iterator[Process]:
    """Yield all living processes below this one."""
    children: dict[int, list[Process]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := read(int(name))) is not None:
            children.setdefault(found.parent, []).append(found)
    frontier = [os.getpid()]
    while frontier:
        below = children.get(frontier.pop(), [])
        frontier += [each.pid for each in below]
        yield from below


def read(pid: int) -> Process | None:
    """Return what the system says about a process; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return Process(pid, int(fields[1]), fields[0], own / TICKS, reaped / TICKS, int(fields[19]))
