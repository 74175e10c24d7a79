"""The tail of the state topic that all streams of a server share: the last changes, in memory."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.entities import codecs, registry
from dyff.kernel import backoff, errors, positions

log = structlog.get_logger()

MAX_CHANGES = 10_000
"""Changes that are remembered."""

WINDOW = 5_000
"""Records of all partitions that are read again when the first stream begins, so that streams continue after a restart of the server."""

BATCH = 500
WAIT_S = 5.0
START_S = 10.0
"""How long the first stream waits for the tail."""

_TEXT_CHARS = 300


class Change(msgspec.Struct, frozen=True, gc=False):
    """The state of an entity after a change. `partition`, `offset`: of its record. `position`: for the header Dyff-Position of reads."""

    partition: int
    offset: int
    kind: str
    plural: str
    id: str
    account: str
    status: str
    time: str
    position: str
    reason: str | None = None
    name: str | None = None


class _Fields(msgspec.Struct):
    """What a change has of an entity."""

    account: str = ""
    status: str = ""
    reason: str | None = None
    name: str | None = None
    lastTransitionTime: str | None = None
    creationTime: str | None = None


_FIELDS = msgspec.json.Decoder(_Fields)


class TooOld(Exception):
    """Some of the changes that are asked for are not remembered any more."""


class Tail:
    """The last changes, by number.

    `floor`: by partition, the first offset from which all changes are remembered. `reached`: the next one to read. `moved`: is set, and
    replaced, when there is something new.
    """

    def __init__(self, bus: port.Bus) -> None:
        """It reads nothing before it is open and `ready` is called."""
        self._bus = bus
        self._group: anyio.abc.TaskGroup | None = None
        self._changes: deque[Change] = deque()
        self._first = 0
        self._is_started = False
        self._current = anyio.Event()
        self.is_stopping = False
        self.moved = anyio.Event()
        self.topic = port.Topic(topics.STATE, 0, True, "")
        self.floor: dict[int, int] = {}
        self.reached: dict[int, int] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Make it usable during the block."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self.stop()
                self._group = None
                group.cancel_scope.cancel()

    def stop(self) -> None:
        """End all streams, because the server stops."""
        self.is_stopping = True
        self._wake()

    async def ready(self) -> None:
        """Return when all that is in the log now has been read.

        Raises:
            NotReady: it takes too long, or the server is starting or ending.
        """
        if self._group is None or self.is_stopping:
            raise errors.NotReady("the server is starting or ending")
        if not self._is_started:
            self._is_started = True
            self._group.start_soon(self._run)
        with anyio.move_on_after(START_S) as waiting:
            await self._current.wait()
        if waiting.cancelled_caught:
            raise errors.NotReady("the log cannot be read now; try again")

    def position(self, ends: Mapping[int, int]) -> str:
        """A position as text, from which a stream can go on."""
        return positions.header(self.topic.epoch, ends)

    def begin(self, since: str) -> dict[int, int]:
        """The offsets of a position, which has the form of one.

        Raises:
            TooOld: it is one of another log, or too old.
        """
        epoch, ends = positions.parse_header(since)
        if epoch != self.topic.epoch or ends.keys() != self.floor.keys():
            raise TooOld
        if any(not self.floor[partition] <= end <= self.reached[partition] for partition, end in ends.items()):
            raise TooOld
        return ends

    @property
    def end(self) -> int:
        """The number of the next change."""
        return self._first + len(self._changes)

    @property
    def first(self) -> int:
        """The number of the first change that is remembered."""
        return self._first

    def after(self, number: int) -> list[Change]:
        """The changes from `number` on, at most `BATCH`.

        Raises:
            TooOld: the first of them is not remembered any more.
        """
        if number < self._first:
            raise TooOld
        start = number - self._first
        return [self._changes[place] for place in range(start, min(start + BATCH, len(self._changes)))]

    async def _run(self) -> None:
        """Read until the server ends; after an outage, from where it was."""
        delays = backoff.delays(0.2, ceiling_s=10.0, jitter=random.Random())
        while True:
            try:
                await self._read()
            except* (errors.RetryLater, errors.OutcomeUnknown) as group:
                log.warning("changes-not-read", error=str(group.exceptions[0]))
            except* Exception as group:  # of whatever kind: streams are no reason to end the server
                log.error("changes-lost", exc_info=group)
                self._forget()
            await anyio.sleep(next(delays))

    async def _read(self) -> None:
        if not self.reached:
            self.topic = await self._bus.topic(topics.STATE)
            held = await self._bus.ranges(topics.STATE)
            window = WINDOW // max(1, len(held))
            self.floor = {partition: max(each.first, each.end - window) for partition, each in held.items()}
            self.reached = dict(self.floor)
            ends = {partition: each.end for partition, each in held.items()}
        else:
            ends = {}
        async with anyio.create_task_group() as group:
            for partition, offset in self.reached.items():
                group.start_soon(self._follow, partition, offset)
            while any(self.reached[partition] < end for partition, end in ends.items()):
                await self.moved.wait()
            self._current.set()

    async def _follow(self, partition: int, offset: int) -> None:
        async with self._bus.read(topics.STATE, partition, offset) as reader:
            while True:
                records = await reader.poll(BATCH, WAIT_S)
                for record in records:
                    self._take(record)
                if self.reached[partition] != reader.position:
                    self.reached[partition] = reader.position
                    self._wake()

    def _take(self, record: port.Record) -> None:
        change = change_of(record)
        if change is not None:
            self._changes.append(change)
        while len(self._changes) > MAX_CHANGES:
            gone = self._changes.popleft()
            self._first += 1
            self.floor[gone.partition] = gone.offset + 1

    def _forget(self) -> None:
        """Begin again: the log does not have what comes next."""
        self._first += len(self._changes) + 1  # so that every stream sees that something is missing
        self._changes.clear()
        self.reached, self.floor = {}, {}
        self._current = anyio.Event()
        self._wake()

    def _wake(self) -> None:
        moved, self.moved = self.moved, anyio.Event()
        moved.set()


def change_of(record: port.Record) -> Change | None:
    """The change that a record of the state topic is; None for what is none, or is of a kind that this release does not know."""
    try:
        heading, body = envelope.heading(record), envelope.body(record)
        row = registry.BY_KIND.get(heading.kind or "")
        if row is None or body is None:
            return None
        fields = _FIELDS.decode(body)
    except (ValueError, errors.NewerSchema):
        return None
    source = heading.source
    return Change(
        partition=record.partition, offset=record.offset, kind=row.name, plural=row.plural, id=record.key.decode(errors="replace"),
        account=fields.account, status=fields.status, time=fields.lastTransitionTime or fields.creationTime or "",
        position=positions.header(source.epoch, {source.partition: source.offset + 1}),
        reason=_short(fields.reason), name=_short(fields.name),
    )  # fmt: skip


def _short(text: str | None) -> str | None:
    return None if text is None else text[:_TEXT_CHARS]


def data(change: Change) -> bytes:
    """A change as JSON for streams."""
    known = {field: getattr(change, field) for field in ("kind", "plural", "id", "account", "name", "status", "reason", "time", "position")}
    return codecs.encode(known)
