"""A container's log file: lines `<RFC 3339 with nanoseconds> <message>`, bounded in size."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from contextlib import suppress

MAX_LINE_BYTES = 16 * 1024
PER_S, BURST = 16 << 20, 64 << 20
"""Output that is read from a container in a second, and after a pause, in bytes (`Budget`)."""
_PER_LINE, _CHUNK = 200, 64 << 10
_TAIL_LINES = 20
_STEP_NS = 1000
_TAIL_BYTES = 2048
_COPY_BYTES = 1 << 20


def stamp(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as RFC 3339, always of the same length, so that the text order is the time order."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class Budget:
    """How much output of a container is read. A program that writes more than this waits, as for a slow disk.

    `left`: what can be read now, in bytes; each line costs as much as 200 bytes, since that is what its time stamp costs.
    """

    def __init__(self) -> None:
        self._left, self._at = float(BURST), time.monotonic()

    @property
    def left(self) -> float:
        """See above. What was not used is kept for a burst."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * PER_S)
        self._at = now
        return self._left

    @property
    def due(self) -> float:
        """When there is something left, in monotonic seconds; infinite if there is now."""
        return math.inf if self._left > 0 else self._at + (_CHUNK - self._left) / PER_S

    def spend(self, size: int, lines: int) -> None:
        """Count what was read."""
        self._left -= size + lines * _PER_LINE


class Log:
    """Appends a container's output, line by line.

    Time stamps increase by at least a microsecond, so that "after this line" is exact for readers with that resolution. When
    the maximum size is reached, the older half is removed. If the disk is full, lines are lost, but the container continues.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        """`max_bytes`: of the file."""
        self._path, self._max_bytes = path, max(max_bytes, 4 * MAX_LINE_BYTES)
        self._file, self._size = -1, 0
        with suppress(OSError):
            self._open()
        self._pending = b""
        self._last = 0
        self._second, self._prefix = -1, b""
        self._lost = 0
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they arrive; a line is written when it is complete or too long."""
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        while len(self._pending) > MAX_LINE_BYTES:
            lines.append(self._pending[:MAX_LINE_BYTES])
            self._pending = self._pending[MAX_LINE_BYTES:]
        if lines:
            self._append(lines)

    def close(self) -> None:
        """Write the remaining output and close the file."""
        if self._pending:
            self._append([self._pending])
            self._pending = b""
        if self._file >= 0:
            os.close(self._file)

    def tail(self) -> str:
        """The last lines, at most 2 KiB, which usually show why a container failed. A line is cut only if it alone is longer."""
        text = b"\n".join(self._tail).decode(errors="replace")
        if len(text) <= _TAIL_BYTES:
            return text
        cut = text[-_TAIL_BYTES:]
        _, _, rest = cut.partition("\n")
        return rest if rest and text[-_TAIL_BYTES - 1] != "\n" else cut

    def _append(self, lines: list[bytes]) -> None:
        self._tail.extend(lines[-_TAIL_LINES:])
        note = [b"dyff: %d lines could not be written here" % self._lost] if self._lost else []
        self._last = max(time.time_ns(), self._last)
        # The failed write can have left half a line.
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

    def _open(self) -> None:
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = os.fstat(self._file).st_size

    def _write(self, data: bytes) -> None:
        self._open()
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self._size += written
            left = left[written:]

    def _halve(self) -> None:
        """Replace a file that has grown too long by one that contains only the last lines."""
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
            return  # no space for the copy: continue with the long file
        os.close(self._file)
        self._file, self._size = fresh, os.fstat(fresh).st_size
