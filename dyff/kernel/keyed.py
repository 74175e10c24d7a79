"""One worker per key: work on one key is sequential; different keys are processed concurrently, up to a limit.

A key means "reconcile this object", never what happened to the object. A key is therefore queued only once, however often
it was added, and a key that is added while it is being processed is processed once more afterwards.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Generic, TypeVar

import anyio
import anyio.abc
import msgspec

from dyff.kernel import backoff, errors

Key = TypeVar("Key", bound=Hashable)


class Statistics(msgspec.Struct, frozen=True):
    """Amount of pending work: numbers of keys, and `oldest_s`, how long the oldest queued key has been waiting."""

    waiting: int
    active: int
    delayed: int
    failing: int
    oldest_s: float


class Workers(Generic[Key]):
    """Calls `work(key)` for every added key until it succeeds.

    `work` returns the seconds after which to process the key again, or None. If it raises, the key is retried after a
    back-off that doubles with every consecutive failure and is reset by the first success, and not before the time that a
    `RetryLater` asks for; `Fatal` ends `run`.
    `limit`: how many keys are processed concurrently. `failed(key, error, delay_s)`: called for each failure. `jitter`:
    spreads the delays; None for no jitter.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[float | None]],
        *,
        failed: Callable[[Key, Exception, float], None],
        limit: int = 16,
        first_delay_s: float = 0.2,
        ceiling_s: float = 60.0,
        jitter: random.Random | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._work, self._failed, self._limit = work, failed, limit
        self._first_delay_s, self._ceiling_s, self._jitter = first_delay_s, ceiling_s, jitter
        self._waiting: OrderedDict[Key, float] = OrderedDict()
        self._active: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._failing: dict[Key, Iterator[float]] = {}
        self._stopping = False
        self._wake = anyio.Event()
        self.ended = 0
        """How many calls of `work` have ended, successfully or not."""

    def add(self, key: Key) -> None:
        """Process `key` as soon as possible, even if it was scheduled for later. Ignored after `stop`."""
        if self._stopping:
            return
        self._due.pop(key, None)
        queue = self._again if key in self._active else self._waiting
        queue.setdefault(key, anyio.current_time())
        self._wake.set()

    def stop(self) -> None:
        """End `run` once all queued keys are processed. Keys that were scheduled for later are dropped."""
        self._stopping = True
        self._due.clear()
        self._wake.set()

    def statistics(self) -> Statistics:
        """A snapshot."""
        since = [*self._waiting.values(), *self._again.values()]
        oldest_s = anyio.current_time() - min(since) if since else 0.0
        return Statistics(len(since), len(self._active), len(self._due), len(self._failing), oldest_s)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until `stop`. Cancelling this cancels the work in progress.

        Raises:
            Fatal: `work` raised it (in an exception group).
        """
        async with anyio.create_task_group() as group:
            task_status.started()
            while not (self._stopping and not self._waiting and not self._active):
                self._wake = anyio.Event()
                next_due = self._ripen()
                while self._waiting and len(self._active) < self._limit:
                    key, _ = self._waiting.popitem(last=False)
                    self._active.add(key)
                    group.start_soon(self._work_on, key)
                with anyio.move_on_at(next_due):
                    await self._wake.wait()

    def _ripen(self) -> float:
        """Move the keys that are due to the queue; returns when the next one is due."""
        now = anyio.current_time()
        while self._timers:
            due, _, key = self._timers[0]
            if self._due.get(key) == due and due > now:
                return due
            heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self._waiting.setdefault(key, due)
        return float("inf")

    async def _work_on(self, key: Key) -> None:
        try:
            delay_s = await self._work(key)
            self._failing.pop(key, None)
        except errors.Fatal:
            raise
        except Exception as error:
            delay_s = self._next_delay_s(key, error)
            self._failed(key, error, delay_s)
        finally:
            self.ended += 1
            self._active.discard(key)
            self._wake.set()
        if key in self._again:
            self._waiting[key] = self._again.pop(key)
        elif delay_s is not None and not self._stopping:
            self._later(key, delay_s)

    def _next_delay_s(self, key: Key, error: Exception) -> float:
        if key not in self._failing:
            self._failing[key] = backoff.delays(self._first_delay_s, ceiling_s=self._ceiling_s, jitter=self._jitter)
        asked_s = error.retry_after_s if isinstance(error, errors.RetryLater) else 0.0
        return max(next(self._failing[key]), asked_s)

    def _later(self, key: Key, delay_s: float) -> None:
        due = anyio.current_time() + delay_s
        self._due[key] = due
        heapq.heappush(self._timers, (due, next(self._order), key))
