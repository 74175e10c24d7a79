"""The loop of a level-triggered role: look at what is there, do what is due, wait until something may have changed.

Each look starts from scratch. So a trigger need not say what has changed, several may count as one, and one that is lost costs
no more than the resync interval.
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
"""The shortest rest between two looks: what changes meanwhile is seen together, and others share the processor."""

Reconcile = Callable[[], Awaitable[float | None]]
"""One look, and all that follows from it. Returns the seconds to rest before the next one; None: not all of it went well."""


class Trigger:
    """Says to the one task that waits that it should look again."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._event = anyio.Event()

    def set(self) -> None:
        """Something may have changed."""
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return when `set` was called since the last return, at the latest after `timeout_s` seconds; False: it was not called."""
        with anyio.move_on_after(timeout_s):
            await self._event.wait()
        fired, self._event = self._event.is_set(), anyio.Event()
        return fired


class Progress:
    """How far a loop is, for the liveness check: a look that has begun must end, or at least get something done."""

    def __init__(self) -> None:
        """No look has begun."""
        self._done = 0
        self._is_open = False

    def step(self) -> None:
        """Something was done."""
        self._done += 1

    @contextmanager
    def look(self) -> Iterator[None]:
        """A look. One that fails leaves things as if it had not ended, until one goes well."""
        self._is_open = True
        yield
        self._is_open = False
        self.step()

    async def signs(self) -> list[liveness.Sign]:
        """Whether the looks come to an end."""
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
    """Reconcile, rest, wait, and again, until cancelled; after failures wait longer and longer instead.

    `wait(timeout_s)`: returns when there may be something new, at the latest after `resync_s`. `retried`: the errors of `reconcile`
    and `wait` after which it is tried again; `event`: under this name they are logged. `progress`: None: no liveness check asks.

    Raises:
        Whatever else `reconcile` or `wait` does.
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
