"""Checkpoints of what an owner knows of its partition of the states: restoring reads the latest and what came after it.

A checkpoint is a base, which is the whole index in some parts, and the changes since, each a record on a topic of its own. Only the owner
writes them, fenced as its states are. Where the base begins is the committed offset of a group without members.
A checkpoint is a cache: one that is not whole, of other logs, or not what the state topic has there, is left aside, and the
states are restored from their beginning.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from dyff.bus import port, topics
from dyff.consumers.aggregator.index import ENTRY_BYTES, Index

log = structlog.get_logger()

GROUP = "dyff.aggregator.checkpoints"

EVERY = 10_000
"""Records of the state topic, after which an owner writes a checkpoint: about what a restart reads, half a second's worth."""

PART_BYTES = 500_000
"""A broker's default limit is 1 MB."""

BASE_SHARE = 4
"""A new base is written when the changes since the last one come to this part of it, so that writing costs little and reading, too."""

SMALLEST_BASE = 50_000
"""Entities. The base is taken to be of at least so many."""

_AT_ONCE = 8
_BATCH = 16
_WAIT_S = 1.0
_FORM = 1


class Anchor(msgspec.Struct, frozen=True, gc=False):
    """A record of the state topic that must still be there, or one that lies among others that are."""

    offset: int
    source: int
    key: bytes


class Known(msgspec.Struct, frozen=True):
    """What is known but for the index.

    `events`, `states`: epochs of the topics. `upto`: the next offset of the state topic. `source`, `event_id`: of the highest
    event; None: none. `anchors`: some of the last records below `upto`.
    """

    events: str
    states: str
    upto: int
    source: int | None
    event_id: str
    anchors: tuple[Anchor, ...]


class Part(msgspec.Struct, frozen=True):
    """One record. `step`: grows with each base or changes of a partition; `follows`: the step that changes are of, None: a base.

    `number` of `parts`: from 0. `checksum`: of `entries`, CRC-32.
    """

    form: int
    step: int
    follows: int | None
    number: int
    parts: int
    checksum: int
    known: Known
    entries: bytes


class Checkpoint(msgspec.Struct):
    """A checkpoint as read. `start`: offset of its base. `changes`: entries after the base, `steps`: in so many steps."""

    start: int
    step: int
    known: Known
    index: Index
    changes: int = 0
    steps: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Part)


async def read(bus: port.Bus, partition: int) -> Checkpoint | None:
    """The latest checkpoint of a partition that is whole; None: there is none."""
    start = (await bus.committed(GROUP, topics.CHECKPOINTS)).get(partition)
    held = (await bus.ranges(topics.CHECKPOINTS))[partition]
    if start is None or not held.first <= start < held.end:
        return None
    assembly = Assembly()
    async with bus.read(topics.CHECKPOINTS, partition, start) as reader:
        while reader.position < held.end:
            for record in await reader.poll(_BATCH, _WAIT_S):
                if record.offset < held.end:
                    assembly.add(record)
    return assembly.checkpoint


class Assembly:
    """Puts a checkpoint together from records in order. What does not fit is left out, and with it all that follows on it."""

    def __init__(self) -> None:
        self.checkpoint: Checkpoint | None = None
        self._parts: list[Part] = []
        self._start = 0

    def add(self, record: port.Record) -> None:
        """The next record."""
        part = _decoded(record)
        if part is None:
            self._parts = []
            return
        if part.number != len(self._parts) or (self._parts and part.step != self._parts[0].step):
            self._parts = []
        if part.number == len(self._parts):
            self._start = self._start if self._parts else record.offset
            self._parts.append(part)
        if len(self._parts) == part.parts:
            parts, self._parts = self._parts, []
            try:
                self._finish(parts)
            except ValueError as error:
                log.warning("checkpoint-damaged", partition=record.partition, offset=record.offset, error=str(error))

    def _finish(self, parts: Sequence[Part]) -> None:
        last = parts[-1]
        if last.follows is None:
            self.checkpoint = Checkpoint(self._start, last.step, last.known, Index.loaded(part.entries for part in parts))
        elif self.checkpoint is not None and last.follows == self.checkpoint.step:
            for part in parts:
                self.checkpoint.index.apply(part.entries)
                self.checkpoint.changes += len(part.entries) // ENTRY_BYTES
            self.checkpoint.step, self.checkpoint.known = last.step, last.known
            self.checkpoint.steps += 1


class Writer:
    """Writes the checkpoints of one partition, for as long as it is owned."""

    def __init__(self, owner: port.Owner, partition: int, latest: Checkpoint | None) -> None:
        """`latest`: from which the states were restored; None: from their beginning."""
        self._owner, self._partition = owner, partition
        self._step: int | None = None
        self._start = self._changes = self._steps = 0
        if latest is not None:
            self._step, self._start, self._changes, self._steps = latest.step, latest.start, latest.changes, latest.steps

    async def write(self, index: Index, known: Known) -> None:
        """Write the changes since the last time, or all where they have become many. The index must not change meanwhile.

        Raises:
            Fenced, OutcomeUnknown, Unavailable: see `Owner.append`.
        """
        if self._step is None or self._changes + index.changes > max(len(index), SMALLEST_BASE) // BASE_SHARE:
            await self._write_base(index, known)
        else:
            await self._write_changes(index, known)

    async def _write_base(self, index: Index, known: Known) -> None:
        pieces = list(index.dumped(PART_BYTES))
        messages = self._messages("base", pieces, known, None)
        offsets: list[int] = []
        while batch := list(itertools.islice(messages, _AT_ONCE)):
            offsets += [each.offset for each in await self._owner.append(topics.CHECKPOINTS, batch)]
        await self._owner.append(topics.CHECKPOINTS, [], self._commit(offsets[0]))
        self._step, self._start, self._changes, self._steps = known.upto, offsets[0], 0, 0

    async def _write_changes(self, index: Index, known: Known) -> None:
        number, entries = index.changes, index.take_changes()
        size = PART_BYTES // ENTRY_BYTES * ENTRY_BYTES
        pieces = [entries[start : start + size] for start in range(0, len(entries), size)] or [b""]
        messages = list(self._messages(f"changes-{self._steps}", pieces, known, self._step))
        await self._owner.append(topics.CHECKPOINTS, messages, self._commit(self._start))  # again: unused offsets expire on Kafka
        self._step, self._changes, self._steps = known.upto, self._changes + number, self._steps + 1

    def _commit(self, start: int) -> port.Commit:
        return port.Commit(GROUP, topics.CHECKPOINTS, self._partition, start)

    def _messages(self, kind: str, pieces: Sequence[bytes], known: Known, follows: int | None) -> Iterator[port.Message]:
        """Keys are those of the base before and its changes, so that compaction removes them."""
        for number, piece in enumerate(pieces):
            part = Part(_FORM, known.upto, follows, number, len(pieces), zlib.crc32(piece), known, piece)
            yield port.Message(f"{kind}-{number}".encode(), _ENCODER.encode(part), partition=self._partition)


def _decoded(record: port.Record) -> Part | None:
    try:
        part = _DECODER.decode(record.value or b"")
    except (msgspec.DecodeError, ValueError) as error:
        log.warning("checkpoint-undecodable", partition=record.partition, offset=record.offset, error=str(error))
        return None
    if part.form != _FORM:
        return None  # another release's, which is not wrong
    if part.checksum != zlib.crc32(part.entries):
        log.warning("checkpoint-damaged", partition=record.partition, offset=record.offset, error="its checksum is wrong")
        return None
    return part
