"""How fast something is."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

BATCH = int(os.environ.get("DYFF_BENCH_BATCH", "500"))
"""Records that a bare loop takes, and writes in one transaction."""
Measured = tuple[float, float]
"""Records a second, and microseconds of CPU of this process for each."""


async def timed(work: Callable[[], Awaitable[None]], count: int) -> Measured:
    """How fast it is."""
    started, cpu = time.perf_counter(), time.process_time()
    await work()
    return count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6
