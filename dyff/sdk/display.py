"""Shows the progress of a workflow: as a bar on a terminal, as plain lines elsewhere, or not at all."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self

from dyff.entities import statuses
from dyff.sdk import models, status_line

LINE_EVERY_S = 5.0


class Display(Protocol):
    """Shows the progress of a workflow; used as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def show(self, entity: models.Entity, progress: models.Progress | None) -> None:
        """Show the current state of the workflow."""
        ...

    def say(self, line: str) -> None:
        """Show a message to the user."""
        ...


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def show(self, entity: models.Entity, progress: models.Progress | None) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


class Lines(Silent):
    """Prints a line when the status or stage changes or a trouble begins or ends, and every few seconds otherwise."""

    def __init__(self, write: Any = None) -> None:
        """`write`: called with each line; None to print to standard output."""
        self._write = write or plain
        self._last = "", False
        self._at = 0.0

    def show(self, entity: models.Entity, progress: models.Progress | None) -> None:
        headline, waits = _headline(entity, progress), _waits(entity, progress)
        now = time.monotonic()
        if (headline, bool(waits)) == self._last and now - self._at < LINE_EVERY_S:
            return
        self._last, self._at = (headline, bool(waits)), now
        self._write(f"  {headline}{_items(progress)}{f'; {waits}' if waits else ''}")

    def say(self, line: str) -> None:
        self._write(line)


class Bar(Silent):
    """A progress bar with stage, items, rate and remaining time."""

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._line = status_line.StatusLine()
        self._began = time.monotonic()
        self._said_at = float("-inf")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._line.end(keep=True)

    def show(self, entity: models.Entity, progress: models.Progress | None) -> None:
        parts = [f"  {_headline(entity, progress):<24}"]
        if progress is not None and progress.total is not None:
            parts += [status_line.bar(progress.done or 0, progress.total), f"{progress.done or 0}/{progress.total}"]
        if progress is not None and progress.rate:
            parts.append(f"{progress.rate:.1f}/s")
        parts.append(status_line.duration(time.monotonic() - self._began))
        if (left := seconds_left(progress)) is not None:
            parts.append(f"{left:.0f} s left")
        self._line.show(" ".join(parts))
        now = time.monotonic()
        waits = _waits(entity, progress)
        if waits and now - self._said_at >= LINE_EVERY_S:
            self._said_at = now
            self.say(f"  {waits}")

    def say(self, line: str) -> None:
        self._line.say(line)


def plain(line: str) -> None:
    """Print a line to standard output."""
    print(status_line.printable(line), flush=True)  # noqa: T201


def choose(wanted: bool) -> Display:
    """Return a display that suits standard output, or a silent one if `wanted` is False."""
    if not wanted:
        return Silent()
    return Bar() if sys.stdout.isatty() else Lines()


def seconds_left(progress: models.Progress | None) -> float | None:
    """Return the seconds until the stage is done at the present rate; None if not known."""
    if progress is None or not progress.rate or progress.total is None or progress.done is None:
        return None
    return (progress.total - progress.done) / progress.rate


def _headline(entity: models.Entity, progress: models.Progress | None) -> str:
    """The status, followed by the stage or by the reason of the status."""
    stage = progress.stage if progress else ""
    more = entity.reason if stage in ("", entity.status) else stage
    return entity.status if more in (None, "", entity.status) else f"{entity.status}, {more}"


def _items(progress: models.Progress | None) -> str:
    if progress is None or progress.total is None:
        return ""
    left = seconds_left(progress)
    rate = f", {progress.rate:.1f} items/s" if progress.rate else ""
    return f": {progress.done or 0} of {progress.total} items{rate}{f', {left:.0f} s left' if left else ''}"


def _waits(entity: models.Entity, progress: models.Progress | None) -> str:
    """What the run waits for or retries, on one line; empty if it makes progress."""
    said = progress.message if progress else None
    if not said and not statuses.is_terminal(entity.status) and not (progress and progress.rate):
        said = entity.message
    return " ".join((said or "").split())
