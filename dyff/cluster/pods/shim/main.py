"""The shim: runs a pod's containers one after the other, enforces limits, and records how they ended before it releases the lock.

It is started in one of two ways. `main` is for an interpreter of its own and has two processes: the first takes the lock, checks the
intent, forks the real shim, and ends with one of the exit codes below as soon as the first program runs (or has failed to start),
which informs its parent. `serve` is for a process that the template has forked, and sends the same codes through a pipe. Either way
the real shim holds the lock until the outcome is durable; it is detached and survives the server.
"""

from __future__ import annotations

import os
import signal

from dyff.cluster.pods.shim import files, processes, rlimits, watch

STARTED, BUSY, ALREADY_RUN, OTHER_INTENT, FAILED = watch.STARTED, 3, 4, 5, 6
"""Exit codes of the first process: started; the lock is held; that run was started before; the intent is for another run; failed."""


def main(directory: str, run: int) -> int:
    """Start run `run` of the pod in `directory`; returns one of the codes above."""
    with _Claim(directory, run) as claim:
        if claim.intent is None:
            return claim.code
        awaited, reply = os.pipe()
        if os.fork() == 0:
            os.close(awaited)
            _supervise(directory, claim.intent, reply)
            return STARTED
        os.close(reply)
    answer = os.read(awaited, 1)
    return answer[0] if answer else FAILED


def serve(directory: str, run: int, reply: int) -> None:
    """Be the shim of run `run` of the pod in `directory`; returns when the run is over.

    `reply`: a descriptor that gets one byte, one of the codes above, once the first program runs, or if it is not to be started. It
    is closed without one if the shim fails before.
    """
    with _Claim(directory, run) as claim:
        if claim.intent is None:
            watch.report(reply, claim.code)
        else:
            _supervise(directory, claim.intent, reply)


class _Claim:
    """Holds the pod's lock while entered, if this run may be started. `intent`: None if not; `code` then says why."""

    def __init__(self, directory: str, run: int) -> None:
        self._lock = files.take(os.path.join(directory, "lock"))
        self.intent: files.Json | None = None
        self.code = BUSY
        if self._lock is not None:
            intent, record = (files.read(os.path.join(directory, name)) for name in ("intent.json", "record.json"))
            if intent is None or intent["run"] != run:
                self.code = OTHER_INTENT
            elif record is not None and record["run"] == run:
                self.code = ALREADY_RUN
            else:
                self.code, self.intent = STARTED, intent

    def __enter__(self) -> _Claim:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)


def _supervise(directory: str, intent: files.Json, reply: int) -> None:
    if intent.get("mark"):  # an intent of an earlier release has none
        rlimits.set_mark(intent["mark"])
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes.adopt_orphans()
    watch.Pod(directory, intent, reply).run()
