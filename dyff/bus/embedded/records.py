"""The committed records as the event loop knows them: the newest of each partition in memory, the others in the file.

A consumer that keeps up never reads the disk. Everything here runs in the event loop, except what reads the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import apsw

from dyff.bus import port
from dyff.bus.embedded import logfile, transactions
from dyff.kernel import errors

MAX_BYTES = 4 * 2**20
"""Limit of the keys and values that are kept of one partition."""


class Records:
    """Everything that is committed, as seen from the event loop."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        """`connection`: read-only; used by one worker thread at a time."""
        self.topics: dict[str, port.Topic] = {}
        self._partitions: dict[str, list[logfile.Partition]] = {}
        self.held: dict[int, port.Range] = {}
        self.bell = Bell()
        self._tails: dict[int, Tail] = {}
        self._path, self._connection = path, connection
        self._one_at_a_time = anyio.CapacityLimiter(1)

    def add(self, topic: port.Topic, partitions: Sequence[logfile.Partition]) -> None:
        """Add a new topic."""
        self.topics[topic.name] = topic
        self._partitions[topic.name] = sorted(partitions, key=lambda each: each.partition)
        for each in partitions:
            self.held[each.id] = each.held
            self._tails[each.id] = Tail()

    def adopt(self, transaction: transactions.Transaction) -> None:
        """Make a committed transaction visible to all readers."""
        for topic, partitions in transaction.created:
            self.add(topic, partitions)
        for partition_id, records in transaction.appended.items():
            self._tails[partition_id].extend(records)
            self.held[partition_id] = port.Range(self.held[partition_id].first, records[-1].offset + 1)
        for partition_id in transaction.thinned:
            self._tails[partition_id] = Tail()
        for partition_id, first in transaction.firsts.items():
            self.held[partition_id] = port.Range(first, self.held[partition_id].end)
        self.bell.ring(transaction.appended)

    def topic(self, name: str) -> port.Topic:
        """A topic by its name.

        Raises:
            NotFound: the topic does not exist.
        """
        found = self.topics.get(name)
        if found is None:
            raise errors.NotFound(f"there is no topic {name}")
        return found

    def partitions(self, topic: str) -> list[logfile.Partition]:
        """All partitions of a topic, by number.

        Raises:
            NotFound: the topic does not exist.
        """
        self.topic(topic)
        return self._partitions[topic]

    def partition(self, topic: str, partition: int) -> logfile.Partition:
        """A partition of a topic.

        Raises:
            NotFound: the topic does not exist, or it has no such partition.
        """
        there = self.partitions(topic)
        if not 0 <= partition < len(there):
            raise errors.NotFound(f"topic {topic} has the partitions 0 to {len(there) - 1}, not {partition}")
        return there[partition]

    def require(self, partition: logfile.Partition, offset: int) -> None:
        """Verify that the log can be read from `offset` on.

        Raises:
            OffsetOutOfRange: it cannot.
        """
        held = self.held[partition.id]
        if not held.first <= offset <= held.end:
            raise errors.OffsetOutOfRange(partition.topic, partition.partition, offset, held.first, held.end)

    async def fetch(self, partition: logfile.Partition, offset: int, limit: int) -> tuple[list[port.Record], int]:
        """Records from `offset` on, at most `limit`, and the offset to continue from.

        Raises:
            OffsetOutOfRange: the log cannot be read from there.
            LogDiverged: the file is damaged.
        """
        self.require(partition, offset)
        end = self.held[partition.id].end
        if offset == end:
            return [], end
        found = self._tails[partition.id].get(offset, limit)
        if found is None:
            found = await self.run(logfile.fetch, partition, offset, end, limit)
        return found, found[-1].offset + 1 if found else end

    async def lookup(self, partition: logfile.Partition, offsets: Collection[int]) -> dict[int, port.Record]:
        """The records at these offsets; missing ones are omitted.

        Raises:
            LogDiverged: the file is damaged.
        """
        held, tail = self.held[partition.id], self._tails[partition.id]
        wanted = sorted(offset for offset in set(offsets) if held.first <= offset < held.end)
        here = {offset: tail.get(offset, 1) for offset in wanted}
        absent = [offset for offset in wanted if here[offset] is None]
        found = [each for records in here.values() for each in records or ()]
        if absent:
            found += await self.run(logfile.lookup, partition, absent)
        return {each.offset: each for each in found}

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(connection, *args)` in a thread, since records that are not in memory have to be read from disk."""
        with logfile.translated_errors(self._path):
            return await anyio.to_thread.run_sync(function, self._connection, *args, limiter=self._one_at_a_time)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """A group's next offsets, by partition."""
        rows = await self.run(_committed, group, topic)
        return dict(rows)


def _committed(connection: apsw.Connection, group: str, topic: str) -> list[tuple[int, int]]:
    statement = "SELECT partition, offset FROM committed WHERE consumers = ? AND topic = ?"
    return list(connection.execute(statement, (group, topic)))


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
