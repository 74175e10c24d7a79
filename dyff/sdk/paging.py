"""Answers that come in pages: each says where the next one begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol, TypeVar


class Page(Protocol):
    """A page. `next`: what to send as `after` for the next one; None if this is the last."""

    @property
    def next(self) -> str | None:
        """The beginning of the next page."""
        ...


P = TypeVar("P", bound=Page)
T = TypeVar("T")


async def every(page: Callable[[str | None], Awaitable[P]], of: Callable[[P], Iterable[T]]) -> AsyncIterator[T]:
    """Iterate over the elements of all pages. `page`: asks for the page that begins at `after`, None for the first. `of`: its elements."""
    after: str | None = None
    while True:
        found = await page(after)
        for each in of(found):
            yield each
        if found.next is None:
            return
        after = found.next
