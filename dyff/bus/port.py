"""The bus: what every adapter guarantees, and nothing that is specific to one of them.

A topic has a fixed number of partitions. Records of one partition are totally ordered, with offsets that only grow (with
gaps, left by compaction and transactions). Delivery to a group is at least once.

Every method is a cancellation point. A cancelled `publish` or `append` may have taken effect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from dyff.kernel.positions import Epochs, Era, Position

Header = tuple[str, bytes]


MAX_MESSAGE_BYTES = 16 * 2**20
"""Limit of key, value and headers of a message together, in every adapter. What is larger is in no log."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """A record to append.

    `value` None is a tombstone: on a compacted topic it removes the key. `partition` None: the partition is derived from the
    key (`dyff.bus.topics.partition_of`), identically in every adapter.
    """

    key: bytes
    value: bytes | None
    headers: tuple[Header, ...] = ()
    partition: int | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """An appended record. `timestamp_ms`: log append time, milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None
    headers: tuple[Header, ...] = ()


class TopicSpec(msgspec.Struct, frozen=True):
    """A wanted topic. `compacted`: only the last record of each key is kept permanently; otherwise all records are."""

    name: str
    partitions: int
    compacted: bool


class Topic(msgspec.Struct, frozen=True):
    """An existing topic. `epoch`: the identity of this log; a re-created or restored log has another. `earlier`: those that it had
    before backups of it were restored, the oldest first.
    """

    name: str
    partitions: int
    compacted: bool
    epoch: str
    earlier: tuple[Era, ...] = ()

    @property
    def epochs(self) -> Epochs:
        """All of its identities."""
        return Epochs(self.epoch, self.earlier)


class Range(msgspec.Struct, frozen=True):
    """The offsets that a partition holds: `first <= offset < end`. A record is visible only below `end`."""

    first: int
    end: int


class Assignment(msgspec.Struct, frozen=True):
    """A partition assigned to a group member; `generation` distinguishes it from earlier assignments of the same partition."""

    partition: int
    generation: int


class Polled(msgspec.Struct, frozen=True):
    """The result of one `poll`. Handle `revoked` first, then `assigned`, then `records`.

    `revoked`: already lost; discard all work on them, since nothing of it can be committed. `assigned`: new; they deliver
    nothing until `Subscription.start`. `records`: in order within each partition, only of started assignments.
    """

    revoked: tuple[Assignment, ...] = ()
    assigned: tuple[Assignment, ...] = ()
    records: tuple[Record, ...] = ()


class Subscription(Protocol):
    """A member of a consumer group on one topic. Used by one task."""

    async def poll(self, max_records: int, wait_s: float) -> Polled:
        """Whatever is available, at most `max_records` records; waits up to `wait_s` seconds for something.

        Call it at least every few seconds: a member that does not poll loses its partitions.

        Raises:
            OffsetOutOfRange: a started offset is not in the log.
            Unavailable: the broker does not answer.
        """
        ...

    async def start(self, assignment: Assignment, offset: int | None = None) -> None:
        """Start delivery of an assigned partition at `offset`; None for the committed offset or, without one, the first.

        A stale assignment is ignored.

        Raises:
            OffsetOutOfRange: the offset is not in the log (`end` itself is valid).
        """
        ...

    def position(self, assignment: Assignment) -> int | None:
        """The next offset to deliver; it skips gaps, including those at the end. None if not started, or stale."""
        ...

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        """Durably record the next offset to read for each assignment that is still ours; stale ones are ignored."""
        ...


class Reader(Protocol):
    """Reads one partition without a group."""

    @property
    def position(self) -> int:
        """The next offset to read; compare it with `Range.end`, since the last offsets may be gaps."""
        ...

    async def poll(self, max_records: int, wait_s: float) -> tuple[Record, ...]:
        """The next records in order, waiting up to `wait_s` seconds for the first.

        Raises:
            OffsetOutOfRange: the position is not in the log.
            Unavailable: the broker does not answer.
        """
        ...


class Commit(msgspec.Struct, frozen=True):
    """The next offset that a group will read of one partition."""

    group: str
    topic: str
    partition: int
    offset: int


class Owner(Protocol):
    """A fenced writer: at most one per name can append; opening one fences the previous one permanently."""

    @property
    def spacing(self) -> int:
        """How many offsets of a partition the log itself uses after the records of one `append`.

        If more lie between two appends, or after the last one, another writer may have written.
        """
        ...

    async def append(self, topic: str, messages: Sequence[Message], commit: Commit | None = None) -> list[Position]:
        """Append all or nothing, durably; `commit` is recorded with the records or after them, never before.

        Raises:
            Fenced: another owner of this name was opened since; discard everything and join again.
            OutcomeUnknown: it may or may not have happened; open a new owner and check.
            Unavailable: nothing was appended.
        """
        ...


class History(Protocol):
    """The contents of the log, for readers."""

    async def topic(self, name: str) -> Topic:
        """A topic by its name.

        Raises:
            NotFound: the topic does not exist.
        """
        ...

    async def ranges(self, topic: str) -> dict[int, Range]:
        """The offsets held, by partition; only committed records count."""
        ...

    def read(self, topic: str, partition: int, offset: int) -> AbstractAsyncContextManager[Reader]:
        """Read a partition from `offset` on, without a group."""
        ...


class Bus(History, Protocol):
    """The log."""

    async def amend_topics(self, specs: Sequence[TopicSpec], *, dry_run: bool = False) -> list[str]:
        """Make these topics exist with our retention, and report each deviation that was found, in a line for people.

        Configuration that keeps more than we need is left alone. `dry_run`: only report.

        Raises:
            Misconfigured: one exists with another number of partitions; nothing was changed.
        """
        ...

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make these topics exist. Idempotent.

        Raises:
            Misconfigured: one exists with another number of partitions, or another clean-up policy.
        """
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The group's next offsets, by partition; a partition without one is absent."""
        ...

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append; returns once all are durable (survive `kill -9` and power loss, or are on as many replicas as configured).

        Messages of one call to one partition keep their order. Not atomic across partitions.

        Raises:
            Unavailable: nothing was appended.
            OutcomeUnknown: some may have been appended.
            NotFound: the topic does not exist.
            TooLarge: a message is over the broker's limit; nothing was appended.
        """
        ...

    def subscribe(self, group: str, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """Join a consumer group; closing the context gives up the partitions."""
        ...

    async def lookup(self, topic: str, partition: int, offsets: Collection[int]) -> dict[int, Record]:
        """The records at these offsets, which must be of records seen before; a record that no longer exists is absent.

        Raises:
            NotFound: the partition does not exist.
            Unavailable: the broker does not answer.
        """
        ...

    def clock_offset_s(self) -> float | None:
        """The log's clock, which sets `Record.timestamp_ms`, minus ours, in seconds; None if it is not known yet: at the latest
        it is after the first append.

        The time that an append takes does not count: 0 also means that the difference is less than that.
        """
        ...

    def own(self, name: str) -> AbstractAsyncContextManager[Owner]:
        """Become the only owner called `name`, fencing any previous one."""
        ...
