"""The processes of a run: reap those that have ended, and end those that are left."""

from __future__ import annotations

import contextlib
import os
import signal
import time

ROUNDS = 1_000
"""How often what is left is looked for and killed, before the pod itself has to end it."""

MOST_IDS = 2**22
"""The kernel's own limit of process IDs."""


def reap() -> dict[int, int]:
    """Collect all children that have ended, also those that were adopted: the wait status of each."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def end_all() -> dict[int, int]:
    """Kill all processes below this one, until there are none: the wait status of each child that was reaped.

    A process that starts others as fast as they are killed is stopped first. What survives all rounds ends with the pod.
    """
    ended: dict[int, int] = {}
    for _ in range(ROUNDS):
        left = descendants()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
        ended.update(reap())
        if not left and not _has_children():
            break
        time.sleep(0.002)
    return ended


def descendants() -> list[int]:
    """Return the processes below this one, those nearest to it first.

    A sandbox can deny the list of processes. Then they are those of this process's group, if it leads one: such a sandbox lets no process
    leave its group.
    """
    try:
        entries = os.listdir("/proc")
    except OSError:
        return _of_group()
    children: dict[int, list[int]] = {}
    for entry in entries:
        if entry.isdecimal():
            parent = _parent(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry))
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _of_group() -> list[int]:
    """Return the other processes of this one's group, found by asking for each ID.

    Empty if this one does not lead a group: the others in it are then not its own.
    """
    own = os.getpid()
    if os.getpgrp() != own:
        return []
    last = _newest()
    # IDs are given in ascending order, and from the beginning again after the last.
    return [pid for pid in (range(own + 1, last + 1) if last > own else range(2, MOST_IDS)) if pid != own and _is_in_group(pid, own)]


def _newest() -> int:
    """Return the newest process ID of the machine; 0 if that is not known."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _is_in_group(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group
    except OSError:
        return False


def _parent(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] == b"Z" else int(fields[1])
    except (OSError, ValueError, IndexError):
        return None


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
