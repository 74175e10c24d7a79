"""What the inner process reports to the outer one: one document through a pipe, and then it ends."""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from . import failures


class Reports:
    """The inner process's end of the pipe. Every report ends the process, so there is only one.

    It ends without waiting for threads that the code left running, and without its `atexit` functions.
    """

    def __init__(self, descriptor: int, folders: Mapping[str, str]) -> None:
        """`descriptor`: the pipe. `folders`: the real folders of the modules."""
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._folders = folders
        self._process = os.getpid()
        self.before: Callable[[], None] = lambda: None
        """Called before a report, to bring what was printed into the log."""

    def succeeded(self) -> NoReturn:
        """Report that all of the code has run."""
        self._send({"status": "Succeeded"})

    def failed(self, reason: str, message: str, at: failures.Line | None = None) -> NoReturn:
        """Report that the run failed."""
        self._send({"status": "Failed", "reason": reason, "message": message, "line": at})

    def raised(self, error: BaseException, *, printed: bool = False, cell: int | None = None) -> NoReturn:
        """Report an exception. It is printed, unless it was `printed` already. `cell`: in which cell of a notebook it was raised."""
        at = failures.located(error, self._folders)
        if cell is not None and at is None:
            at = failures.line(f"cell {cell}", 1, "", linecache.getline(f"<cell {cell}>", 1))
        if not isinstance(error, failures.Failed) and not printed:
            with contextlib.suppress(Exception):
                traceback.print_exception(type(error), error, error.__traceback__, limit=-50, file=sys.__stderr__)
        if isinstance(error, SystemExit):
            said = f"the code ended the process by sys.exit({error.code!r}) before it had finished"
            self.failed(failures.RUN_FAILED, failures.sentence(said, at), at)
        self.failed(failures.reason(error), failures.message(error, at), at)

    def here(self, thread: int | None) -> failures.Line | None:
        """Return the line of the author's code that a thread is at."""
        frame = sys._current_frames().get(thread or 0)
        while frame is not None:
            file, number = frame.f_code.co_filename, frame.f_lineno
            name = failures.own(file, self._folders)
            if name is not None:
                return failures.line(name, number, frame.f_code.co_name, linecache.getline(file, number))
            frame = frame.f_back
        return None

    def flushed(self) -> None:
        """Pass on what the code printed and what is still in a buffer."""
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]

    def _send(self, document: dict[str, Any]) -> NoReturn:
        with contextlib.suppress(BaseException):
            self.before()
        with contextlib.suppress(BaseException):
            self.flushed()
        if os.getpid() == self._process:  # not a process that the code forked
            data = json.dumps(document).encode()
            while data:
                data = data[os.write(self._descriptor, data) :]
        os._exit(0)
