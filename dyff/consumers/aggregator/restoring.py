"""The folded states of one partition, restored from the state topic, which also stores the states that do not fit into memory.

Only the location of each entity's newest state and the recently used states are in memory. Restoring begins at the latest
checkpoint, so that it only costs reading the records after it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

import structlog

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import checkpoints
from dyff.consumers.aggregator.index import Index
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Epochs, Position
from dyff.kernel.telemetry import log_fields

log = structlog.get_logger()

RECENT_BYTES = 32 * 2**20
"""Maximum memory for recently used states."""

ANCHORS = 16

_OVERHEAD_BYTES = 800
"""Memory that a state takes in addition to its value."""

_BATCH = 1000
_WAIT_S = 1.0


class States:
    """The owner's knowledge of the entities of its partition."""

    def __init__(self, bus: port.Bus, partition: int, epochs: Epochs, checkpoint: checkpoints.Checkpoint | None = None) -> None:
        """`epochs`: of the events topic; states folded from another log are refused. `checkpoint`: to start from; None for the
        beginning.
        """
        self.partition, self.epochs = partition, epochs
        self.checkpoint = checkpoint
        self.index = Index() if checkpoint is None else checkpoint.index
        self.highest: envelope.Heading | None = None
        self.since = 0
        """Number of records since the last checkpoint."""
        self._stale: dict[bytes, None] = {}
        self._last: deque[tuple[int, int, bytes]] = deque(maxlen=ANCHORS)
        self._bus = bus
        self._recent: OrderedDict[bytes, port.Message] = OrderedDict()
        self._recent_bytes = 0
        if checkpoint is not None:
            known = checkpoint.known
            self._last.extend((each.offset, each.source, each.key) for each in known.anchors)
            if known.source is not None:
                at = Position(epochs.at(partition, known.source), partition, known.source)
                self.highest = envelope.Heading(at, known.event_id, None, known.fold_version)

    @property
    def fold_version(self) -> int:
        """The version of the fold that applies to the next event: the one that was in force at the last."""
        return 1 if self.highest is None else self.highest.fold_version

    @property
    def stale(self) -> list[bytes]:
        """Keys of entities whose last record on the topic is not their newest state."""
        return list(self._stale)

    def restore(self, record: port.Record) -> None:
        """Process a record of the state topic, in the topic's order.

        Raises:
            LogDiverged: the record was folded from another log.
            NewerSchema: a newer release wrote the record.
        """
        try:
            heading = envelope.heading(record)
        except ValueError as error:
            about = log_fields.of_record(record.key, record.headers).fields()
            log.error("state-undecodable", partition=record.partition, offset=record.offset, **errors.details(error), **about)
            if self.index.get(record.key) is not None:
                self._stale[record.key] = None
            return
        self._require_ours(record, heading.source)
        self._take(record.key, heading, record.offset)

    def note(self, messages: Sequence[port.Message], headings: Sequence[envelope.Heading], offsets: Sequence[int]) -> None:
        """Record that we wrote `messages`, with these `headings`, at `offsets` of the state topic."""
        for message, heading, offset in zip(messages, headings, offsets, strict=True):
            self._take(message.key, heading, offset)
            if heading.kind is not None:
                self._keep(message)

    def known(self, states_epoch: str, upto: int) -> checkpoints.Known:
        """The content of a checkpoint at `upto` of the state topic, apart from the index."""
        source, event_id = (None, "") if self.highest is None else (self.highest.source.offset, self.highest.event_id)
        anchors = tuple(checkpoints.Anchor(*each) for each in self._last)
        return checkpoints.Known(self.epochs.now, states_epoch, upto, source, event_id, anchors, self.fold_version)

    def _take(self, key: bytes, heading: envelope.Heading, offset: int) -> None:
        source = heading.source.offset
        self.since += 1
        self._last.append((offset, source, key))
        if self.highest is None or source > self.highest.source.offset:
            self.highest = heading
        if heading.kind is None:
            return
        if self.index.put(key, source, offset):
            self._stale.pop(key, None)
        else:
            self._stale[key] = None

    def _keep(self, message: port.Message) -> None:
        """Cache a message that is the newest of its key; the least recently used ones are evicted."""
        recent = self._recent
        known = recent.pop(message.key, None)
        if known is not None:
            self._recent_bytes -= _size(known)
        recent[message.key] = message
        self._recent_bytes += _size(message)
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= _size(recent.popitem(last=False)[1])

    async def newest(self, keys: Collection[bytes]) -> dict[bytes, port.Message]:
        """The newest state of each of these entities, as it was written. Entities that do not exist are not in the result.

        Raises:
            LogDiverged: a state is not at its recorded offset.
            Unavailable: the bus does not answer.
        """
        found: dict[bytes, port.Message] = {}
        absent: list[bytes] = []
        for key in keys:
            known = self._recent.get(key)
            if known is None:
                absent.append(key)
            else:
                found[key] = known
        for key, record in (await self._records(absent)).items():
            found[key] = port.Message(key, record.value, record.headers, self.partition)
        return found

    def decoded(self, message: port.Message) -> folding.State:
        """Decode a state that `newest` returned.

        Raises:
            LogDiverged: the state is corrupt.
        """
        try:
            state = envelope.state(port.Record(topics.STATE, self.partition, -1, 0, message.key, message.value, message.headers))
        except ValueError as error:
            key = message.key.decode("utf-8", "replace")
            raise errors.LogDiverged(f"the newest state of {key} in {topics.STATE}/{self.partition} is corrupt: {error}") from error
        assert state is not None  # a progress record has no entry in the index
        return state

    async def _records(self, keys: Sequence[bytes]) -> dict[bytes, port.Record]:
        """Read the records of these entities, as far as they exist, from the topic. They must match the index."""
        places = {key: place for key in keys if (place := self.index.get(key)) is not None}
        if not places:
            return {}
        there = await self._bus.lookup(topics.STATE, self.partition, {place.offset for place in places.values()})
        found: dict[bytes, port.Record] = {}
        for key, place in places.items():
            record = there.get(place.offset)
            if record is None or not _is(record, key, place.source):
                where = f"{topics.STATE}/{self.partition}@{place.offset}"
                raise errors.LogDiverged(f"the newest state of {key.decode('utf-8', 'replace')} is not at {where} any more")
            found[key] = record
        return found

    def _require_ours(self, record: port.Record, source: Position) -> None:
        if source.partition != self.partition or not self.epochs.has(source):
            raise errors.LogDiverged(
                f"{record.topic}/{record.partition}@{record.offset} was folded from {source.text()}, but the events are"
                f" log {self.epochs.now}; states and events must be restored together"
            )


