"""Measures rates."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

BATCH = int(os.environ.get("DYFF_BENCH_BATCH", "500"))
"""The number of records that a bare loop consumes, and writes in one transaction."""
Measured = tuple[float, float]
"""Records per second, and this process's microseconds of CPU per record."""


async def timed(work: Callable[[], Awaitable[None]], count: int) -> Measured:
    """Run `work`, which handles `count` records, and return its rate."""
    started, cpu = time.perf_counter(), time.process_time()
    await work()
    return count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6
