"""The bus: what every adapter guarantees, and nothing that only one of them has.

A topic has a fixed number of partitions. Records of one partition have one order, and offsets that only grow (with
holes: compaction and transactions leave them). Delivery to a group is at least once.

Every method is a cancellation point. A cancelled `publish` or `append` may have happened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from dyff.kernel.positions import Position

Header = tuple[str, bytes]


class Message(msgspec.Struct, frozen=True, gc=False):
    """What is to be appended.

    `value` None is a tombstone: on a compacted topic it removes the key. `partition` None: the partitioner decides by
    key (`dyff.bus.topics.partition_of`), the same in every adapter.
    """

    key: bytes
    value: bytes | None
    headers: tuple[Header, ...] = ()
    partition: int | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """What was appended. `timestamp_ms`: log append time, milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None
    headers: tuple[Header, ...] = ()


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic to be there. `compacted`: only the last record of each key is kept for ever; else all records are."""

    name: str
    partitions: int
    compacted: bool


class Topic(msgspec.Struct, frozen=True):
    """A topic that is there. `epoch`: the identity of this log; a re-created or restored log has another."""

    name: str
    partitions: int
    compacted: bool
    epoch: str


class Range(msgspec.Struct, frozen=True):
    """The offsets that a partition holds: `first <= offset < end`. A record is visible only below `end`."""

    first: int
    end: int


class Assignment(msgspec.Struct, frozen=True):
    """A partition given to a group member; `generation` tells this giving from an earlier one of the same partition."""

    partition: int
    generation: int


class Polled(msgspec.Struct, frozen=True):
    """What one `poll` brought. Handle `revoked` first, then `assigned`, then `records`.

    `revoked`: gone already: forget all work on them, nothing of them may be committed. `assigned`: new; they deliver
    nothing until `Subscription.start`. `records`: in order within each partition, only of started assignments.
    """

    revoked: tuple[Assignment, ...] = ()
    assigned: tuple[Assignment, ...] = ()
    records: tuple[Record, ...] = ()


class Subscription(Protocol):
    """A member of a consumer group on one topic. Used by one task."""

    async def poll(self, max_records: int, wait_s: float) -> Polled:
        """Whatever is there, at most `max_records` records; waits up to `wait_s` seconds for something.

        Call it at least every few seconds: a member that does not poll loses its partitions.

        Raises:
            OffsetOutOfRange: a started offset is not in the log.
            Unavailable: the broker does not answer.
        """
        ...

    async def start(self, assignment: Assignment, offset: int | None = None) -> None:
        """Begin delivery of an assigned partition at `offset`; None: at the committed one, none committed: at the first.

        A stale assignment is ignored.

        Raises:
            OffsetOutOfRange: the offset is not in the log (`end` itself is fine).
        """
        ...

    def position(self, assignment: Assignment) -> int | None:
        """The next offset to be delivered; it passes holes, also those at the end. None: not started, or stale."""
        ...

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        """Record, durably, the next offset to read of each assignment that is still ours; stale ones are ignored."""
        ...


class Reader(Protocol):
    """Reads one partition without a group."""

    @property
    def position(self) -> int:
        """The next offset to be read; compare it with `Range.end`, since the last records may be holes."""
        ...

    async def poll(self, max_records: int, wait_s: float) -> tuple[Record, ...]:
        """The next records in order, waiting up to `wait_s` seconds for the first.

        Raises:
            OffsetOutOfRange: the position is not in the log.
            Unavailable: the broker does not answer.
        """
        ...


class Commit(msgspec.Struct, frozen=True):
    """The group's next offset to read of one partition."""

    group: str
    topic: str
    partition: int
    offset: int


class Owner(Protocol):
    """A fenced writer: at most one per name can append; opening one fences the previous for good."""

    @property
    def spacing(self) -> int:
        """How many offsets of a partition the log itself takes up after what one `append` put there.

        Where more lie between two appends, or behind the last one, somebody else may have written.
        """
        ...

    async def append(self, topic: str, messages: Sequence[Message], commit: Commit | None = None) -> list[Position]:
        """Append all or nothing, durably; `commit` is recorded with the records or after them, never before.

        Raises:
            Fenced: another owner of this name was opened since; discard everything and join again.
            OutcomeUnknown: it may or may not have happened; open a new owner and look.
            Unavailable: nothing was appended.
        """
        ...


class History(Protocol):
    """What the log holds, for whoever only reads it."""

    async def topic(self, name: str) -> Topic:
        """What is known of a topic.

        Raises:
            NotFound: there is no such topic.
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
        """Make these topics exist, kept as ours must be kept, and tell for each what was not so, in a line for people.

        What somebody set to keep more than we need is left. `dry_run`: nothing is changed.

        Raises:
            Misconfigured: one exists with other partitions; nothing was changed.
        """
        ...

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make these topics exist. Repeating it is harmless.

        Raises:
            Misconfigured: one exists with other partitions or another clean-up policy.
        """
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The group's next offsets, by partition; a partition without one is absent."""
        ...

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append; returns when all are durable (survive `kill -9` and power loss, or as many replicas as configured).

        Messages of one call to one partition keep their order. Not atomic over partitions.

        Raises:
            Unavailable: nothing was appended.
            OutcomeUnknown: some may have been appended.
            NotFound: there is no such topic.
            TooLarge: a message is over the broker's limit; nothing was appended.
        """
        ...

    def subscribe(self, group: str, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """Join a consumer group; leaving the context gives the partitions back."""
        ...

    async def lookup(self, topic: str, partition: int, offsets: Collection[int]) -> dict[int, Record]:
        """The records at these offsets, at which records were seen before; where there is none any more, it is absent.

        Raises:
            NotFound: there is no such partition.
            Unavailable: the broker does not answer.
        """
        ...

    def own(self, name: str) -> AbstractAsyncContextManager[Owner]:
        """Become the one owner called `name`, fencing any previous."""
        ...
