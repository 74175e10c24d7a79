"""Reading: one partition without a group, or as a member of a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import anyio
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka import errors as kafka

from dyff.bus import port
from dyff.bus.kafka.administration import Administration
from dyff.bus.kafka.connecting import Connection, translated
from dyff.kernel import errors

_SLICE_S = 0.1
"""Interval at which a poll checks whether partitions were assigned or revoked in the meantime, which does not wake it up."""

_FIRST_ANSWER_S = 0.005

_MOVED = (
    kafka.CommitFailedError,
    kafka.IllegalGenerationError,
    kafka.UnknownMemberIdError,
    kafka.RebalanceInProgressError,
    kafka.IllegalStateError,
)
"""Errors because partitions moved in the meantime: the refused operation concerns a partition that another member has now."""


def record(topic: str, found: Any) -> port.Record:
    """Convert a record to the port's type. `topic`: the name without the prefix."""
    return port.Record(topic, found.partition, found.offset, found.timestamp, found.key or b"", found.value, tuple(found.headers))


class KafkaReader:
    """One partition without a group. See `dyff.bus.port.Reader`."""

    def __init__(
        self, client: AIOKafkaConsumer, topic: port.Topic, place: TopicPartition, offset: int, administration: Administration
    ) -> None:
        """`client`: is assigned `place`, a partition of `topic`, and nothing else."""
        self._client, self._topic, self._place, self._administration = client, topic, place, administration
        self._position = offset

    @property
    def position(self) -> int:
        return self._position

    async def poll(self, max_records: int, wait_s: float) -> tuple[port.Record, ...]:
        try:
            with translated(f"reading {self._topic.name}/{self._place.partition}"):
                found = await self._client.getmany(self._place, timeout_ms=int(wait_s * 1000), max_records=max_records)
                self._position = await self._client.position(self._place)
        except errors.Unavailable as error:
            if isinstance(error.__cause__, kafka.OffsetOutOfRangeError):
                raise await self._outside() from error
            raise
        return tuple(record(self._topic.name, each) for each in found.get(self._place, ()))

    async def require_inside(self) -> None:
        """Verify that the log holds the start offset.

        Raises:
            OffsetOutOfRange: it does not.
        """
        held = await self._held()
        if not held.first <= self._position <= held.end:
            raise await self._outside()

    async def _held(self) -> port.Range:
        return (await self._administration.ranges(self._topic.name, self._topic.partitions))[self._place.partition]

    async def _outside(self) -> errors.OffsetOutOfRange:
        held = await self._held()
        return errors.OffsetOutOfRange(self._topic.name, self._place.partition, self._position, held.first, held.end)


