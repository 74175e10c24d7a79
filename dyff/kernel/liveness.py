"""Signs of life: how the parts of a role say that they make progress. That a task is alive says nothing about that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager

import msgspec


class Sign(msgspec.Struct, frozen=True):
    """One thing that must make progress while something waits for it.

    `name`: unique within the role. `waiting`: what waits, such as `12 records behind`; None: nothing does, and all is well.
    `mark`: any value that is another one after something was done. It need not mean that less waits: a consumer that
    works, but more slowly than others publish, is not helped by a restart.
    """

    name: str
    waiting: str | None
    mark: Hashable = None


Read = Callable[[], Awaitable[Iterable[Sign]]]


class Signs:
    """The signs of one start of a role. Its parts put in how they are read, the supervisor reads them."""

    def __init__(self) -> None:
        """Without any: then nothing can be said."""
        self._reads: list[Read] = []

    def add(self, *reads: Read) -> None:
        """These are called now and then, from now on until the role ends."""
        self._reads += reads

    @contextmanager
    def during(self, read: Read) -> Iterator[None]:
        """Like `add`, but only while the context lasts."""
        self._reads.append(read)
        try:
            yield
        finally:
            self._reads.remove(read)

    async def read(self) -> list[Sign]:
        """All signs as they are now.

        Raises:
            Whatever a `read` does.
        """
        return [sign for read in list(self._reads) for sign in await read()]
