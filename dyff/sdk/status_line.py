"""One line of a terminal that is written again and again, such as a progress bar. Works in every terminal, without escape sequences."""

from __future__ import annotations

import shutil
import sys
import time

from dyff.entities import showing

EVERY_S = 0.1
"""It is not written more often than this."""
BAR_CHARS = 20


def printable(text: str) -> str:
    """`text` as standard output can have it: what its character set lacks is escaped, as on Windows in a file or a pipe."""
    charset = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(charset, "backslashreplace").decode(charset)


class StatusLine:
    """The last line of standard output, as long as the program writes nothing else there."""

    def __init__(self) -> None:
        """Writes nothing yet."""
        self._text = ""
        self._chars = 0
        self._at = float("-inf")

    def show(self, text: str) -> None:
        """Replace the line. Calls that follow each other at once are left out, and the last of them is written by `end`."""
        self._text = text
        if time.monotonic() - self._at >= EVERY_S:
            self._write()

    def say(self, line: str) -> None:
        """Write a line above this one."""
        self._replace("")
        sys.stdout.write(f"\r{printable(showing.harmless(line))}\n")
        self._write()

    def end(self, *, keep: bool) -> None:
        """The program goes on below the line if it is kept, and in its place otherwise."""
        if self._text:
            self._write()
        if keep and self._text:
            sys.stdout.write("\n")
        else:
            self._replace("")
            sys.stdout.write("\r")
        sys.stdout.flush()

    def _write(self) -> None:
        self._at = time.monotonic()
        width = shutil.get_terminal_size().columns - 1  # in the last column, some terminals begin another line
        self._replace(printable(showing.harmless(self._text))[:width])

    def _replace(self, text: str) -> None:
        sys.stdout.write(f"\r{text.ljust(self._chars)}")
        sys.stdout.flush()
        self._chars = len(text)


def bar(done: float, total: float | None) -> str:
    """A bar of how much is done; without a total, an empty one."""
    full = round(BAR_CHARS * min(1.0, max(0.0, done / total))) if total else 0
    return f"[{'#' * full}{'.' * (BAR_CHARS - full)}]"


def duration(seconds: float) -> str:
    """A period as `h:mm:ss`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