class KafkaSubscription(ConsumerRebalanceListener):
    """A member of a group. See `dyff.bus.port.Subscription`.

    The client reports changes of the assignment in its own task, at any time. They are stored here and returned by `poll`;
    from the moment of the report, nothing from the old assignments is committed or delivered any more.
    """

    def __init__(
        self, client: AIOKafkaConsumer, connection: Connection, group: str, topic: port.Topic, administration: Administration
    ) -> None:
        """`client`: started, but not subscribed to any topic yet."""
        self._client, self._group, self._topic, self._administration = client, group, topic, administration
        self._name = connection.named(topic.name)
        self._generation = self._turn = 0
        self._grown = False
        self._held: dict[int, port.Assignment] = {}
        self._started: dict[port.Assignment, int] = {}
        self._news: tuple[list[port.Assignment], list[port.Assignment]] = ([], [])
        self._committing = anyio.Lock()

    def join(self) -> None:
        """Join the group."""
        self._client.subscribe([self._name], listener=self)

    def leave(self) -> None:
        """Give up all partitions; whatever is still done with this member has no effect."""
        self._take(list(self._held))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by the client before it rejoins. Waits for a commit in progress, so that none is lost unnecessarily."""
        async with self._committing:
            self._take(each.partition for each in revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by the client. Nothing is delivered until the partition is started."""
        places = list(assigned)
        self._take(list(self._held))
        for place in places:
            self._client.pause(place)
            self._client.seek(place, 0)  # so that the client does not look for a committed offset that may not exist
        self._grown = self._grown or any(place.partition >= self._topic.partitions for place in places)
        places = [place for place in places if place.partition < self._topic.partitions]  # see `added`
        self._generation += 1
        for place in places:
            given = self._held[place.partition] = port.Assignment(place.partition, self._generation)
            self._news[1].append(given)

    def _take(self, partitions: Iterable[int]) -> None:
        for partition in list(partitions):
            assignment = self._held.pop(partition, None)
            if assignment is None:
                continue
            self._started.pop(assignment, None)
            if assignment in self._news[1]:
                self._news[1].remove(assignment)  # it was never reported
            else:
                self._news[0].append(assignment)

    async def poll(self, max_records: int, wait_s: float) -> port.Polled:
        end = anyio.current_time() + wait_s
        if self._grown:
            await self._administration.topic(self._topic.name)  # reports it, or refuses to continue
            self._grown = False
        while True:
            records = await self._records(max_records, min(_SLICE_S, max(0.0, end - anyio.current_time())))
            revoked, assigned = self._news
            if records or revoked or assigned or anyio.current_time() >= end:
                self._news = ([], [])
                return port.Polled(tuple(revoked), tuple(assigned), records)

    async def _records(self, max_records: int, wait_s: float) -> tuple[port.Record, ...]:
        self._turn += 1
        started = [TopicPartition(self._name, each.partition) for each in self._started]
        first = self._turn % len(started) if started else 0
        places = started[first:] + started[:first]
        if not places:
            # A poll without started partitions keeps the membership, and reports what is wrong with it.
            places = [TopicPartition(self._name, partition) for partition in self._held]
        with translated(f"reading {self._topic.name} in the group {self._group}"):
            try:
                found = await self._fetched(places, max_records, wait_s)
                await self._note_positions()
            except kafka.IllegalStateError:
                return ()
            except kafka.OffsetOutOfRangeError as error:
                raise await self._outside(error) from error
        held = {each.partition for each in self._started}
        return tuple(record(self._topic.name, each) for place, batch in found.items() if place.partition in held for each in batch)

    async def _fetched(self, places: list[TopicPartition], max_records: int, wait_s: float) -> dict[TopicPartition, list[Any]]:
        """Take a fair share from each partition of what has arrived; the client alone would drain one before turning to the next.

        If a partition has not been fetched from yet, wait a moment, however much the others have: taking buffered records does not
        yield to the event loop, and without that the other responses cannot arrive.
        """
        if any(self._client.highwater(place) is None for place in places):
            await anyio.sleep(_FIRST_ANSWER_S)
        found: dict[TopicPartition, list[Any]] = {}
        left = max_records
        for number, place in enumerate(places):
            batch = await self._client.getmany(place, timeout_ms=0, max_records=max(1, left // (len(places) - number)))
            found |= batch
            left -= sum(map(len, batch.values()))
            if left <= 0:
                break
        return found or await self._client.getmany(*places, timeout_ms=int(wait_s * 1000), max_records=max_records)

    async def _note_positions(self) -> None:
        for assignment in list(self._started):
            position = await self._client.position(TopicPartition(self._name, assignment.partition))
            if assignment in self._started:
                self._started[assignment] = position

    async def _outside(self, error: kafka.OffsetOutOfRangeError) -> errors.DyffError:
        ranges = await self._administration.ranges(self._topic.name, self._topic.partitions)
        for place, offset in dict(error.args[0] if error.args else {}).items():
            held = ranges[place.partition]
            return errors.OffsetOutOfRange(self._topic.name, place.partition, offset, held.first, held.end)
        return errors.Unavailable(f"reading {self._topic.name}: an offset is not in the log")

    async def start(self, assignment: port.Assignment, offset: int | None = None) -> None:
        if not self._is_held(assignment):
            return
        ranges = await self._administration.ranges(self._topic.name, self._topic.partitions)
        held = ranges[assignment.partition]
        if offset is None:
            committed = await self._administration.committed(self._group, self._topic.name, self._topic.partitions)
            offset = committed.get(assignment.partition, held.first)
        if not held.first <= offset <= held.end:
            raise errors.OffsetOutOfRange(self._topic.name, assignment.partition, offset, held.first, held.end)
        if self._is_held(assignment):
            place = TopicPartition(self._name, assignment.partition)
            try:
                self._client.seek(place, offset)
                self._client.resume(place)
            except kafka.IllegalStateError:
                return  # it was revoked just now
            self._started[assignment] = offset

    def position(self, assignment: port.Assignment) -> int | None:
        return self._started.get(assignment)

    async def commit(self, offsets: Mapping[port.Assignment, int]) -> None:
        async with self._committing:
            ours = {TopicPartition(self._name, each.partition): at for each, at in offsets.items() if self._is_held(each)}
            if not ours:
                return
            with translated(f"committing in the group {self._group}"):
                try:
                    await self._client.commit(ours)
                except _MOVED:
                    return

    def _is_held(self, assignment: port.Assignment) -> bool:
        return self._held.get(assignment.partition) == assignment