async def restore(bus: port.Bus, partition: int, end: int, epochs: Epochs) -> States:
    """The states of a partition as of the offset `end` of the state topic: for each entity the one with the highest source.

    They are restored from a usable checkpoint and the records after it; without one, from all records of the topic.

    Raises:
        LogDiverged, NewerSchema: see `States.restore`.
    """
    first = (await bus.ranges(topics.STATE))[partition].first
    checkpoint = await _usable(bus, partition, port.Range(first, end), epochs.now)
    states = States(bus, partition, epochs, checkpoint)
    async with bus.read(topics.STATE, partition, first if checkpoint is None else checkpoint.known.upto) as reader:
        while reader.position < end:
            for record in await reader.poll(_BATCH, _WAIT_S):
                if record.offset < end:
                    states.restore(record)
    return states


async def _usable(bus: port.Bus, partition: int, held: port.Range, epoch: str) -> checkpoints.Checkpoint | None:
    """The latest checkpoint if it belongs to these logs and matches the state topic; otherwise None."""
    found = await checkpoints.read(bus, partition)
    if found is None:
        return None
    known = found.known
    ours = (known.events, known.states) == (epoch, (await bus.topic(topics.STATE)).epoch)
    if ours and held.first <= known.upto <= held.end and await _is_anchored(bus, partition, known.anchors):
        return found
    log.warning("checkpoint-left-aside", partition=partition, upto=known.upto, first=held.first, end=held.end, same_logs=ours)
    return None


async def _is_anchored(bus: port.Bus, partition: int, anchors: Sequence[checkpoints.Anchor]) -> bool:
    """Whether some of the anchors still exist, and none was replaced by another record."""
    there = await bus.lookup(topics.STATE, partition, [each.offset for each in anchors])
    return bool(there) and all(_is(there[each.offset], each.key, each.source) for each in anchors if each.offset in there)


def _is(record: port.Record, key: bytes, source: int) -> bool:
    try:
        return record.key == key and envelope.source(record).offset == source
    except ValueError:
        return False


def _size(message: port.Message) -> int:
    return len(message.value or b"") + _OVERHEAD_BYTES


async def require_same_log(bus: port.Bus, partition: int, held: port.Range, states: States) -> None:
    """Make sure that the event at the highest recorded position is still the one that was folded.

    Raises:
        LogDiverged: it is another event, or gone. New commands would get offsets that count as folded already, and would be lost.
    """
    if states.highest is None or states.highest.source.offset < held.first:
        return
    offset, want = states.highest.source.offset, states.highest.event_id
    if offset >= held.end:
        raise errors.LogDiverged(f"{topics.EVENTS}/{partition} ends at {held.end}, but was folded up to {offset}: it lost its end")
    if want:
        record = (await bus.lookup(topics.EVENTS, partition, [offset])).get(offset)
        if record is None or envelope.event_id(record) != want:
            raise errors.LogDiverged(f"the event at {topics.EVENTS}/{partition}@{offset} is not {want}, which was folded there")
