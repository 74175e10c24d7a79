"""Waits for disk space. A full disk is no fault of a run, so it must not use up the run's attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from dyff.kernel import backoff, errors
from dyff.workflows import endings

T = TypeVar("T")

_FIRST_S = 0.2
_CEILING_S = 5.0


async def when_there_is(act: Callable[[], Awaitable[T]]) -> T:
    """Do what adds data. While the disk is full, wait, and do it again from the beginning; the deadline of the Job bounds that.

    Raises what `act` raises, except `DiskFull`.
    """
    delays, is_reported = backoff.delays(_FIRST_S, ceiling_s=_CEILING_S), False
    while True:
        try:
            return await act()
        except errors.DiskFull as error:
            if not is_reported:
                endings.say(f"{error.message}; waiting for space")
            is_reported = True
        await anyio.sleep(next(delays))
