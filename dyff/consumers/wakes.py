"""How a level-triggered loop learns that it should look again."""

from __future__ import annotations

import anyio

from dyff.consumers.mirror import StateMirror


class Wake:
    """Tells the one who waits that there is something new."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Something may have changed."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when `set` was called since the last return, at the latest after `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s):
            await self._event.wait()
        self._event = anyio.Event()


async def wake_on_change(mirror: StateMirror, wake: Wake) -> None:
    """Pass on, for ever, that an entity has changed. It must be the only one that waits for the mirror's changes."""
    while True:
        if await mirror.wait_change(float("inf")):
            wake.set()
