"""The shim's loop: runs containers one after the other, handles their output, limits and requests to stop, and keeps the record."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from contextlib import suppress

from dyff.cluster.pods.shim import container, files, limits, output, processes

STARTED = 0
"""What `report` says once the first program runs, or has failed to start and that is recorded."""
RETRY_RECORD_S = 1.0
_CHUNK = 64 * 1024


class Pod:
    """One run of a pod. `started`: a pipe that gets the byte `STARTED` when the first program runs."""

    def __init__(self, directory: str, intent: files.Json, started: int) -> None:
        self._directory, self._intent, self._started = directory, intent, started
        self._record = _fresh_record(intent)
        deadline_s = intent["deadline_s"]
        self._deadline = math.inf if deadline_s is None else time.monotonic() + deadline_s
        self._kill_at = math.inf
        self._server = limits.Server(intent["server_lock"], intent["orphan_grace_s"])
        self._wake = _wake_on_signals()

    def run(self) -> None:
        """Run the containers until one fails or the run is stopped; return when the outcome is durable."""
        self._stop_request()
        for spec in self._intent["containers"]:
            if self._record["cause"] or not self._run(container.Container(spec, self._directory)):
                break
        self._record["finished"] = True
        self._save()
        self._tell_started()

    def _run(self, subject: container.Container) -> bool:
        def save() -> None:
            self._record["containers"][subject.name] = subject.facts
            self._record["groups"] = subject.group.paths
            self._save()

        begun = subject.start(self._intent["mark"], save)
        self._tell_started()
        if begun:
            self._follow(subject)
        save()
        return subject.succeeded

    def _save(self) -> None:
        """Make the record durable, however long that takes, since it counts as final once the lock is free.

        Before the first program runs, a failure ends the shim instead: nothing was done yet, and the server reports why.
        """
        while True:
            try:
                files.write(os.path.join(self._directory, "record.json"), self._record)
            except OSError as error:
                if self._started >= 0:
                    raise
                if not os.path.isdir(self._directory):
                    return  # it was removed, so nothing can read the record
                with suppress(OSError):  # its log is usually on the same disk
                    sys.stderr.write(f"the record cannot be written, trying again: {error}\n")
                time.sleep(RETRY_RECORD_S)
            else:
                return

    def _tell_started(self) -> None:
        if self._started >= 0:
            report(self._started, STARTED)
            self._started = -1

    def _follow(self, subject: container.Container) -> None:
        """Serve a running container until all its processes are gone."""
        log = output.Log(os.path.join(self._directory, f"{subject.name}.log"), self._intent["log_max_bytes"])
        budget = output.Budget()
        os.set_blocking(subject.output, False)
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        measured = limits.of(subject.spec, subject.folders(), subject.group, subject.guard)
        self._kill_at = math.inf
        status: int | None = None
        open_ended = True
        while status is None:
            self._check_limits(subject, measured)
            listening = open_ended and budget.left > 0
            if listening:
                poll.register(subject.output, select.POLLIN)
            due = min(self._deadline, self._kill_at, self._server.due, *(each.due for each in measured), budget.due)
            ready = dict(poll.poll(max(0.0, due - time.monotonic()) * 1000))
            if listening:
                poll.unregister(subject.output)
            if subject.output in ready:
                open_ended = _pump(subject.output, log, budget) != 0
            if self._wake in ready:
                status = self._wakened(subject)
        subject.end()
        while _pump(subject.output, log, budget) > 0:
            pass
        os.close(subject.output)
        log.close()
        subject.ended(status, log.tail())

    def _wakened(self, subject: container.Container) -> int | None:
        """Handle a signal. Returns the wait status if the container's process has ended, otherwise None."""
        if signal.SIGTERM in os.read(self._wake, 512):
            grace_s = self._stop_request()
            self._stop(subject, "Shutdown", self._intent["grace_s"] if grace_s is None else grace_s)
        return _reap(subject.pid)

    def _stop_request(self) -> float | None:
        """Record the server's request to stop this run. Returns its grace period in seconds; None if there is no request.

        A signal without a request comes from a shutdown of the machine.
        """
        try:
            request = files.read(os.path.join(self._directory, "stop.json"))
        except ValueError:  # it is not synced: a power failure can have left an empty one, of an earlier run
            return None
        if request is None or request["run"] != self._intent["run"]:
            return None
        self._record["cause"] = self._record["cause"] or request["cause"]
        return float(request["grace_s"])

    def _stop(self, subject: container.Container, cause: str, grace_s: float) -> None:
        """Ask the container to end; `_check_limits` kills it after the grace period. A second request can only shorten that."""
        self._record["cause"] = self._record["cause"] or cause
        if self._kill_at == math.inf:
            subject.signal(signal.SIGTERM)
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)

    def _check_limits(self, subject: container.Container, measured: limits.Measured) -> None:
        now = time.monotonic()
        for each in measured:
            breach = each.check(now) if now >= each.due else None
            if breach is not None:
                subject.breach = subject.breach or breach
                subject.signal(signal.SIGKILL)
        if now >= self._deadline:
            self._deadline = math.inf
            self._stop(subject, "DeadlineExceeded", self._intent["grace_s"])
        if now >= self._server.due and self._server.gone(now):
            self._stop(subject, "ServerGone", self._intent["grace_s"])
        if now >= self._kill_at:
            self._kill_at = now + RETRY_RECORD_S
            subject.signal(signal.SIGKILL)


def report(reply: int, code: int) -> None:
    """Send one byte to the process that asked for this run, if it still waits, and close the descriptor."""
    with suppress(BrokenPipeError):  # it was killed meanwhile
        os.write(reply, bytes((code,)))
    os.close(reply)


def _fresh_record(intent: files.Json) -> files.Json:
    me = os.getpid()
    return {
        "run": intent["run"],
        "boot": processes.boot(),
        "shim": {"pid": me, "ticks": processes.started(me)},
        "containers": dict(intent["done"]),
        "groups": [],
        "finished": False,
        "cause": None,
    }


def _wake_on_signals() -> int:
    """A descriptor that gets a byte, the number of the signal, whenever SIGTERM or SIGCHLD arrives."""
    awake, wake = os.pipe()
    for descriptor in (awake, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return awake


def _pump(descriptor: int, log: output.Log, budget: output.Budget) -> int:
    """Read a container's output, and count the cost. Returns the number of bytes; 0 at the end, -1 if there is nothing to read now."""
    try:
        chunk = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return -1
    if chunk:
        log.feed(chunk)
        budget.spend(len(chunk), chunk.count(b"\n"))
    return len(chunk)


def _reap(leader: int) -> int | None:
    """Reap all children that have ended. Returns the wait status of `leader` if it is among them, otherwise None."""
    found: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == leader:
            found = status
