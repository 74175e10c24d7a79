"""The console in a real browser. What it reports, what it requests of others, and what a screen reader cannot use fail the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from axe_playwright_python.async_playwright import Axe

from tests.api.test_role import serving
from tests.pages import browser

WIDTHS = (390, 1280)


class Console:
    """The console in one page. `page`: Playwright's. `url`: without a final slash. `expected`: parts of messages that the test wants."""

    def __init__(self, watched: browser.Watched, url: str) -> None:
        self.page, self.url, self._watched = watched.page, url, watched
        self.expected: list[str] = []

    async def sign_in(self, token: str) -> None:
        """As a person does: by the form."""
        await self.page.goto(f"{self.url}/")
        await self.page.get_by_label("Token", exact=True).fill(token)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.heading("Overview")

    async def go(self, place: str) -> None:
        """To a place, such as `datasets`."""
        await self.page.goto(f"{self.url}/#/{place}")

    async def heading(self, text: str) -> None:
        """Wait until the page with this heading is there."""
        await self.page.get_by_role("heading", name=text, level=1).wait_for()

    async def usable(self) -> None:
        """What axe calls serious or critical fails; so do a page that is wider than the window, and a card that cuts something off."""
        found = await Axe().run(self.page)
        serious = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
        assert serious == [], [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious]
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the window"
        cut = await self.page.evaluate(
            "[...document.querySelectorAll('main .card')].filter(each => each.scrollWidth > each.clientWidth)"
            ".map(each => each.innerText.slice(0, 80))"
        )
        assert cut == [], f"these are wider than they are shown: {cut}"

    def check(self) -> None:
        """Nothing was reported but what was expected, no dialog was opened, and nobody else was asked for anything."""
        unexpected = [each for each in self._watched.errors if not any(part in each for part in self.expected)]
        assert unexpected == []
        assert self._watched.dialogs == []
        assert {each for each in self._watched.sent() if not each.startswith((f"{self.url}/", "blob:", "data:"))} == set()


@asynccontextmanager
async def opened(world: Any, width: int = 1280, services: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Console]:
    """The console of this world, which is checked at the end. `services`: others than the world's. `options`: of the browser's context."""
    async with serving(world, **(services or {})) as url, browser.opened(viewport={"width": width, "height": 900}, **options) as watched:
        console = Console(watched, url)
        yield console
        console.check()
