"""The rounds of a level-triggered loop, as a sign of life: one that has begun must end, or at least get something done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dyff.kernel import vitals


class Rounds:
    """Counts what gets done."""

    def __init__(self) -> None:
        """None has begun."""
        self._done = 0
        self._is_open = False

    def step(self) -> None:
        """Something was done."""
        self._done += 1

    @contextmanager
    def round(self) -> Iterator[None]:
        """A round. One that fails leaves things as if it had not ended, until one goes well."""
        self._is_open = True
        yield
        self._is_open = False
        self.step()

    async def signs(self) -> list[vitals.Sign]:
        """Whether the rounds come to an end."""
        return [vitals.Sign("rounds", "one is under way or has failed" if self._is_open else None, self._done)]
