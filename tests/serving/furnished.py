"""Data directories as a server leaves them, made in this process."""

from __future__ import annotations

from pathlib import Path

import anyio

from dyff.kernel import clock, settings
from dyff.serve import directory, roles, wiring


def furnish(root: Path) -> directory.DataDirectory:
    """Make the data directory of a server that has started and stopped."""

    async def start() -> None:
        loaded = settings.Settings(data_dir=str(root), api=settings.Api(port=0))
        async with wiring.open_adapters(loaded, place, clock.SystemClock(), roles.parse("all")):
            pass

    place = directory.DataDirectory(root)
    place.create()
    anyio.run(start)
    return place
