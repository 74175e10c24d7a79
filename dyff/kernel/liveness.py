"""Liveness signs: how the parts of a role report that they make progress. A running task alone does not prove that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager

import msgspec


class Lag(msgspec.Struct, frozen=True):
    """How many records of a partition a role has still to process."""

    topic: str
    partition: int
    records: int


class Sign(msgspec.Struct, frozen=True):
    """One thing that must make progress while work is waiting for it.

    `name`: unique within the role. `waiting`: the work that is waiting, such as `12 records behind`; None if there is none, which
    is healthy. `mark`: any value that changes whenever something was done. The backlog need not shrink: a restart does not
    help a consumer that works, but more slowly than others publish. `lag`: of a part that consumes a partition; None of any other.
    """

    name: str
    waiting: str | None
    mark: Hashable = None
    lag: Lag | None = None


def behind(name: str, topic: str, partition: int, done: int, end: int) -> Sign:
    """The sign of a part that has processed a partition up to the offset `done`; the partition ends at `end`."""
    records = max(0, end - done)
    return Sign(name, f"{records} behind" if records else None, done, Lag(topic, partition, records))


Read = Callable[[], Awaitable[Iterable[Sign]]]


class Signs:
    """The signs of one run of a role. The parts of the role register functions that read them; the supervisor calls these."""

    def __init__(self) -> None:
        """Start without any signs: then the supervisor cannot judge the role."""
        self._reads: list[Read] = []

    def add(self, *reads: Read) -> None:
        """Register functions that are called from time to time until the role ends."""
        self._reads += reads

    @contextmanager
    def during(self, read: Read) -> Iterator[None]:
        """Like `add`, but only while the context is open."""
        self._reads.append(read)
        try:
            yield
        finally:
            self._reads.remove(read)

    async def read(self) -> list[Sign]:
        """All signs in their current state.

        Raises:
            Anything that a `read` raises.
        """
        return [sign for read in list(self._reads) for sign in await read()]
