"""Follows a container's log while it grows, also when its older half is removed and another file gets its name (see `logs`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from dyff.cluster import port
from dyff.cluster.embedded import logs
from dyff.cluster.instants import instant

LINES = 500
"""Maximum number of lines per read, so that lines are yielded before the end of a long log is reached."""


class Tail:
    """Reads a log incrementally. The open file stays readable when the Pod's directory is removed."""

    def __init__(self, directory: Path, container: str, after: str | None) -> None:
        """`after`: only lines later than this `instant`; None for all lines."""
        self._path = directory / f"{container}.log"
        self._after = after
        self._file: IO[bytes] | None = None
        self._begun = b""
        self._turned = False

    def read(self) -> list[port.LogLine]:
        """The next lines, at most `LINES`; empty if nothing new was written. Blocks on the disk."""
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
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _line(self) -> bytes | None:
        """The next whole line; None if there is none yet."""
        if self._file is None:
            return None
        self._begun += self._file.readline()
        if not self._begun.endswith(b"\n"):
            return None
        line, self._begun = self._begun[:-1], b""
        return line

    def _turn(self) -> bool:
        """Switch to the file that has replaced the present one. Returns False if there is none.

        More can have been written between reaching the end and switching, so a file is left only on the second call.
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
