"""A container's log as it grows, also when its older half goes: then another file has its name (see `logs`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from dyff.cluster import port
from dyff.cluster.embedded import logs
from dyff.cluster.instants import instant

LINES = 500
"""At most in one look: what is told must not wait for the end of a long log."""


class Tail:
    """Reads on from where it was. What was written stays readable to it when the Pod's directory is removed."""

    def __init__(self, directory: Path, container: str, after: str | None) -> None:
        """`after`: only lines later than this `instant`; None: all that there are."""
        self._path = directory / f"{container}.log"
        self._after = after
        self._file: IO[bytes] | None = None
        self._begun = b""
        self._turned = False

    def read(self) -> list[port.LogLine]:
        """The next lines, at most `LINES`; none: nothing new was written. Blocks on the disk."""
        found: list[port.LogLine] = []
        while len(found) < LINES:
            raw = self._line()
            if raw is None:
                if not self._turn():
                    break
                continue
            timestamp, _, message = raw.decode("utf-8", "replace").partition(" ")
            if logs.is_time(timestamp) and (self._after is None or instant(timestamp) > self._after):
                self._after = instant(timestamp)
                found.append(port.LogLine(timestamp, message))
        return found

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    def _line(self) -> bytes | None:
        """The next whole line; None: there is none yet."""
        if self._file is None:
            return None
        self._begun += self._file.readline()
        if not self._begun.endswith(b"\n"):
            return None
        line, self._begun = self._begun[:-1], b""
        return line

    def _turn(self) -> bool:
        """Go on to the file that is there instead of the one that is read out; False: there is none.

        Between the look that found its end and the turn more may have been written, so a file is left only at the second look.
        """
        there = _inode(self._path)
        if there is None or (self._file is not None and os.fstat(self._file.fileno()).st_ino == there):
            return False
        if self._file is not None and not self._turned:
            self._turned = True
            return True
        try:
            opened = self._path.open("rb")
        except FileNotFoundError:
            return False
        self.close()
        self._file, self._begun, self._turned = opened, b"", False
        return True


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
