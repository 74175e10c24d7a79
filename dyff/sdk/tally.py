"""How far a transfer is, in bytes and files: counted from any thread, shown on a terminal as a bar, elsewhere as lines."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

LINE_EVERY_S = 5.0


class Stopped(Exception):
    """Raised in a transfer whose sibling has failed. Never seen by callers."""


class Tally:
    """Counts, and shows nothing. Used as a context manager."""

    def __init__(self, what: str, files: int, total_bytes: int | None = None) -> None:
        """`what`: for instance "upload". `total_bytes`: None: not known until `expect` was told."""
        self.what, self.files, self.total = what, files, total_bytes or 0
        self.done = self.files_done = 0
        self._stopped = False
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def add(self, count: int) -> None:
        """So many bytes more (or fewer: what was in vain).

        Raises:
            Stopped: the transfer is over.
        """
        if self._stopped:
            raise Stopped
        with self._lock:
            self.done += count
            self._show()

    def expect(self, count: int) -> None:
        """So many bytes are to come."""
        with self._lock:
            self.total += count

    def finish_file(self) -> None:
        """A file is there."""
        with self._lock:
            self.files_done += 1
            self._show()

    def stop(self) -> None:
        """End the transfers that count here at their next piece."""
        self._stopped = True

    def line(self) -> str:
        """Words for it."""
        rate = self.done / max(time.monotonic() - self._began, 0.001)
        total = f" of {size(self.total)}" if self.total else ""
        return f"{self.what}: {self.files_done} of {self.files} files, {size(self.done)}{total}, {size(rate)}/s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def _show(self) -> None:
        """Called with the lock."""


class Lines(Tally):
    """A line every few seconds, and none for what takes less."""

    def __init__(self, what: str, files: int, total_bytes: int | None = None, write: Callable[[str], None] | None = None) -> None:
        """`write`: takes a line; None: standard output."""
        super().__init__(what, files, total_bytes)
        self._write = write or (lambda line: print(line, flush=True))  # noqa: T201
        self._at = self._began

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._at >= LINE_EVERY_S:
            self._at = now
            self._write(f"  {self.line()}")


class Bar(Tally):
    """A bar that goes away when all is there."""

    def __init__(self, what: str, files: int, total_bytes: int | None = None) -> None:
        """Drawn by Rich."""
        from rich import progress as rich

        super().__init__(what, files, total_bytes)
        columns: tuple[Any, ...] = (
            rich.TextColumn("  {task.description:<24}"), rich.BarColumn(30), rich.DownloadColumn(), rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = rich.Progress(*columns, transient=True)
        self._task = self._bar.add_task(what, total=self.total or None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def _show(self) -> None:
        words = f"{self.what} {self.files_done} of {self.files}"
        self._bar.update(self._task, description=words, completed=self.done, total=self.total or None)


def choose(wanted: bool, what: str, files: int, total_bytes: int | None = None) -> Tally:
    """A tally that suits where standard output goes; a silent one if showing is not wanted."""
    if not wanted:
        return Tally(what, files, total_bytes)
    return (Bar if sys.stdout.isatty() else Lines)(what, files, total_bytes)


def size(count: float) -> str:
    """Bytes for people: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
