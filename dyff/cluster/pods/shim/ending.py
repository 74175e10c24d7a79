"""Ends everything that a container started: whatever it forked, in whatever session it is, even if its supervisor is killed.

Where possible, all processes are killed in one step, so that a program that forks faster than it can be listed ends, too: by their
control group, by their user if no other process has that user, or by their process group if they cannot leave it (`seccomp`).
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from dyff.cluster.pods.shim import cgroups, processes, rlimits

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

_LOOK_AGAIN_S = 0.02
GUARD_S = 60.0
"""A guard tries for this long to end the processes of a supervisor that was killed."""


class Marks:
    """By what the processes of a container are recognized.

    `mark`: of the pod (`rlimits`). `leader`: process ID of its first process; 0 if not known. `uid`: the user of its processes, if that is
    not the server's. `groups`: its control groups.
    """

    def __init__(self, mark: int, leader: int, uid: int | None, groups: list[str]) -> None:
        self.mark, self.leader, self.uid, self.groups = mark, leader, uid, groups


def everything(known: Marks, guard: int = 0) -> None:
    """Kill and reap everything that a container of this supervisor left behind.

    `known`: its leader is not reaped yet, or is a zombie. `guard`: the result of `guard`, which ends last.
    """
    while True:
        _at_once(known)
        for pid in processes.descendants(os.getpid()):
            if pid != guard:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        mine = [pid for pid in processes.children(os.getpid()) if pid != guard]
        for pid in mine:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if not mine and not guard and not _has_children():
            return
        if not mine:
            guard = 0


def _has_children() -> bool:
    """Whether there are children, also those that were born while the processes were listed."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _at_once(known: Marks) -> None:
    cgroups.kill(known.groups)
    if known.uid is not None and not _shared(known.uid, known.mark):
        kill_user(known.uid)
    if known.leader:
        processes.kill_group(known.leader, signal.SIGKILL)


def _shared(uid: int, mark: int) -> bool:
    """Whether another pod has processes of this user, too, such as a pod of another server on this machine."""
    return any(rlimits.mark_of(pid) != mark for pid in rlimits.processes_of(uid))


def kill_user(uid: int) -> None:
    """Kill all processes of a user that belongs to one pod only, in one step. Only root can do that; others do nothing.

    Raises:
        ValueError: the user is root, or this process's own.
    """
    if uid <= 0 or uid in os.getresuid():
        raise ValueError(f"all processes of user {uid} cannot be killed: it is not a user of a pod")
    if os.geteuid() != 0:
        return
    child = os.fork()
    if child == 0:
        _kill_as(uid)
    # A process of that user can kill this child before its work is done, so the caller repeats.
    os.waitpid(child, 0)


def _kill_as(uid: int) -> NoReturn:
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.getresuid() == (uid, uid, uid):
            os.kill(-1, signal.SIGKILL)
    except BaseException:
        os._exit(1)
    os._exit(0)


def orphans(known: Marks) -> list[int]:
    """One attempt to kill the processes of a run whose supervisor is gone. Returns those that were still there before it."""
    found = [pid for pid in rlimits.marked(known.mark) if pid != os.getpid() and processes.started(pid) is not None]
    if not found:
        return []
    # The leader's number can belong to another process by now, but a process group with that number and this mark is ours.
    ours = any(processes.group(pid) == known.leader for pid in found)
    _at_once(Marks(known.mark, known.leader if ours else 0, known.uid, known.groups))
    for pid in found:
        if rlimits.mark_of(pid) == known.mark:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    return found


def guard(known: Marks) -> int:
    """Start a process that ends the container's processes if this one ends without having done so. Returns its process ID.

    The tier bubblewrap needs none: there, the first process of the container's own numbering ends with its supervisor, and all others
    with it.
    """
    held, watched = os.pipe()
    child = os.fork()
    if child == 0:
        _guard(held, watched, known)
    os.close(held)
    return child


def _guard(held: int, watched: int, known: Marks) -> NoReturn:
    try:
        os.close(watched)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN if number != signal.SIGCHLD else signal.SIG_DFL)
        # The lock of the supervisor must end with the supervisor.
        os.closerange(0, held)
        os.closerange(held + 1, os.sysconf("SC_OPEN_MAX"))
        while os.read(held, 1):
            pass
        deadline = time.monotonic() + GUARD_S
        while time.monotonic() < deadline and orphans(known):
            time.sleep(_LOOK_AGAIN_S)
        cgroups.remove(known.groups)
    except BaseException:
        os._exit(1)
    os._exit(0)
