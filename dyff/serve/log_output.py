"""The log of a server: written in the background, so that nothing waits for the reader of standard error, and nothing ends with it."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from dyff.entities import codecs
from dyff.kernel import clock, errors, lines, logs, native_errors, settings

FLUSH_S = 2.0
"""How long the end of a process waits until the last lines are written."""


_opened: list[LogOutput] = []


class LogOutput:
    """Standard error as it was when the process started, and what is written past the log."""

    def __init__(self, *, as_json: bool) -> None:
        """Lines can be written from now on."""
        self.as_json = as_json
        self._lines = lines.Lines(lines.Descriptor(os.dup(2)), self._notice)
        self._native: native_errors.NativeErrors | None = None

    def write(self, text: str) -> None:
        """Write a line in the background."""
        self._lines.put(text.encode(errors="replace"))

    def flush(self) -> None:
        """Nothing to do."""

    def keep_native(self, folder: Path) -> None:
        """Keep what is written past the log in a file, from where it is logged, and traces of a crash. Text on a
        terminal stays where a person sees it.
        """
        if self.as_json:
            with suppress(OSError):
                self._native = native_errors.NativeErrors(folder)
                self._native.redirect()
        faulthandler.enable(2)

    def look(self) -> lines.State:
        """Log what was written past the log; returns how the writing goes."""
        if self._native is not None:
            self._native.look()
        return self._lines.state()

    def close(self) -> None:
        """Write what waits, for a while."""
        if self._native is not None:
            self._native.close()
        self._lines.close(FLUSH_S)

    def announce(self, event: str, **fields: Any) -> None:
        """Write a line of JSON at every level, for programs that wait for it."""
        self._lines.put(self._line("info", event, **fields))

    def _notice(self, lost: int) -> bytes:
        return self._line("warning", "log-lines-lost", lost=lost)

    def _line(self, level: str, event: str, **fields: Any) -> bytes:
        now = clock.iso(clock.SystemClock().now())
        if not self.as_json:
            return f"{now} [{level}] {event} {fields}\n".encode()
        return codecs.encode({"event": event, **fields, "level": level, "logger": "dyff", "time": now}) + b"\n"


def open_log(loaded: settings.Settings) -> LogOutput:
    """Set up the log of this process, to its end.

    Raises:
        Misconfigured: `log_level` is none.
    """
    out = LogOutput(as_json=logs.wants_json(loaded.logs.format, sys.stderr))
    try:
        logs.configure_with(out, loaded.log_level, as_json=out.as_json)
    except ValueError as error:
        raise errors.Misconfigured(f"log_level: {error}") from error
    sys.stderr = cast(TextIO, _Past(sys.stderr))
    if out.as_json:
        logs.install_hooks()
    atexit.register(out.close)
    _opened.append(out)
    return out


def is_json() -> bool:
    """Whether the log of this process consists of JSON; before it is set up, whether it would without a setting."""
    if not _opened:
        return logs.wants_json("auto", sys.stderr)
    return _opened[-1].as_json


def report_end(reason: str, code: int) -> None:
    """Log why the process ends, in JSON."""
    structlog.get_logger().critical("ended", reason=reason, exit_code=code)


class _Past:
    """`sys.stderr` for those that print to it: what cannot be written is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
