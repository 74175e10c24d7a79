"""Decides when calls may begin. If a service requests a pause, all workers pause, not only the one that got the request."""

from __future__ import annotations

import random

import anyio

from dyff.kernel import clock

_SPREAD, _MOST_SPREAD_S = 0.1, 5.0


class Pace:
    """A pause that all workers observe. They resume spread over a tenth of its length, to avoid a rush of calls at its end."""

    def __init__(self, time: clock.Clock, jitter: random.Random) -> None:
        self._clock, self._random = time, jitter
        self._until = self._spread_s = 0.0

    def hold(self, pause_s: float) -> None:
        """Let no call begin for this many seconds, or longer if a longer pause is already in effect."""
        until = self._clock.monotonic() + pause_s
        if until > self._until:
            self._until, self._spread_s = until, min(_SPREAD * pause_s, _MOST_SPREAD_S)

    async def turn(self) -> None:
        """Wait until a call may begin."""
        while (left_s := self._until - self._clock.monotonic()) > 0:  # noqa: ASYNC110 - the pause may have become longer in the meantime
            await anyio.sleep(left_s + self._random.uniform(0.0, self._spread_s))
