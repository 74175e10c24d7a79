"""Reading visible records, from memory or from the file, with and without a group."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import apsw

from dyff.bus import port
from dyff.bus.embedded import groups, jobs, logfile, tails, transactions
from dyff.kernel import clock, errors, sqlite_writer


class Records:
    """Everything that is committed, as seen from the event loop."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        """`connection`: read-only; used by one worker thread at a time."""
        self.topics: dict[str, port.Topic] = {}
        self._partitions: dict[str, list[logfile.Partition]] = {}
        self.held: dict[int, port.Range] = {}
        self.bell = tails.Bell()
        self._tails: dict[int, tails.Tail] = {}
        self._path, self._connection = path, connection
        self._one_at_a_time = anyio.CapacityLimiter(1)

    def add(self, topic: port.Topic, partitions: Sequence[logfile.Partition]) -> None:
        """Add a new topic."""
        self.topics[topic.name] = topic
        self._partitions[topic.name] = sorted(partitions, key=lambda each: each.partition)
        for each in partitions:
            self.held[each.id] = each.held
            self._tails[each.id] = tails.Tail()

    def adopt(self, transaction: transactions.Transaction) -> None:
        """Make a committed transaction visible to all readers."""
        for topic, partitions in transaction.created:
            self.add(topic, partitions)
        for partition_id, records in transaction.appended.items():
            self._tails[partition_id].extend(records)
            self.held[partition_id] = port.Range(self.held[partition_id].first, records[-1].offset + 1)
        for partition_id in transaction.thinned:
            self._tails[partition_id] = tails.Tail()
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


class EmbeddedReader:
    """Reads one partition without a group."""

    def __init__(self, records: Records, partition: logfile.Partition, offset: int) -> None:
        """`offset`: where to start."""
        self._records, self._partition = records, partition
        self._position = offset

    @property
    def position(self) -> int:
        return self._position

    async def poll(self, max_records: int, wait_s: float) -> tuple[port.Record, ...]:
        await anyio.lowlevel.checkpoint()
        found = await self._next(max_records)
        if not found and wait_s > 0 and self._position == self._records.held[self._partition.id].end:
            with anyio.move_on_after(wait_s), self._records.bell.listening([self._partition.id]) as more:
                await more.wait()
            found = await self._next(max_records)
        return tuple(found)

    async def _next(self, limit: int) -> list[port.Record]:
        """Read and advance. No cancellation is possible between the two, so it cannot lose records."""
        found, self._position = await self._records.fetch(self._partition, self._position, limit)
        return found


class EmbeddedSubscription:
    """A member of a group."""

    def __init__(
        self,
        group: groups.Group,
        name: str,
        topic: str,
        records: Records,
        writer: sqlite_writer.Writer[transactions.Transaction],
        time: clock.Clock,
    ) -> None:
        """`group`: the group called `name` on `topic`."""
        self._group, self._name, self._topic = group, name, topic
        self._records, self._writer, self._clock = records, writer, time
        self._member = groups.Member()
        self._positions: dict[port.Assignment, int] = {}

    def join(self) -> None:
        """Join the group."""
        self._notify(self._group.polled(self._member, self._clock.monotonic()))

    def leave(self) -> None:
        """Leave the group and give up all partitions."""
        self._notify(self._group.leave(self._member))

    def position(self, assignment: port.Assignment) -> int | None:
        return self._positions.get(assignment) if self._member.holds(assignment) else None

    async def poll(self, max_records: int, wait_s: float) -> port.Polled:
        await anyio.lowlevel.checkpoint()
        polled = await self._take(max_records)
        if polled == _NOTHING and wait_s > 0 and not self._behind():
            started = [self._records.partition(self._topic, each.partition).id for each in self._positions]
            self._member.polling = True
            try:
                with anyio.move_on_after(wait_s), self._records.bell.listening([self._member, *started]) as more:
                    await more.wait()
            finally:
                self._member.polling = False
            polled = await self._take(max_records)
        return polled

    async def start(self, assignment: port.Assignment, offset: int | None = None) -> None:
        partition = self._records.partition(self._topic, assignment.partition)
        if offset is None:
            known = await self._records.committed(self._name, self._topic)
            offset = known.get(assignment.partition, self._records.held[partition.id].first)
        if self._member.holds(assignment):
            self._records.require(partition, offset)
            self._positions[assignment] = offset

    async def commit(self, offsets: Mapping[port.Assignment, int]) -> None:
        ours = [
            port.Commit(self._name, self._topic, assignment.partition, offset)
            for assignment, offset in offsets.items()
            if self._member.holds(assignment)
        ]
        if ours:
            await self._writer.submit(jobs.CommitOffsets(ours).apply)

    async def _take(self, limit: int) -> port.Polled:
        self._notify(self._group.polled(self._member, self._clock.monotonic()))
        revoked, assigned = self._member.news()
        if revoked or assigned:
            self._positions = {each: offset for each, offset in self._positions.items() if self._member.holds(each)}
            return port.Polled(revoked, assigned)
        taken: list[port.Record] = []
        moved: dict[port.Assignment, int] = {}
        for assignment, offset in self._positions.items():
            if len(taken) < limit:
                partition = self._records.partition(self._topic, assignment.partition)
                found, moved[assignment] = await self._records.fetch(partition, offset, limit - len(taken))
                taken += found
        return self._moved(taken, moved)

    def _moved(self, taken: list[port.Record], moved: dict[port.Assignment, int]) -> port.Polled:
        """Advance past the records taken. Partitions that were served move to the back of the queue, so that none starves."""
        for assignment, offset in moved.items():
            del self._positions[assignment]
            self._positions[assignment] = offset
        ours = {assignment.partition for assignment in moved if self._member.holds(assignment)}
        return port.Polled(records=tuple(each for each in taken if each.partition in ours))

    def _behind(self) -> bool:
        """Whether records are available already, because they arrived while the file was being read."""
        held = self._records.held
        ends = {each: held[self._records.partition(self._topic, each.partition).id].end for each in self._positions}
        return any(offset < ends[each] for each, offset in self._positions.items())

    def _notify(self, members: Sequence[groups.Member]) -> None:
        self._records.bell.ring(each for each in members if each is not self._member)


_NOTHING = port.Polled()
