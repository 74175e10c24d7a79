"""Makes the README's pictures of a saved page: `python -m tests.pages.picture build/demo-small/pages/plain.html docs/images`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.pages import browser

WIDTH, HEIGHT = 1000, 1440
"""Of the upper part: up to the first score, in pixels."""


async def pictures(page: Path, folder: Path) -> None:
    """The upper part and the comparison with other systems, in light colours, as PNG files."""
    async with browser.opened(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light") as seen:
        await seen.show(page.absolute().as_uri())
        await seen.page.screenshot(path=folder / "safety-case.png")
        await seen.page.locator("#others").screenshot(path=folder / "other-systems.png")


if __name__ == "__main__":
    asyncio.run(pictures(*map(Path, sys.argv[1:])))
