"""Ends a pod's processes: gracefully through the shim, or directly if the shim is gone. Everything here blocks: use a thread.

Orphans that outlived a killed shim are identified by properties that only they have, so that a recycled pid is never killed.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dyff.cluster.pods import directory
from dyff.cluster.pods.shim import cgroups, ending, files, processes

_DEADLINE_S = 10.0
_LOOK_AGAIN_S = 0.02


def ask(place: directory.Directory, record: directory.Record, cause: str, grace_s: float) -> None:
    """Ask a shim to end its containers within `grace_s` seconds. `cause` is written to the record."""
    place.request_stop(record.run, cause, grace_s)
    if not files.is_free(place.lock):  # otherwise it has ended, and its pid can belong to another process
        processes.signal_exactly(record.shim.pid, record.shim.ticks, signal.SIGTERM)


def settle(place: directory.Directory) -> int:
    """End a run whose shim is gone: kill its remaining processes, then record the end. Returns the number of killed processes.

    Does nothing if a shim lives after all or has recorded the end itself.

    Raises:
        TimeoutError: some processes could not be killed.
    """
    with files.taken(place.lock) as free:
        facts = place.facts_under_lock()
        if not free or facts.intent is None or (facts.record and facts.record.finished):
            return 0
        killed = kill_orphans(place, facts.record, facts.intent)
        place.conclude(facts.intent, facts.record, processes.boot())
        return killed


def kill_orphans(place: directory.Directory, record: directory.Record | None, intent: directory.Intent | None = None) -> int:
    """Kill the processes that outlived a pod's shim, and wait until they are gone. Returns their number. The caller holds the lock.

    `record`, `intent`: of the run; None if they are not known.

    Raises:
        TimeoutError: some processes could not be killed.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _DEADLINE_S
    groups = record.groups if record else []
    while found := _marked_ones(place, record, intent) | _orphans(place, record):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(found)} of a pod would not end")
        for pid, ticks in found.items():
            processes.signal_exactly(pid, ticks, signal.SIGKILL)
            killed.add(pid)
        time.sleep(_LOOK_AGAIN_S)
    cgroups.remove(groups)
    return len(killed)


def _marked_ones(place: directory.Directory, record: directory.Record | None, intent: directory.Intent | None) -> dict[int, int]:
    """Kill the processes with the pod's mark. Returns their start times by pid, as far as they still exist."""
    leaders = [each.pid for each in record.containers.values() if not each.finished_at] if record else []
    leader, groups = leaders[-1] if leaders else 0, record.groups if record else []
    found = ending.orphans(ending.Marks(place.mark, leader, intent.uid if intent else None, groups))
    begun = {pid: processes.started(pid) for pid in found}
    return {pid: ticks for pid, ticks in begun.items() if ticks is not None}


def _orphans(place: directory.Directory, record: directory.Record | None) -> dict[int, int]:
    """The start times of the pod's processes, by pid.

    A child of the shim dies with it, but its own children do not. They have the pod's directories in their environment or, if
    they cleared it, belong to the session of a container; if that container is gone, they have a working directory in the pod.
    """
    same_boot = record is not None and record.boot == processes.boot()
    begun: dict[int, int] = (
        {each.pid: each.ticks for each in record.containers.values() if each.ticks is not None} if record and same_boot else {}
    )
    homes = (f"HOME={place.place.work}", f"HOME={place.place.steps}")
    marks = tuple(each.encode() for each in (*homes, f"TMPDIR={place.place.tmp}"))
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
        return False  # gone, or of another user: not one of ours
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
