"""Checkpoints of an owner's knowledge of its state partition: restoring reads the latest one and the states written after it.

A checkpoint consists of a base (the whole index, split into parts) and the changes since, all as records on a topic of their own.
Only the owner writes them, fenced in the same way as its states. The committed offset of a group without members is the start of
the base.

A checkpoint is a cache. If it is incomplete, belongs to other logs or does not match the state topic, it is ignored, and the states
are restored from the beginning.
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
"""Number of state records after which an owner writes a checkpoint. A restart reads about that many, which takes half a second."""

PART_BYTES = 500_000
"""Maximum size of a part. A broker's default limit is 1 MB."""

BASE_SHARE = 4
"""A new base is written when the changes exceed 1/`BASE_SHARE` of the index, so that both writing and reading stay cheap."""

SMALLEST_BASE = 50_000
"""Number of entities that a base is assumed to have at least, when the changes are compared with it."""

_AT_ONCE = 8
_BATCH = 16
_WAIT_S = 1.0
_FORM = 1


class Anchor(msgspec.Struct, frozen=True, gc=False):
    """A record of the state topic that identifies the log of a checkpoint. Compaction can remove some anchors, but never replaces them."""

    offset: int
    source: int
    key: bytes


class Known(msgspec.Struct, frozen=True):
    """The content of a checkpoint apart from the index.

    `events`, `states`: epochs of the topics. `upto`: the next offset of the state topic. `source`, `event_id`: of the highest
    event; `source` is None if there is none. `anchors`: some of the last records below `upto`.
    `fold_version`: in force after the highest event.
    """

    events: str
    states: str
    upto: int
    source: int | None
    event_id: str
    anchors: tuple[Anchor, ...]
    fold_version: int = 1


class Part(msgspec.Struct, frozen=True):
    """One record of a checkpoint.

    `step`: increases with each base or set of changes of a partition. `follows`: the step that the changes apply to; None for a base.
    `number`: from 0, out of `parts`. `checksum`: CRC-32 of `entries`.
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
    """A checkpoint as read. `start`: offset of its base. `changes`: number of entries after the base, in `steps` steps."""

    start: int
    step: int
    known: Known
    index: Index
    changes: int = 0
    steps: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Part)


async def read(bus: port.Bus, partition: int) -> Checkpoint | None:
    """The latest complete checkpoint of a partition; None if there is none."""
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
    """Assembles a checkpoint from records in order. A step that does not fit is skipped, and so are the steps that follow it."""

    def __init__(self) -> None:
        self.checkpoint: Checkpoint | None = None
        self._parts: list[Part] = []
        self._start = 0

    def add(self, record: port.Record) -> None:
        """Add the next record."""
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
    """Writes the checkpoints of one partition while it is owned."""

    def __init__(self, owner: port.Owner, partition: int, latest: Checkpoint | None) -> None:
        """`latest`: the checkpoint from which the states were restored; None if they were restored from the beginning."""
        self._owner, self._partition = owner, partition
        self._step: int | None = None
        self._start = self._changes = self._steps = 0
        if latest is not None:
            self._step, self._start, self._changes, self._steps = latest.step, latest.start, latest.changes, latest.steps

    async def write(self, index: Index, known: Known) -> None:
        """Write the changes since the last checkpoint, or a new base if there are many. The index must not change meanwhile.

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
        """Messages with the same keys as the previous base and its changes, so that compaction removes those."""
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
        return None  # written by another release, which is not an error
    if part.checksum != zlib.crc32(part.entries):
        log.warning("checkpoint-damaged", partition=record.partition, offset=record.offset, error="its checksum is wrong")
        return None
    return part
