"""One time limit for many short waits, at the cost of a dictionary entry each.

A cancel scope of its own with a timer of its own costs 10 us a wait (measured), which is a tenth of a create. Here all
waits with the same limit share one timer, which looks at the oldest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Deadlines:
    """Gives deadlines `limit_s` seconds from now. For the tasks of one event loop; `limit_s` is at least 0."""

    def __init__(self, limit_s: float) -> None:
        """No wait yet."""
        self._limit_s = limit_s
        self._waits: deque[Deadline] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Deadline:
        """A context that is left by force when the limit has passed; then `expired` is true. Enter it at once."""
        loop = asyncio.get_running_loop()
        wait = Deadline(self, loop.time() + self._limit_s)
        self._waits.append(wait)
        if self._timer is None:
            self._timer = loop.call_at(wait.at, self._look)
        return wait

    def forget_ended(self) -> None:
        """Waits mostly end in the order in which they began."""
        while self._waits and self._waits[0].ended:
            self._waits.popleft()

    def _look(self) -> None:
        """The oldest wait may have run out; it decides when to look again."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waits and (self._waits[0].ended or self._waits[0].at <= now):
            self._waits.popleft().expire()
        if self._waits:
            self._timer = loop.call_at(self._waits[0].at, self._look)


class Deadline:
    """One wait of one task: a context manager, as `asyncio.timeout` is, but it raises nothing."""

    __slots__ = ("_cancelling", "_owner", "_task", "at", "ended", "expired")

    def __init__(self, owner: Deadlines, at: float) -> None:
        """`at`: in the loop's time."""
        self._owner, self.at = owner, at
        self.ended = self.expired = False

    def __enter__(self) -> Deadline:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self.ended = True
        self._owner.forget_ended()
        if not self.expired:
            return False
        # Somebody else may have cancelled the task meanwhile: then it stays cancelled.
        return self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError

    def expire(self) -> None:
        """The limit has passed."""
        if not self.ended:
            self.expired = True
            self._task.cancel()
