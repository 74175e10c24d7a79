"""Work that takes too long for the event loop, in a small pool of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

THREADS = 2
"""The most at the same time. More would not be faster, since they share one interpreter with the event loop."""


class Threads:
    """The pool of one server."""

    def __init__(self) -> None:
        """Threads are started on demand."""
        self._limiter = anyio.CapacityLimiter(THREADS)

    async def run(self, work: Callable[[*Ts], T], *given: *Ts, apart: bool) -> T:
        """Return the result of `work`. `apart`: in a thread; otherwise at once, which is faster for small work."""
        if not apart:
            return work(*given)
        return await anyio.to_thread.run_sync(work, *given, limiter=self._limiter)
