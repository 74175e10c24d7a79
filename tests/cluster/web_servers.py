"""Web servers in the process of a test."""

from __future__ import annotations

import asyncio

from aiohttp import web


async def end(runner: web.AppRunner) -> None:
    """End the server and every handler: aiohttp itself cancels those that still work, but does not wait until they have ended."""
    await runner.cleanup()
    left = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "").startswith("RequestHandler.")]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
