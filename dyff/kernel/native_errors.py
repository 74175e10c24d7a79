"""What is written to descriptor 2 past the log: by native code, by `faulthandler` when the process crashes, by `print`.

While the server runs, the descriptor leads to a file, from which whole texts are logged, each as one line. So a crash leaves its trace in
the file, and the next start logs it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

MAX_TEXT_BYTES = 64 * 2**10
"""The most of a text that is logged."""
MAX_FILE_BYTES = 2**20
"""A larger file is emptied when it has been read."""
MAX_FILES = 32
"""Processes that can share a directory."""


class NativeErrors:
    """The file of this process."""

    def __init__(self, folder: Path) -> None:
        """Take a file in `folder` that no other process has, and log what an earlier process left in it.

        Raises:
            OSError: there is none to be had.
        """
        self._file = _taken(folder)
        self._seen = 0
        self._log("left-by-earlier-process", error=True)

    def redirect(self) -> None:
        """Lead descriptor 2 to the file."""
        os.dup2(self._file, 2)

    def look(self) -> None:
        """Log what is new."""
        with suppress(OSError):
            self._log("written-to-stderr", error=False)

    def close(self) -> None:
        """Log what is left; the file is then empty."""
        self.look()
        with suppress(OSError):
            os.ftruncate(self._file, 0)

    def _log(self, event: str, *, error: bool) -> None:
        size = os.fstat(self._file).st_size
        if size <= self._seen:
            self._seen = min(self._seen, size)
            return
        text = os.pread(self._file, min(size - self._seen, MAX_TEXT_BYTES), self._seen).decode(errors="replace").strip("\0\n ")
        if text:
            (log.error if error else log.warning)(event, logger="stderr", text=text, bytes=size - self._seen)
        self._seen = size
        if size > MAX_FILE_BYTES:
            os.ftruncate(self._file, 0)
            self._seen = 0


def _taken(folder: Path) -> int:
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(MAX_FILES):
        file = os.open(folder / f"stderr-{number}.txt", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            continue
        return file
    raise OSError(f"{MAX_FILES} processes use {folder}")
