"""A bound on bytes that several tasks hold."""

from __future__ import annotations

import anyio


class Room:
    """Room for a number of bytes. Who takes some waits until it fits, or until all room is free: one that is larger has it alone."""

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes`: of the room."""
        self._size_bytes, self._taken = size_bytes, 0
        self._given = anyio.Event()

    async def take(self, size_bytes: int) -> None:
        """Wait until there is room, and take it."""
        while self._taken and self._taken + size_bytes > self._size_bytes:
            await self._given.wait()
        self._taken += size_bytes

    def give(self, size_bytes: int) -> None:
        """Give back what was taken, or a part of it."""
        self._taken -= size_bytes
        given, self._given = self._given, anyio.Event()
        given.set()
