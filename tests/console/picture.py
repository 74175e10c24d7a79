"""Makes the pictures of docs/console.md, of the console of a running server with the data of `make demo-small`.

python -m tests.console.picture http://127.0.0.1:8000 TOKEN EVALUATION SAFETYCASE docs/images
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.console.browsing import Console
from tests.pages import browser

WIDTH, HEIGHT, LOW = 1280, 720, 420
"""In pixels. `LOW`: where the upper part is enough."""

NARROW, TALL = 390, 800
"""Of a telephone."""


class Camera:
    """Takes pictures of a console, as PNG files in a folder."""

    def __init__(self, console: Console, folder: Path) -> None:
        self._console, self._folder = console, folder

    async def take(self, name: str, place: str, until: str) -> None:
        """A picture of a place. `until`: a selector of what has to be there."""
        page = self._console.page
        await self._console.go(place)
        await page.locator(until).first.wait_for()
        await page.wait_for_load_state("networkidle")
        await page.screenshot(path=self._folder / f"console-{name}.png")


async def pictures(url: str, token: str, evaluation: str, case: str, folder: Path) -> None:
    """The overview, samples, a safety case, a list in dark colours, and the overview on a telephone."""
    still = {"color_scheme": "light", "reduced_motion": "reduce"}  # colours that are on their way to others would be in the picture
    async with browser.opened(viewport={"width": WIDTH, "height": HEIGHT}, **still) as watched:
        console = Console(watched, url)
        camera = Camera(console, folder)
        await console.sign_in(token)
        await camera.take("overview", "", "main [data-row]")
        await camera.take("samples", f"evaluations/{evaluation}/samples?sample=5.0", ".list [aria-current=true]")
        await camera.take("entity", f"safetycases/{case}", "main .field")
        await console.page.emulate_media(color_scheme="dark")
        await console.page.set_viewport_size({"width": WIDTH, "height": LOW})
        await camera.take("list-dark", "evaluations", "main [data-row]")
        await console.page.emulate_media(color_scheme="light")
        await console.page.set_viewport_size({"width": NARROW, "height": TALL})
        await camera.take("telephone", "", "main [data-row]")


if __name__ == "__main__":
    asyncio.run(pictures(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5])))
