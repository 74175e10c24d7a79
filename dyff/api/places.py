"""Places for large answers: only so many are sent at the same time, because each holds a part of itself in memory until its client
has taken it, and a snapshot of the view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import anyio

from dyff.kernel import errors

LARGE_BYTES = 256 * 2**10
"""A larger answer needs a place."""

WAIT_S = 10.0
"""How long a request waits for a place. It holds nothing meanwhile."""

RETRY_S = 5.0


class Place:
    """A place of one answer, until it is released."""

    def __init__(self, release: Callable[[Place], None], account: str) -> None:
        """`account`: whose answer it is."""
        self._release, self.account = release, account

    def release(self) -> None:
        """Free the place; again is no error."""
        self._release(self)


class Places:
    """The places of one server. Used in one event loop."""

    def __init__(self, total: int) -> None:
        """`total`: of all accounts. One account can have a quarter of them, so that it cannot keep the others waiting."""
        self._total, self._share = total, max(1, total // 4)
        self._taken: set[Place] = set()
        self._of: Counter[str] = Counter()
        self._freed = anyio.Event()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return len(self._taken)

    def take(self, account: str) -> Place | None:
        """A place; None if none is free for this account."""
        if len(self._taken) >= self._total or self._of[account] >= self._share:
            return None
        place = Place(self._free, account)
        self._taken.add(place)
        self._of[account] += 1
        return place

    async def wait(self, account: str) -> Place:
        """A place, as soon as one is free.

        Raises:
            Unavailable: none was within `WAIT_S`.
        """
        with anyio.move_on_after(WAIT_S):
            while True:
                place = self.take(account)
                if place is not None:
                    return place
                await self._freed.wait()
        raise errors.Unavailable(
            f"too many large answers are being sent: {self._of[account]} to this account (at most {self._share}), {len(self._taken)} in all"
            f" (at most {self._total}, setting api.max_large_answers); try again, or ask for less with limit, orderBy and after",
            retry_after_s=RETRY_S,
        ).of_limit("api.max_large_answers")

    def _free(self, place: Place) -> None:
        if place in self._taken:
            self._taken.remove(place)
            self._of[place.account] -= 1
            if not self._of[place.account]:
                del self._of[place.account]
            freed, self._freed = self._freed, anyio.Event()
            freed.set()
