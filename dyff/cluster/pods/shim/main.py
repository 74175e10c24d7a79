"""The shim: runs a pod's containers one after the other, enforces limits, and records how they ended before it releases the lock.

It has two processes. The first takes the lock, checks the intent, forks the real shim, and ends with one of the exit codes below
as soon as the first program runs (or has failed to start), which informs its parent. The second holds the lock until the outcome
is durable; it is detached and survives the server.
"""

from __future__ import annotations

import os
import signal

from dyff.cluster.pods.shim import files, processes, watch

STARTED, BUSY, ALREADY_RUN, OTHER_INTENT, FAILED = 0, 3, 4, 5, 6
"""Exit codes of the first process: started; the lock is held; that run was started before; the intent is for another run; failed."""


def main(directory: str, run: int) -> int:
    """Start run `run` of the pod in `directory`; returns one of the codes above."""
    lock = files.take(os.path.join(directory, "lock"))
    if lock is None:
        return BUSY
    intent = files.read(os.path.join(directory, "intent.json"))
    if intent is None or intent["run"] != run:
        return OTHER_INTENT
    record = files.read(os.path.join(directory, "record.json"))
    if record is not None and record["run"] == run:
        return ALREADY_RUN
    awaited, started = os.pipe()
    if os.fork() == 0:
        os.close(awaited)
        _detach()
        watch.Pod(directory, intent, started).run()
        return STARTED
    os.close(started)
    os.close(lock)
    return STARTED if os.read(awaited, 1) else FAILED


def _detach() -> None:
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes.adopt_orphans()
