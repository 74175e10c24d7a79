"""The loop of a level-triggered role: observe, act, wait until something may have changed.

Each pass starts from scratch. So a trigger need not say what has changed, several triggers can count as one, and a lost one
costs at most the resync interval.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import anyio
import structlog

from dyff.kernel import backoff, errors, liveness

log = structlog.get_logger()

PAUSE_S = 0.02
"""Minimum pause between two passes, to batch changes and to leave processor time to others."""

Reconcile = Callable[[], Awaitable[float | None]]
"""Runs one pass. Returns the minimum pause before the next one, in seconds; None if some of the work failed."""


class Trigger:
    """Wakes the one task that waits for changes."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._event = anyio.Event()

    def set(self) -> None:
        """Report that something may have changed."""
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until `set` has been called since the last return, at most `timeout_s` seconds. Returns whether it was called."""
        with anyio.move_on_after(timeout_s):
            await self._event.wait()
        fired, self._event = self._event.is_set(), anyio.Event()
        return fired


class Progress:
    """Progress of a loop, for the liveness check: a pass that has begun must end, or at least get something done."""

    def __init__(self) -> None:
        """No pass has begun."""
        self._done = 0
        self._is_open = False

    def step(self) -> None:
        """Report that something was done."""
        self._done += 1

    @contextmanager
    def look(self) -> Iterator[None]:
        """Context of one pass. A failed pass counts as not ended until another one succeeds."""
        self._is_open = True
        yield
        self._is_open = False
        self.step()

    async def signs(self) -> list[liveness.Sign]:
        """Whether the passes end."""
        return [liveness.Sign("rounds", "one is under way or has failed" if self._is_open else None, self._done)]


async def reconcile_forever(
    reconcile: Reconcile,
    wait: Callable[[float], Awaitable[object]],
    *,
    resync_s: float,
    retried: tuple[type[errors.DyffError], ...],
    event: str,
    progress: Progress | None = None,
) -> NoReturn:
    """Reconcile, pause and wait in a loop until cancelled; after failures, back off instead.

    `wait(timeout_s)`: returns when something may have changed, at the latest after `resync_s`. `retried`: the errors of `reconcile`
    and `wait` that are retried; they are logged as `event`. `progress`: None if there is no liveness check.

    Raises:
        Any other exception of `reconcile` or `wait`.
    """
    progress = progress or Progress()
    delays = backoff.delays()
    while True:
        try:
            with progress.look():
                rest_s = await reconcile()
            if rest_s is not None:
                await anyio.sleep(rest_s)
                await wait(resync_s)
                delays = backoff.delays()
                continue
        except retried as error:
            log.warning(event, **errors.details(error))
        await anyio.sleep(next(delays))
