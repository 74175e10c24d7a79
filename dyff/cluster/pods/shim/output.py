"""A container's log file: lines `<RFC 3339 with nanoseconds> <message>`, bounded in size."""

from __future__ import annotations

import os
import time
from collections import deque

MAX_LINE_BYTES = 16 * 1024
_TAIL_LINES = 20
_STEP_NS = 1000
_TAIL_BYTES = 2048
_COPY_BYTES = 1 << 20


def stamp(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as RFC 3339, always equally long, so that text order is time order."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class Log:
    """Appends what a container writes, a line at a time.

    Time stamps rise by a microsecond at least, so that "after this line" is exact for readers that know no finer time. When
    the allowed size is reached the older half goes. A disk that is full costs lines, never the container.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        """`max_bytes`: of the file."""
        self._path, self._max_bytes = path, max(max_bytes, 4 * MAX_LINE_BYTES)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size
        self._pending = b""
        self._last = 0
        self._second, self._prefix = -1, b""
        self._lost = 0
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they come; a line is written when it is whole or over-long."""
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        while len(self._pending) > MAX_LINE_BYTES:
            lines.append(self._pending[:MAX_LINE_BYTES])
            self._pending = self._pending[MAX_LINE_BYTES:]
        if lines:
            self._append(lines)

    def close(self) -> None:
        """Write what is left and end."""
        if self._pending:
            self._append([self._pending])
            self._pending = b""
        os.close(self._file)

    def tail(self) -> str:
        """The last lines, at most 2 KiB: why a container failed is usually there."""
        return b"\n".join(self._tail).decode(errors="replace")[-_TAIL_BYTES:]

    def _append(self, lines: list[bytes]) -> None:
        self._tail.extend(lines[-_TAIL_LINES:])
        note = [b"dyff: %d lines could not be written here" % self._lost] if self._lost else []
        self._last = max(time.time_ns(), self._last)
        # The write that failed may have left half a line.
        start = b"\n" if self._lost else b""
        try:
            self._write(start + b"".join(self._stamped(line) for line in note + lines))
        except OSError:
            self._lost += len(lines)
            return
        self._lost = 0
        if self._size > self._max_bytes:
            self._halve()

    def _stamped(self, line: bytes) -> bytes:
        self._last += _STEP_NS
        seconds, rest = divmod(self._last, 10**9)
        if seconds != self._second:
            self._second, self._prefix = seconds, stamp(self._last)[:20].encode()
        return b"%s%09dZ %s\n" % (self._prefix, rest, line)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self._size += written
            left = left[written:]

    def _halve(self) -> None:
        """Put a file that holds only the last lines in the place of the one that has grown too long."""
        shorter = f"{self._path}.tmp"
        try:
            with open(self._path, "rb") as old, open(shorter, "wb") as new:
                old.seek(self._size - self._max_bytes // 2)
                old.readline()  # the rest of a line
                while block := old.read(_COPY_BYTES):
                    new.write(block)
            os.replace(shorter, self._path)
            fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except OSError:
            return  # no room for the copy: go on with the long file
        os.close(self._file)
        self._file, self._size = fresh, os.fstat(fresh).st_size
