"""One container: a child process that executes nothing until its identity is on disk, and that cannot outlive the shim."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from dyff.cluster.pods.shim import cgroups, ending, files, forked, limits, output, processes

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

    from dyff.cluster.pods.shim.sandbox import Sandbox

START_ERROR_CODE = 128
"""Exit code of a container whose program could not be executed, as in Kubernetes."""
_GO = b"1"
_OOM_PREFERENCE = "500"
_REPORT_BYTES = 4096


class Container:
    """A container's process. `spec`: one entry of the intent's `containers`. `directory`: the pod's."""

    def __init__(self, spec: files.Json, directory: str) -> None:
        self.spec = spec
        self._directory = directory
        self._sandbox = _sandbox(directory, spec)
        self.name: str = spec["name"]
        self.pid = 0
        self.output = -1
        self.facts: files.Json = {}
        self.breach: limits.Breach | None = None
        self.group = cgroups.Group()
        self.guard = 0
        self._mark = 0
        self._joins_late = False
        """The move into a control group takes some milliseconds, in which Bubblewrap can work: its program starts when both are done."""

    def start(self, mark: int, recorded: Callable[[], None]) -> bool:
        """Fork, call `recorded` while the child waits, then let it continue. Returns False if its program could not be executed.

        `mark`: of the pod's processes. When `recorded` is called, `facts` has `pid`, `ticks` and `startedAt`, which it must make durable.
        """
        problem = self._prepare()
        self.output, out = os.pipe()
        gate, go = os.pipe()
        trouble, report = os.pipe()
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(self.spec, self._sandbox, out, gate, report, shim)
        for descriptor in (out, gate, report):
            os.close(descriptor)
        self._mark = mark
        self._bound()
        self.facts = {"pid": self.pid, "ticks": processes.started(self.pid), "startedAt": output.stamp(time.time_ns())}
        recorded()
        if not problem:
            with suppress(BrokenPipeError):  # something has killed it already, which is found when it is reaped
                os.write(go, _GO)
        os.close(go)
        if self._joins_late:
            self.group.add(self.pid)
        error = problem or self._trouble(trouble)
        os.close(trouble)
        if error:
            self.end()
            os.close(self.output)
            self._finish(START_ERROR_CODE, None, "StartError", f"{error}. {self.spec['hint']}")
        return not error

    def _bound(self) -> None:
        """Before the program starts: put it into control groups, and see to it that it ends with this supervisor."""
        confinement = self.spec["confinement"]
        if not confinement:
            return
        name = f"dyff-{os.path.basename(self._directory)}"
        self.group = cgroups.Group.make(name, limits.memory_limit(self.spec), confinement["limits"]["processes"])
        if confinement["tier"] == "landlock":
            self.group.add(self.pid)
            self.guard = ending.guard(self._marks())
        else:
            self._joins_late = True

    def _marks(self) -> ending.Marks:
        """In the tier bubblewrap, the processes end with the first one of their own numbering."""
        confinement = self.spec["confinement"]
        uid = confinement["uid"] if confinement and confinement["tier"] == "landlock" else None
        return ending.Marks(self._mark, self.pid, uid, self.group.paths)

    def folders(self) -> list[str]:
        """The folders that it can write to."""
        confinement = self.spec["confinement"] or {"volumes": []}
        own = [os.path.join(self._directory, name) for name in ("work", "tmp", "shm")]
        return [*own, *(bind["source"] for bind in confinement["volumes"] if not bind["read_only"])]

    def end(self) -> None:
        """Kill and reap everything that it started, whatever that has done to stay."""
        ending.everything(self._marks(), self.guard)
        if self.breach is None and self.group.out_of_memory():
            self.breach = limits.out_of_memory(limits.memory_limit(self.spec) or 0)
        self.group.remove()

    def _prepare(self) -> str:
        """Prepare the sandbox, if there is one. Returns what prevents that, or an empty text."""
        try:
            if self._sandbox is not None:
                self._sandbox.prepare()
        except OSError as error:
            return f"the folders of the sandbox cannot be prepared: {error.strerror or error}"
        return ""

    def _trouble(self, reports: int) -> str:
        """Wait until the program runs. Returns what prevented that, or an empty text."""
        if self._sandbox is None:
            return os.read(reports, _REPORT_BYTES).decode(errors="replace")
        try:
            self._sandbox.attend(self.group.add)
        except OSError as error:
            return str(error.strerror or error)
        return self._sandbox.trouble(_until_closed(reports))

    def signal(self, number: int) -> None:
        """Send a signal to the container's process group. If it is the last one, everything in a sandbox ends with it."""
        if self._sandbox is None or number == signal.SIGKILL or not self._sandbox.signal(number):
            processes.kill_group(self.pid, number)

    def ended(self, status: int, tail: str) -> None:
        """Record how it ended. `status`: from waitpid. `tail`: its last output, kept if it failed."""
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else None
        code = 128 - code if code < 0 else code
        # A program can survive the end of one of its processes, and succeed.
        reason = "Completed" if not code else self.breach.reason if self.breach else "Error"
        if self.breach:
            tail = f"{self.breach.message}\n{tail}"
        self._finish(code, number, reason, tail if code else "")

    @property
    def succeeded(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.facts.get("exitCode") == 0

    def _finish(self, code: int, number: int | None, reason: str, message: str) -> None:
        outcome = {"exitCode": code, "signal": number, "reason": reason, "message": message}
        self.facts = {**self.facts, "finishedAt": output.stamp(time.time_ns()), **outcome}


def _sandbox(directory: str, spec: files.Json) -> Sandbox | None:
    if spec["confinement"] is None:
        return None
    from dyff.cluster.pods.shim import sandbox  # a trusted step does not pay for it

    return sandbox.of(directory, spec)


def _until_closed(descriptor: int) -> bytes:
    """What can be read until all others have closed the descriptor, at most `_REPORT_BYTES` and what comes with them."""
    data = b""
    while len(data) < _REPORT_BYTES and (piece := os.read(descriptor, _REPORT_BYTES)):
        data += piece
    return data


def _become(spec: files.Json, confined: Sandbox | None, out: int, gate: int, report: int, shim: int) -> NoReturn:
    """Turn the forked child into the container's program, or report why that is impossible."""
    try:
        os.setsid()
        processes.die_with(shim)
        _default_signals()
        if os.read(gate, 1) != _GO:
            os._exit(1)
        _prefer_as_victim()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if confined is not None:
            confined.become(out, report)
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
