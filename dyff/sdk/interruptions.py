"""Ctrl-C and cancellation: one line that says what continues and how to resume, instead of a traceback through other libraries.

The error stays what it is: a KeyboardInterrupt, or the cancellation of the event loop, without the frames below the call. A script
that does not catch it ends as after any Ctrl-C, so a shell sees 130, but prints the line only. IPython and Jupyter print the line, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

_LINE = "_dyff_line"
_DEPTH = 5
"""How many errors back the interruption is looked for: asyncio raises a KeyboardInterrupt after the cancellation that it caused."""


class Explained:
    """A context manager: if the block is interrupted, `line` is shown, and the error loses its long traceback."""

    def __init__(self, line: str, say: Callable[[str], None] | None) -> None:
        """`say`: shows the line at once; None to show it only if nothing catches the error."""
        self._line, self._say = line, say

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, Exception | GeneratorExit | SystemExit):
            return
        if not hasattr(error, _LINE):
            _mark(error, self._line, is_shown=self._say is not None)
            if self._say is not None:
                self._say(self._line)
        raise error.with_traceback(None) from None


def shortened(error: KeyboardInterrupt) -> KeyboardInterrupt:
    """Return the error without the frames of the libraries in which it arose. Raise it `from None`."""
    return error.with_traceback(None)


def _mark(error: BaseException, line: str, *, is_shown: bool) -> None:
    line = line.strip()
    if type(error) is KeyboardInterrupt:
        error.args = (line,)
    marked: Any = error
    setattr(marked, _LINE, None if is_shown else line)
    marked._render_traceback_ = lambda *_: ["KeyboardInterrupt" if is_shown else line]  # IPython asks for it
    _Hook.install()


class _Hook:
    """Replaces Python's display of an uncaught interruption that has been explained; all other errors are displayed as before."""

    _installed: _Hook | None = None

    def __init__(self, before: Callable[..., Any]) -> None:
        self._before = before

    @classmethod
    def install(cls) -> None:
        """Put it in place at the first interruption."""
        if cls._installed is None or sys.excepthook is not cls._installed:
            cls._installed = cls(sys.excepthook)
            sys.excepthook = cls._installed

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found: BaseException | None = error if isinstance(error, KeyboardInterrupt) else None
        for _ in range(_DEPTH):
            if found is None or hasattr(found, _LINE):
                break
            found = found.__context__
        if found is None or not hasattr(found, _LINE):
            self._before(kind, error, trace)
        elif line := getattr(found, _LINE):
            sys.stderr.write(f"{line}\n")
