"""The folded states of one partition: restored from the state topic, which also keeps what does not fit into memory.

In memory is only, for each entity, where its newest state is; and the states that were needed lately.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Position

log = structlog.get_logger()

RECENT = 4096
"""So many decoded states are kept in memory."""

_BATCH = 1000
_WAIT_S = 1.0
_PATIENCE = 30


class Newest(msgspec.Struct, frozen=True):
    """Where an entity's newest state is. `source`: offset of its last event. `offset`: of the record on the state topic."""

    source: int
    offset: int


class States:
    """What the owner of a partition knows of its entities."""

    def __init__(self, bus: port.Bus, partition: int, epoch: str) -> None:
        """`epoch`: of the events topic: whatever was folded from another log is refused."""
        self.partition = partition
        self.index: dict[bytes, Newest] = {}
        self.highest: envelope.Heading | None = None
        self._stale: dict[bytes, None] = {}
        self._bus, self._epoch = bus, epoch
        self._recent: OrderedDict[bytes, folding.State] = OrderedDict()

    @property
    def stale(self) -> list[bytes]:
        """Entities whose last record on the topic is not their newest state."""
        return list(self._stale)

    def restore(self, record: port.Record) -> None:
        """Take a record of the state topic into account, in the topic's order.

        Raises:
            LogDiverged: it was folded from another log.
            NewerSchema: a newer release wrote it.
        """
        try:
            heading = envelope.heading(record)
        except ValueError as error:
            log.error("state-undecodable", partition=record.partition, offset=record.offset, **errors.details(error))
            if record.key in self.index:
                self._stale[record.key] = None
            return
        self._require_ours(record, heading.source)
        if self.highest is None or heading.source.offset > self.highest.source.offset:
            self.highest = heading
        if heading.kind is None:
            return
        known = self.index.get(record.key)
        if known is not None and heading.source.offset < known.source:
            self._stale[record.key] = None
        else:
            self.index[record.key] = Newest(heading.source.offset, record.offset)
            self._stale.pop(record.key, None)

    def note(self, message: port.Message, offset: int) -> None:
        """We wrote `message` at `offset` of the state topic."""
        self.restore(port.Record(topics.STATE, self.partition, offset, 0, message.key, message.value, message.headers))

    def keep(self, states: Mapping[bytes, folding.State]) -> None:
        """These are the newest ones, decoded; those that were not needed for longest are let go."""
        for key, state in states.items():
            self._recent[key] = state
            self._recent.move_to_end(key)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    async def get(self, key: bytes) -> folding.State | None:
        """The newest state; None: there is no such entity."""
        if key not in self.index:
            return None
        known = self._recent.get(key)
        if known is not None:
            return known
        record = await self._record(key)
        try:
            return envelope.state(record)
        except ValueError as error:
            raise errors.LogDiverged(f"the state at {topics.STATE}/{self.partition}@{record.offset} is corrupt: {error}") from error

    async def message(self, key: bytes) -> port.Message:
        """The newest state as it was written."""
        record = await self._record(key)
        return port.Message(record.key, record.value, record.headers, record.partition)

    async def _record(self, key: bytes) -> port.Record:
        offset = self.index[key].offset
        record = await _read_one(self._bus, topics.STATE, self.partition, offset)
        if record is None or record.key != key:
            raise errors.LogDiverged(f"the newest state of {key.decode()} is not at {topics.STATE}/{self.partition}@{offset} any more")
        return record

    def _require_ours(self, record: port.Record, source: Position) -> None:
        if (source.epoch, source.partition) != (self._epoch, self.partition):
            raise errors.LogDiverged(
                f"{record.topic}/{record.partition}@{record.offset} was folded from {source.text()}, but the events are log {self._epoch};"
                " states and events must be restored together"
            )


async def restore(bus: port.Bus, partition: int, end: int, epoch: str) -> States:
    """The states of a partition as of the offset `end` of the state topic: of each entity the one with the highest source.

    Raises:
        LogDiverged, NewerSchema: see `States.restore`.
    """
    states = States(bus, partition, epoch)
    first = (await bus.ranges(topics.STATE))[partition].first
    async with bus.read(topics.STATE, partition, first) as reader:
        while reader.position < end:
            for record in await reader.poll(_BATCH, _WAIT_S):
                if record.offset < end:
                    states.restore(record)
    return states


async def require_same_log(bus: port.Bus, partition: int, held: port.Range, states: States) -> None:
    """Make sure that the event behind the highest recorded position is still the one that was folded.

    Raises:
        LogDiverged: it is another one, or gone: new commands would get offsets that count as folded, and be swallowed.
    """
    if states.highest is None or states.highest.source.offset < held.first:
        return
    offset, want = states.highest.source.offset, states.highest.event_id
    if offset >= held.end:
        raise errors.LogDiverged(f"{topics.EVENTS}/{partition} ends at {held.end}, but was folded up to {offset}: it lost its end")
    if want:
        record = await _read_one(bus, topics.EVENTS, partition, offset)
        if record is None or envelope.event_id(record) != want:
            raise errors.LogDiverged(f"the event at {topics.EVENTS}/{partition}@{offset} is not {want}, which was folded there")


async def _read_one(bus: port.Bus, topic: str, partition: int, offset: int) -> port.Record | None:
    """The record at an offset; None: there is a hole.

    Raises:
        Unavailable: the bus does not give it.
    """
    async with bus.read(topic, partition, offset) as reader:
        for _ in range(_PATIENCE):
            for record in await reader.poll(1, _WAIT_S):
                return record if record.offset == offset else None
            if reader.position > offset:
                return None
    raise errors.Unavailable(f"{topic}/{partition}@{offset} cannot be read")
