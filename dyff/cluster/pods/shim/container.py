"""One container: a child process that executes nothing until its identity is on disk, and that cannot outlive the shim."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from dyff.cluster.pods.shim import files, forked, output, processes

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

START_ERROR_CODE = 128
"""Exit code of a container whose program could not be executed, as in Kubernetes."""
_GO = b"1"
_OOM_PREFERENCE = "500"


class Container:
    """A container's process. `spec`: one entry of the intent's `containers`."""

    def __init__(self, spec: files.Json) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.pid = 0
        self.output = -1
        self.facts: files.Json = {}
        self.oom_killed = False

    def start(self, recorded: Callable[[], None]) -> bool:
        """Fork, call `recorded` while the child waits, then let it continue. Returns False if its program could not be executed.

        When `recorded` is called, `facts` has `pid`, `ticks` and `startedAt`, which it must make durable.
        """
        self.output, out = os.pipe()
        gate, go = os.pipe()
        trouble, report = os.pipe()
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(self.spec, out, gate, report, shim)
        for descriptor in (out, gate, report):
            os.close(descriptor)
        self.facts = {"pid": self.pid, "ticks": processes.started(self.pid), "startedAt": output.stamp(time.time_ns())}
        recorded()
        os.write(go, _GO)
        os.close(go)
        error = os.read(trouble, 4096).decode(errors="replace")
        os.close(trouble)
        if error:
            os.waitpid(self.pid, 0)
            os.close(self.output)
            self._finish(START_ERROR_CODE, None, "StartError", f"{error}. {self.spec['hint']}")
        return not error

    def signal(self, number: int) -> None:
        """Send a signal to the container's process group."""
        processes.kill_group(self.pid, number)

    def ended(self, status: int, tail: str) -> None:
        """Record how it ended. `status`: from waitpid. `tail`: its last output, kept if it failed."""
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else None
        code = 128 - code if code < 0 else code
        reason = "OOMKilled" if self.oom_killed else "Error" if code else "Completed"
        if self.oom_killed:
            tail = f"it held more than its memory limit of {self.spec['memory_bytes']} bytes\n{tail}"
        self._finish(code, number, reason, tail if code else "")

    @property
    def succeeded(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.facts.get("exitCode") == 0

    def _finish(self, code: int, number: int | None, reason: str, message: str) -> None:
        outcome = {"exitCode": code, "signal": number, "reason": reason, "message": message}
        self.facts = {**self.facts, "finishedAt": output.stamp(time.time_ns()), **outcome}


def _become(spec: files.Json, out: int, gate: int, report: int, shim: int) -> NoReturn:
    """Turn the forked child into the container's program, or report why that is impossible."""
    try:
        os.setsid()
        processes.die_with(shim)
        _default_signals()
        if os.read(gate, 1) != _GO:
            os._exit(1)
        _prefer_as_victim()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(spec["cwd"])
        if forked.is_possible(spec):
            forked.run(spec)
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except BaseException as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f" (its working directory {spec['cwd']})" if getattr(error, "filename", None) == spec["cwd"] else ""
        os.write(report, f"{spec['argv'][0]!r} cannot be started: {reason}{where}".encode())
    os._exit(START_ERROR_CODE)


def _default_signals() -> None:
    """Reset the signal handling of Python and the shim: ignored and blocked signals would survive exec."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _prefer_as_victim() -> None:
    """If the whole machine runs out of memory, a pod should be killed before the server."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(_OOM_PREFERENCE)
    except OSError:
        return  # not Linux, or not allowed: it is only a preference
