"""Work beside a step's main work, with a last act that nothing can prevent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio


@asynccontextmanager
async def running(follow: Callable[[], Coroutine[Any, Any, None]], at_end: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs `follow` as long as the block runs, then `at_end`, however the block ends: also where it is cancelled.

    Raises:
        What `follow` does, in an exception group: then the block is cancelled. What `at_end` does.
    """
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            yield
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await at_end()
