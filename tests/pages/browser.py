"""The Chromium of the machine, and everything that it does and reports while it shows a page."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from filelock import FileLock
from playwright import async_api

from image import packages
from tests.conftest import missing
from tests.engines import building

NAMES = ("chromium", "chromium-browser", "google-chrome")
_REPORTS = (
    """document.addEventListener('securitypolicyviolation', e => console.error('violation: ' + e.violatedDirective + ' ' + e.blockedURI))"""
)


def program() -> str:
    """The program. In CI it is installed by apt if it is missing; elsewhere that is a skip, with the reason."""
    if (found := _found()) is not None:
        return found
    if not os.environ.get("CI"):
        missing("Chromium is not installed (Debian: apt-get install chromium), so no page is looked at")
    with FileLock(building.root() / "chromium.lock"):
        if (found := _found()) is None:
            packages.update()
            waiting = ("-o", "DPkg::Lock::Timeout=300")
            install = ("apt-get", *waiting, "--quiet", "--quiet", "install", "--yes", "--no-install-recommends", "chromium")
            subprocess.run(install, check=True)
            found = _found()
    return found or missing("apt-get has installed no Chromium")


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


class Watched:
    """A page. `errors`: what console, scripts and policies reported. `dialogs`: their texts."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self._wanted: list[Any] = []
        self._refused: dict[Any, str] = {}
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", lambda each: self._wanted.append(each))  # not the method: Playwright marks what it is given
        page.on("requestfailed", lambda each: self._refused.update({each: str(each.failure)}))
        page.on("console", lambda each: self.errors.append(f"{each.type}: {each.text}") if each.type in ("error", "warning") else None)
        page.on("pageerror", lambda each: self.errors.append(str(each)))
        page.on("dialog", self._dialog)
        page.on("popup", lambda each: self.dialogs.append(f"popup {each.url}"))

    def sent(self) -> set[str]:
        """The URLs of all requests but those that a policy refused, which the browser reports although it sends nothing."""
        return {each.url for each in self._wanted if self._refused.get(each) not in ("csp", "origin")}

    def forget(self) -> None:
        """Forget all requests so far."""
        self._wanted.clear()
        self._refused.clear()

    async def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    async def show(self, url: str) -> None:
        """Go there, and wait until nothing loads any more."""
        await self.page.goto(url, wait_until="networkidle")


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Watched]:
    """A page in a browser of its own. `options`: of its context, such as `viewport` and `color_scheme`."""
    path = program()
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to make its own sandbox as root
    async with async_api.async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            context = await chromium.new_context(**options)
            await context.add_init_script(_REPORTS)
            yield Watched(await context.new_page())
        finally:
            await chromium.close()
