"""Processes that outlived a shim which was killed: found by what only they have, so that a recycled pid is never killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dyff.cluster.pods import directory
from dyff.cluster.pods.shim import processes

DEADLINE_S = 10.0
_LOOK_AGAIN_S = 0.02


def end(place: directory.Directory, record: directory.Record | None) -> int:
    """Kill what is left of a pod and wait until it is gone; how many there were. The caller holds the pod's lock.

    Raises:
        TimeoutError: some would not die.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + DEADLINE_S
    while found := _find(place, record):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(found)} of a pod would not end")
        for pid, ticks in found.items():
            processes.signal_exactly(pid, ticks, signal.SIGKILL)
            killed.add(pid)
        time.sleep(_LOOK_AGAIN_S)
    return len(killed)


def _find(place: directory.Directory, record: directory.Record | None) -> dict[int, int]:
    """By pid the start time of every process of the pod.

    A child dies with the shim and its own children are left to themselves. They have the pod's directories in their
    environment, or, if they cleared that, the session that a container began and a working directory in the pod.
    """
    same_boot = record is not None and record.boot == processes.boot()
    begun: dict[int, int] = (
        {each.pid: each.ticks for each in record.containers.values() if each.ticks is not None} if record and same_boot else {}
    )
    marks = (f"HOME={place.place.work}".encode(), f"TMPDIR={place.place.tmp}".encode())
    found = {}
    for pid in processes.all_pids():
        ticks = processes.started(pid)
        if ticks is not None and (_marked(pid, marks) or _in_session(pid, begun, place.path)):
            found[pid] = ticks
    return found


def _marked(pid: int, marks: tuple[bytes, ...]) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, or of another user: none of ours
    return any(mark in environment for mark in marks)


def _in_session(pid: int, begun: dict[int, int], path: Path) -> bool:
    leader = processes.session(pid)
    if leader not in begun:
        return False
    if processes.started(leader) == begun[leader]:
        return True
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(path)
    except OSError:
        return False
