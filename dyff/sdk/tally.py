"""Progress of a transfer, in bytes and files. It is counted from any thread, and shown as a bar on a terminal and as lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dyff.sdk import status_line

LINE_EVERY_S = 5.0


class Stopped(Exception):
    """Raised in a transfer after another one has failed. Callers never see it."""


class Tally:
    """Counts without showing anything. Used as a context manager."""

    def __init__(self, what: str, files: int, total_bytes: int | None = None) -> None:
        """`what`: for instance "upload". `total_bytes`: None if not known; `expect` then adds to it."""
        self.what, self.files, self.total = what, files, total_bytes or 0
        self.done = self.files_done = 0
        self._stopped_at: float | None = None
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def add(self, count: int) -> None:
        """Count this many more bytes. A negative number takes back the bytes of a failed try.

        Raises:
            Stopped: the transfers were stopped.
        """
        if self._stopped_at is not None:
            raise Stopped
        with self._lock:
            self.done += count
            self._show()

    def expect(self, count: int) -> None:
        """Add this many bytes to the expected total."""
        with self._lock:
            self.total += count

    def finish_file(self) -> None:
        """Count one more complete file."""
        with self._lock:
            self.files_done += 1
            self._show()

    def stop(self) -> None:
        """Make the transfers that use this tally stop at their next chunk."""
        self._stopped_at = self._stopped_at or time.monotonic()

    def is_abandoned(self, grace_s: float) -> bool:
        """Whether the transfers were stopped that long ago, so that another one may have taken their place."""
        return self._stopped_at is not None and time.monotonic() - self._stopped_at > grace_s

    def line(self) -> str:
        """Describe the progress in one line."""
        rate = self.done / max(time.monotonic() - self._began, 0.001)
        total = f" of {size(self.total)}" if self.total else ""
        return f"{self.what}: {self.files_done} of {self.files} files, {size(self.done)}{total}, {size(rate)}/s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def _show(self) -> None:
        """Called with the lock held."""


class Lines(Tally):
    """Prints a line every few seconds, and none for shorter transfers."""

    def __init__(self, what: str, files: int, total_bytes: int | None = None, write: Callable[[str], None] | None = None) -> None:
        """`write`: called with each line; None to print to standard output."""
        super().__init__(what, files, total_bytes)
        self._write = write or (lambda line: print(status_line.printable(line), flush=True))  # noqa: T201
        self._at = self._began

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._at >= LINE_EVERY_S:
            self._at = now
            self._write(f"  {self.line()}")


class Bar(Tally):
    """A progress bar that disappears at the end."""

    def __init__(self, what: str, files: int, total_bytes: int | None = None) -> None:
        """Shows nothing yet."""
        super().__init__(what, files, total_bytes)
        self._bar = status_line.StatusLine()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.end(keep=False)

    def _show(self) -> None:
        rate = self.done / max(time.monotonic() - self._began, 0.001)
        left = f", {status_line.duration((self.total - self.done) / rate)} left" if self.total and rate else ""
        total = f"/{size(self.total)}" if self.total else ""
        words = f"  {self.what} {self.files_done} of {self.files} {status_line.bar(self.done, self.total)}"
        self._bar.show(f"{words} {size(self.done)}{total} {size(rate)}/s{left}")


def choose(wanted: bool, what: str, files: int, total_bytes: int | None = None) -> Tally:
    """Return a tally that suits standard output, or a silent one if `wanted` is False."""
    if not wanted:
        return Tally(what, files, total_bytes)
    return (Bar if sys.stdout.isatty() else Lines)(what, files, total_bytes)


def size(count: float) -> str:
    """Format a number of bytes for people, such as 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
