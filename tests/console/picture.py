"""Makes the pictures of the console of a running server, of which the data of `make demo-small` is a good example.

python -m tests.console.picture http://127.0.0.1:8000 TOKEN EVALUATION docs/images
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.console.browsing import Console
from tests.pages import browser

WIDTH, HEIGHT = 1280, 800
"""In pixels."""


async def pictures(url: str, token: str, evaluation: str, folder: Path) -> None:
    """The overview and the samples of an evaluation, in light colours, as PNG files."""
    async with browser.opened(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light") as watched:
        console = Console(watched, url)
        await console.sign_in(token)
        await console.page.get_by_text("Complete").first.wait_for()
        await console.page.screenshot(path=folder / "console-overview.png")
        await console.go(f"evaluations/{evaluation}/samples")
        await console.page.locator("main .score").first.wait_for()
        await console.page.screenshot(path=folder / "console-samples.png")


if __name__ == "__main__":
    asyncio.run(pictures(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])))
