"""Background work during a step's main work, with a final action that always runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio


@asynccontextmanager
async def running(follow: Callable[[], Coroutine[Any, Any, None]], at_end: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run `follow` while the block runs, then `at_end`, however the block ends, even if it is cancelled.

    Raises:
        What `follow` raises, in an exception group, after cancelling the block. What `at_end` raises.
    """
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            yield
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await at_end()
