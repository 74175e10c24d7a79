"""The newest records of each partition in memory, and the wake-up of readers that wait for more.

A consumer that keeps up never touches the disk. Everything here runs in the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import anyio

from dyff.bus import port

MAX_BYTES = 4 * 2**20
"""Limit of the keys and values that are kept of one partition."""


class Tail:
    """The last records of one partition, without gaps."""

    def __init__(self) -> None:
        self._records: list[port.Record] = []
        self._bytes = 0

    def extend(self, records: Sequence[port.Record]) -> None:
        """Add appended records; the oldest half is dropped when the tail gets too large."""
        self._records += records
        self._bytes += sum(map(_size, records))
        while self._bytes > MAX_BYTES and self._records:
            oldest = self._records[: (len(self._records) + 1) // 2]
            del self._records[: len(oldest)]
            self._bytes -= sum(map(_size, oldest))

    def get(self, offset: int, limit: int) -> list[port.Record] | None:
        """At most `limit` records from `offset` on; None if they are not kept here."""
        if not self._records or offset < self._records[0].offset:
            return None
        start = offset - self._records[0].offset
        return self._records[start : start + limit]


class Bell:
    """Wakes the tasks that wait for a partition, or for any other name."""

    def __init__(self) -> None:
        self._waiting: dict[object, set[anyio.Event]] = {}

    def ring(self, names: Iterable[object]) -> None:
        """Wake every task that listens for one of these names."""
        for name in names:
            for event in self._waiting.get(name, ()):
                event.set()

    @contextmanager
    def listening(self, names: Iterable[object]) -> Iterator[anyio.Event]:
        """An event that is set when one of the names rings."""
        event, listened = anyio.Event(), list(names)
        for name in listened:
            self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            for name in listened:
                self._waiting[name].discard(event)
                if not self._waiting[name]:
                    del self._waiting[name]


def _size(record: port.Record) -> int:
    return len(record.key) + len(record.value or b"")
