"""Decides when calls may begin. If a service requests a pause, all workers pause, not only the one that got the request."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import anyio

from dyff.kernel import backoff, clock

LONGEST_RUN_S = 30 * 86400.0
"""The time that is left to a run without a limit of its own: nothing runs longer."""

_DATED_S = 100 * 365 * 86400.0
"""The end of a shorter pause is named by its date."""

_SPREAD, _MOST_SPREAD_S = 0.1, 5.0


class OutOfTime(Exception):
    """The service wants a pause that ends after the run's time limit. The message says so."""


class Pace:
    """A pause that all workers observe. They resume spread over a tenth of its length, to avoid a rush of calls at its end."""

    def __init__(self, time: clock.Clock, jitter: random.Random, left_s: Callable[[], float] | None = None) -> None:
        """`left_s`: returns the seconds that are left to the run; None if it has no limit of its own."""
        self._clock, self._random, self._left_s = time, jitter, left_s or (lambda: LONGEST_RUN_S)
        self._until = self._spread_s = 0.0
        self._why = ""

    def hold(self, pause_s: float, why: str) -> None:
        """Let no call begin for this many seconds, or longer if a longer pause is already in effect. `why`: for people.

        Raises:
            OutOfTime: the run would end before the pause.
        """
        left_s = min(self._left_s(), LONGEST_RUN_S)
        if pause_s > left_s:
            until = f" until {self._time(pause_s)}" if pause_s < _DATED_S else ""
            raise OutOfTime(
                f"The service asks for a pause of {pause_s:.0f} s{until} ({why}), and the run has {left_s:.0f} s left "
                "(client.totalTimeoutSeconds). Raise the rate limit of the service or the time, or use fewer workers."
            )
        until_s = self._clock.monotonic() + pause_s
        if until_s > self._until:
            self._until, self._spread_s, self._why = until_s, min(_SPREAD * pause_s, _MOST_SPREAD_S), why

    def message(self) -> str:
        """Describe the pause that is in effect; empty if there is none."""
        left_s = self._until - self._clock.monotonic()
        return f"no calls until {self._time(left_s)}: the service asks for a pause ({self._why})" if left_s > 0 else ""

    async def turn(self) -> None:
        """Wait until a call may begin."""
        while (left_s := self._until - self._clock.monotonic()) > 0:  # noqa: ASYNC110 - the pause may have become longer in the meantime
            await anyio.sleep(left_s + self._random.uniform(0.0, self._spread_s))

    def _time(self, from_now_s: float) -> str:
        return clock.iso_seconds(self._clock.now() + timedelta(seconds=from_now_s))


def asked_s(header: str | None, time: clock.Clock) -> float:
    """The seconds from the header Retry-After, which has a number or a date. 0 if it is absent or invalid."""
    return backoff.asked_s(header, time.now()) or 0.0
