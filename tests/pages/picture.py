"""Makes the README's picture of a page: `python -m tests.pages.picture build/demo-small/pages/plain.html docs/images/safety-case.png`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.pages import browser

WIDTH, HEIGHT = 1000, 1440
"""Up to the first score, in pixels."""


async def picture(page: Path) -> bytes:
    """The upper part of a saved page, in light colours, as a PNG."""
    async with browser.opened(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light") as seen:
        await seen.show(page.absolute().as_uri())
        found: bytes = await seen.page.screenshot()
        return found


def main(arguments: list[str]) -> None:
    """`arguments`: the saved page and the picture."""
    page, out = map(Path, arguments)
    out.write_bytes(asyncio.run(picture(page)))


if __name__ == "__main__":
    main(sys.argv[1:])
