"""When calls may begin: a service that asks for a pause gets it from all workers, not only from the one that it told."""

from __future__ import annotations

import random

import anyio

from dyff.kernel import clock

_SPREAD, _MOST_SPREAD_S = 0.1, 5.0


class Pace:
    """A pause that all workers keep. After it they come back over a tenth of its length, because all at once would be the next rush."""

    def __init__(self, time: clock.Clock, jitter: random.Random) -> None:
        self._clock, self._random = time, jitter
        self._until = self._spread_s = 0.0

    def hold(self, pause_s: float) -> None:
        """No call begins for so many seconds, or longer where more was asked for before."""
        until = self._clock.monotonic() + pause_s
        if until > self._until:
            self._until, self._spread_s = until, min(_SPREAD * pause_s, _MOST_SPREAD_S)

    async def turn(self) -> None:
        """Wait until a call may begin."""
        while (left_s := self._until - self._clock.monotonic()) > 0:  # noqa: ASYNC110 - the pause may have become longer meanwhile
            await anyio.sleep(left_s + self._random.uniform(0.0, self._spread_s))
