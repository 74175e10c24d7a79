"""The log of a run: what the code printed, as text, within a bound.

The beginning is passed on at once. What comes after is kept in memory, as far as the end of the log may have it, because the end says why a
run failed. So the log has its beginning and its end, and one line between them says what was left out.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
from collections import deque

TAIL_BYTES = 2**16
"""Of the end of a log that is too long."""

_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,4096}\x1b?|[ -/]*)\Z")


class Log:
    """Writes what it is given to several descriptors, without the codes of terminals."""

    def __init__(self, targets: list[int], limit: int) -> None:
        """`targets`: where to write. `limit`: the most bytes for each."""
        self._targets = targets
        self._tail_limit = min(TAIL_BYTES, limit // 2)
        self._head = max(0, limit - self._tail_limit - 200)
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._recent = b""

    @property
    def recent(self) -> str:
        """The end of what was written, at most `TAIL_BYTES`."""
        return self._recent.decode("utf-8", "replace")

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take what was printed. A character or a code may be divided between two calls."""
        text = self._held + self._decoder.decode(data, final)
        self._held = ""
        text = _CONTROL.sub("", text)
        unfinished = None if final else _UNFINISHED.search(text)
        if unfinished is not None:
            self._held, text = unfinished.group(), text[: unfinished.start()]
        self._take(text.encode("utf-8", "replace"))

    def close(self) -> None:
        """Write what is left."""
        self.feed(b"", final=True)
        if self._dropped:
            self._write(f"\n[dyff] {self._dropped} bytes of the log were left out here, because it is too long\n".encode())
        self._write(b"".join(self._tail))
        self._tail.clear()

    def _take(self, data: bytes) -> None:
        if not data:
            return
        self._recent = (self._recent + data)[-TAIL_BYTES:]
        now, later = data[: self._head], data[self._head :]
        self._head -= len(now)
        self._write(now)
        if later:
            self._tail.append(later)
            self._tail_bytes += len(later)
        while self._tail_bytes > self._tail_limit:
            first = self._tail.popleft()
            excess = self._tail_bytes - self._tail_limit
            kept = first[excess:]
            if kept:
                self._tail.appendleft(kept)
            self._dropped += len(first) - len(kept)
            self._tail_bytes -= len(first) - len(kept)

    def _write(self, data: bytes) -> None:
        for target in self._targets:
            view = memoryview(data)
            with contextlib.suppress(OSError):  # no one reads it any more, or the disk is full: the run itself goes on
                while view:
                    view = view[os.write(target, view) :]
