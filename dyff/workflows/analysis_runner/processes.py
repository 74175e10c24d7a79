"""The processes of a run: reap those that have ended, and end those that are left."""

from __future__ import annotations

import contextlib
import os
import signal
import time

ROUNDS = 1_000
"""How often what is left is looked for and killed, before the pod itself has to end it."""


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
    """Return the processes below this one, those nearest to it first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
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
