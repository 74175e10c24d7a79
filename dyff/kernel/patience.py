"""Waits for the end of what another program or the disk does to a database file: a lock, or no space.

Nothing was done in either case, so the same call can be repeated. What must not be given up waits for as long as it takes; a caller
that someone waits for is refused after a while.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from dyff.kernel import backoff, degradation, errors

T = TypeVar("T")

PATIENCE_S = 3.0
"""How long a call that someone waits for is repeated before it is refused."""

_FIRST_S, _CEILING_S = 0.1, 2.0


class Patience:
    """Repeats calls on one database. `/ready` reports what they wait for, and roles that wait for it are not stuck."""

    def __init__(self, name: str, troubles: degradation.Troubles) -> None:
        """`name`: of the database, such as `the log`. `troubles`: where the waiting is reported, and cleared when a call succeeds."""
        self._troubles = troubles
        self._full, self._locked = f"space for {name}", f"lock on {name}"

    @property
    def meets_a_lock(self) -> bool:
        """Whether the last call met another program's lock."""
        return self._troubles.has(self._locked)

    async def during(self, act: Callable[[], Awaitable[T]], *, patience_s: float = math.inf) -> T:
        """The result of `act`, which is repeated while the disk is full or another program holds the lock.

        Raises:
            DiskFull, Locked: that lasted for `patience_s` seconds; nothing was done.
        """
        delays, until = backoff.delays(_FIRST_S, ceiling_s=_CEILING_S), anyio.current_time() + patience_s
        while True:
            try:
                result = await act()
            except (errors.DiskFull, errors.Locked) as error:
                now, over = (self._locked, self._full) if isinstance(error, errors.Locked) else (self._full, self._locked)
                self._troubles.report(now, error.message, blocks=True)
                self._troubles.clear(over)
                pause_s = next(delays)
                if anyio.current_time() + pause_s > until:
                    raise
                await anyio.sleep(pause_s)
            else:
                self._troubles.clear(self._full)
                self._troubles.clear(self._locked)
                return result
