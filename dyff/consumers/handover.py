"""What the aggregator has folded and not written yet: one transaction on its way, and the next one, which grows meanwhile.

A transaction costs the broker some round trips, whatever is in it. So what is folded while one is on its way goes together
into the next: under load transactions become larger, and folding is not held up; without load each batch is written at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import anyio
import msgspec

from dyff.bus import envelope, port
from dyff.kernel import errors
from dyff.kernel.positions import Position

MOST = 2000
MOST_BYTES = 4 * 2**20
"""A transaction with so many messages, or bytes, takes no more batches: folding waits until it is on its way."""


class Folded(msgspec.Struct):
    """What events come to that were folded one after the other.

    `messages`: the states, and what they say (`headings`); `size`: bytes of their values; `newest`: of each entity.
    `position`: of the events, after them. `seen`: the last record; `told`: the last event that left a state. `newer`: the
    last batch was left off before its end, at a record of a newer release.
    """

    position: int
    messages: list[port.Message] = []
    headings: list[envelope.Heading] = []
    size: int = 0
    newest: dict[bytes, port.Message] = {}
    quarantined: list[port.Message] = []
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    applied: int = 0
    seen: port.Record | None = None
    told: Position | None = None
    newer: errors.NewerSchema | None = None

    def extend(self, later: Folded) -> None:
        """Take up what was folded right after this, on top of it."""
        self.position = later.position
        self.messages += later.messages
        self.headings += later.headings
        self.size += later.size
        self.newest |= later.newest
        self.quarantined += later.quarantined
        self.outcomes += later.outcomes
        self.applied += later.applied
        self.seen = later.seen or self.seen
        self.told = later.told or self.told
        self.newer = later.newer

    @property
    def is_full(self) -> bool:
        """Whether it takes no more."""
        return len(self.messages) + len(self.quarantined) >= MOST or self.size >= MOST_BYTES


class Handover:
    """From the one task that folds to the one task that writes."""

    def __init__(self) -> None:
        self._writing: Folded | None = None
        self._waiting: Folded | None = None
        self._put, self._taken = anyio.Event(), anyio.Event()

    def newest(self, key: bytes) -> port.Message | None:
        """The newest state of an entity among what is not written yet; None: there is none."""
        for each in (self._waiting, self._writing):
            if each is not None and (found := each.newest.get(key)) is not None:
                return found
        return None

    async def put(self, done: Folded) -> None:
        """Add what was folded on top of all before; waits while the next transaction is full."""
        if self._waiting is None:
            self._waiting = done
        else:
            self._waiting.extend(done)
        self._put.set()
        while self._waiting is not None and self._waiting.is_full:
            self._taken = anyio.Event()
            await self._taken.wait()

    async def take(self) -> AsyncIterator[Folded]:
        """One transaction after the other, without end; one is written when the next one is asked for."""
        while True:
            self._writing = None
            while self._waiting is None:
                self._put = anyio.Event()
                await self._put.wait()
            self._writing, self._waiting = self._waiting, None
            self._taken.set()
            yield self._writing
