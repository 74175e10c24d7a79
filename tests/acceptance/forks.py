"""Commands of `dyff` as forks of a process that has its modules already (`forking.py`): half of what each costs is their import.

They are processes like those of the installed command, which `test_forks.py` compares with them. Tests of how the command itself starts use
`subprocess`: test_serve, test_guide, test_log_output, test_siege and others.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

SCRIPT = Path(__file__).with_name("forking.py")
PADDING = "-" * 1024
"""Room for the command line of a fork."""
_guard = threading.Lock()
_forking: dict[str, tuple[subprocess.Popen[bytes], socket.socket]] = {}
"""By interpreter; one of each for this process and its tests."""
_spent: list[float] = []


def spent_s() -> float:
    """Seconds of processors that the commands took which have ended."""
    return sum(_spent)


def _of(python: str) -> socket.socket:
    """The requests of the process that forks."""
    with _guard:
        if python not in _forking:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                environment = {name: value for name, value in os.environ.items() if not name.startswith(("DYFF_", "AWS_"))}
                command = [python, "-P", str(SCRIPT), str(theirs.fileno()), PADDING]
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()])
            _forking[python] = process, ours
        return _forking[python][1]


@atexit.register
def close() -> None:
    """End what forks; it ends when nobody can ask it any more."""
    while _forking:
        process, requests = _forking.popitem()[1]
        requests.close()
        process.wait()


class Running(Protocol):
    """What tests use of a running command: of a `Process` here, and of `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """The ID of its process."""
        ...

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Send it, unless the command has ended."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Process:
    """A running command, with what tests use of `subprocess.Popen`. `returncode`: None while it runs; -N if signal N ended it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], out: IO, error: IO) -> None:
        """`command`: the path of the installed `dyff`, and its arguments. `environment`: all of it."""
        self.args = [*map(str, command)]
        request = {"arguments": self.args, "environment": dict(environment), "directory": os.getcwd()}
        self.returncode: int | None = None
        self._answers, theirs = socket.socketpair()
        with theirs:
            python = str(Path(command[0]).parent / "python")
            socket.send_fds(_of(python), [json.dumps(request).encode()], [out.fileno(), error.fileno(), theirs.fileno()])
        self._lines = self._answers.makefile("rb")
        self.pid: int = int(self._lines.readline())

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it has not ended by then.
        """
        found = self._ended(timeout)
        if found is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return found

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], timeout)[0]:
            line = self._lines.readline()
            self._lines.close()
            self._answers.close()
            assert line, "the process that forks has ended"
            code, spent = line.split()
            self.returncode = int(code)
            _spent.append(float(spent))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run(command: Sequence[str], environment: Mapping[str, str], timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and take what it prints.

    Raises:
        subprocess.TimeoutExpired: it has not ended by then, and was killed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as error:
        process = Process(command, environment, out, error)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(list(command), process.wait(), out.read(), error.read())
