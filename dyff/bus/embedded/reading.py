"""Reading visible records, from memory or from the file, with and without a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import anyio.lowlevel
import anyio.to_thread

from dyff.bus import port
from dyff.bus.embedded import groups, logfile, transactions
from dyff.bus.embedded.records import Records
from dyff.kernel import clock


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
        submit: Callable[[Callable[[transactions.Transaction], None]], Awaitable[None]],
        time: clock.Clock,
    ) -> None:
        """`group`: the group called `name` on `topic`. `submit`: does a write in a transaction of the log."""
        self._group, self._name, self._topic = group, name, topic
        self._records, self._submit, self._clock = records, submit, time
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
            await self._submit(transactions.CommitOffsets(ours).apply)

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
