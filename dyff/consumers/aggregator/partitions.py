"""One partition of the aggregator while this process owns it: folds the events batch by batch and writes the states.

A transaction costs the broker some round trips, whatever its size. So while one is being written, the next one is folded on top of
it: under load, transactions become larger and folding is not held up; without load, each batch is written immediately. Transactions
are written in order, one at a time, and after an error nothing that was folded on top is written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import suppress

import anyio
import anyio.lowlevel
import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import checkpoints, restoring, spans
from dyff.consumers.common import group_consumer
from dyff.entities import folding
from dyff.kernel import degradation, errors
from dyff.kernel.positions import Epochs, Position
from dyff.kernel.telemetry import log_fields, metrics, names, traces

log = structlog.get_logger()

GROUP = "dyff.aggregator"
QUARANTINED = "quarantined"
"""Counted as an outcome, next to those of the fold."""
QUARANTINE_TROUBLE = "quarantine"
"""Stays until the process ends: a person must look at the event, and nothing here can notice that."""

LOOK_S = 1.0
"""Interval at which an owner without writes checks whether another process wrote."""

MAX_MESSAGES = 2000
MAX_BYTES = 4 * 2**20
"""A transaction with so many messages or bytes accepts no more batches: folding waits until it is being written."""

_YIELD_EVERY = 64
"""Number of events (about a millisecond) after which folding yields to the writing task."""

POISON = (TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""Exceptions that folding can raise for data of an unexpected form."""


def fold_one(
    record: port.Record, state: folding.State | None, epochs: Epochs, version: int
) -> tuple[folding.State | None, folding.Outcome, port.Message | None]:
    """The state after the event in `record`, the outcome, and the message to write, which is None if nothing has to be written.

    `epochs`: of the events. `version`: of the fold, at this event.

    Raises:
        NewerSchema: a newer release wrote the event.
        One of `POISON`: the event cannot be folded; it belongs in quarantine.
    """
    event = envelope.event(record, epochs.at(record.partition, record.offset), epochs.before)
    after, outcome = folding.fold(state, event, version)
    if after is None or outcome is folding.Outcome.REDELIVERED:
        return after, outcome, None
    message = envelope.state_message(after, event.command.entity_id)
    if not envelope.fits(message):
        # No log has ever taken such a state, so this holds for every version. It must not stop the partition.
        after, outcome = folding.refused(state, event, version)
        if after is None:
            return None, outcome, None
        message = envelope.state_message(after, event.command.entity_id)
    # The bytes are kept because the next state contains their hash.
    return msgspec.structs.replace(after, encoded=None if after.entity is None else message.value), outcome, message


class Transaction(msgspec.Struct):
    """The result of folding consecutive events.

    `messages`: the states, with their `headings`. `size`: of their values, in bytes. `newest`: the last state of each entity.
    `position`: the next offset of the events. `version`: of the fold, from there on. `seen`: the last record. `recorded`: the last
    event that left a state. `newer`: set if the last batch was cut off at a record of a newer release. `spans`: to be recorded when the
    transaction is durable.
    """

    position: int
    messages: list[port.Message] = []
    headings: list[envelope.Heading] = []
    size: int = 0
    newest: dict[bytes, port.Message] = {}
    quarantined: list[port.Message] = []
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    applied: int = 0
    seen: port.Record | None = None
    recorded: Position | None = None
    newer: errors.NewerSchema | None = None
    version: int = 1
    spans: spans.Folded = msgspec.field(default_factory=spans.Folded)

    def extend(self, later: Transaction) -> None:
        """Append the transaction that was folded right after this one, on top of it."""
        self.position, self.version = later.position, later.version
        self.messages += later.messages
        self.headings += later.headings
        self.size += later.size
        self.newest |= later.newest
        self.quarantined += later.quarantined
        self.outcomes += later.outcomes
        self.applied += later.applied
        self.seen = later.seen or self.seen
        self.recorded = later.recorded or self.recorded
        self.newer = later.newer
        self.spans.extend(later.spans)

    @property
    def is_full(self) -> bool:
        """Whether it accepts no more batches."""
        return len(self.messages) + len(self.quarantined) >= MAX_MESSAGES or self.size >= MAX_BYTES


class PendingWrites:
    """Connects the folding task to the writing task: holds the transaction being written, and the next one."""

    def __init__(self) -> None:
        self._writing: Transaction | None = None
        self._next: Transaction | None = None
        self._put, self._taken = anyio.Event(), anyio.Event()

    def newest(self, key: bytes) -> port.Message | None:
        """The newest state of an entity that is not written yet; None if there is none."""
        for each in (self._next, self._writing):
            if each is not None and (found := each.newest.get(key)) is not None:
                return found
        return None

    async def put(self, done: Transaction) -> None:
        """Add a transaction that was folded on top of all previous ones; waits while the next transaction is full."""
        if self._next is None:
            self._next = done
        else:
            self._next.extend(done)
        self._put.set()
        while self._next is not None and self._next.is_full:
            self._taken = anyio.Event()
            await self._taken.wait()

    async def take(self) -> AsyncIterator[Transaction]:
        """Yield transactions without end. Requesting the next one means that the previous one is written."""
        while True:
            self._writing = None
            while self._next is None:
                self._put = anyio.Event()
                await self._put.wait()
            self._writing, self._next = self._next, None
            self._taken.set()
            yield self._writing


class Counted:
    """Counts what all partitions of one process fold."""

    def __init__(self, measured: metrics.Metrics) -> None:
        """Every outcome is there from the start, so that the first one of its kind is seen as an increase."""
        self._events, self.writes = measured.counter(names.FOLDED), measured.histogram(names.FOLD_WRITE)
        for outcome in (*folding.Outcome, None):
            self._events.cell(outcome.value if outcome is not None else QUARANTINED)

    def written(self, done: Transaction) -> None:
        """Count the events of a transaction that is durable."""
        self._events.add(folding.Outcome.APPLIED.value, by=done.applied)
        for outcome, number in done.outcomes.items():
            self._events.add(outcome, by=number)


class OwnedPartition:
    """Folds and writes one partition. After any error it must not be used any more: the partition has to be taken over again."""

    def __init__(
        self,
        bus: port.Bus,
        owner: port.Owner,
        states: restoring.States,
        end: int,
        troubles: degradation.Troubles | None = None,
        tracer: traces.Tracer = traces.SILENT,
        counted: Counted | None = None,
    ) -> None:
        """`end`: offset up to which the states are restored. `troubles`: where quarantined events are reported."""
        self._tracer = tracer
        self._counted = counted or Counted(metrics.Metrics())
        self._troubles = troubles or degradation.Troubles()
        self._bus, self._owner, self._states = bus, owner, states
        self._epochs, self._partition = states.epochs, states.partition
        self._appending = anyio.Lock()
        self._known, self._spacing = end, 0
        self._version = states.fold_version
        self._pending = PendingWrites()
        self._checkpoints = checkpoints.Writer(owner, states.partition, states.checkpoint)

    async def republish(self, keys: Sequence[bytes]) -> None:
        """Write the newest state of these entities again, because an older one follows it on the topic."""
        if keys:
            messages = list((await self._states.newest(keys)).values())
            await self._append(messages, [self._heading(each) for each in messages], None)

    async def checkpoint(self) -> None:
        """Write a checkpoint for the next owner if enough records have been added since the last one."""
        if self._states.since < checkpoints.EVERY:
            return
        states_epoch = (await self._bus.topic(topics.STATE)).epoch
        await self._checkpoints.write(self._states.index, self._states.known(states_epoch, self._known))
        self._states.since = 0

    async def fold(self, batch: group_consumer.Batch) -> None:
        """Fold a batch for the next transaction; waits while that transaction is full."""
        done = await self._folded(batch)
        await self._pending.put(done)
        if done.newer is not None:
            await anyio.sleep_forever()  # until `write` raises it, after it has written what was folded before

    async def write(self, share: group_consumer.Share) -> None:
        """Write folded transactions, each with its states, its last position and its commit together."""
        async for done in self._pending.take():
            await self._write(done)
            share.done = done.position

    async def _folded(self, batch: group_consumer.Batch) -> Transaction:
        done, began_ns = Transaction(batch.position, version=self._version), time.time_ns()
        keys = {each.key for each in batch.records}
        known = {key: message for key in keys if (message := self._pending.newest(key)) is not None}
        known |= await self._states.newest(keys - known.keys())
        for number, record in enumerate(batch.records, 1):
            key = record.key
            message = done.newest.get(key) or known.get(key)
            # Outside the `try`, since a corrupt state is not the event's fault.
            state = None if message is None else self._states.decoded(message)
            if number % _YIELD_EVERY == 0:
                await anyio.lowlevel.checkpoint()
            try:
                if not self._is_marker(record, done):
                    self._fold_one(record, state, done, began_ns)
            except errors.NewerSchema as newer:
                done.newer = newer
                break
            except POISON as error:
                reason = f"{type(error).__name__}: {error}"
                about = log_fields.of_record(record.key, record.headers).fields()
                log.error("event-quarantined", partition=record.partition, offset=record.offset, reason=reason, **about)
                done.quarantined.append(envelope.quarantine_message(record, reason))
                done.outcomes[QUARANTINED] += 1
            done.seen = record
        return done

    def _is_marker(self, record: port.Record, done: Transaction) -> bool:
        """Whether a record is a marker of the fold's version, which then applies to the events after it."""
        version = envelope.marker(record)
        if version is None:
            return False
        if version > self._version:
            log.info("fold-version", partition=record.partition, offset=record.offset, version=version)
            self._version = done.version = version
        return True

    def _fold_one(self, record: port.Record, state: folding.State | None, done: Transaction, began_ns: int) -> None:
        after, outcome, message = fold_one(record, state, self._epochs, self._version)
        if self._tracer.recording:
            done.spans.extend(spans.note(self._tracer, record, state, after, outcome, began_ns))
        if after is not None and message is not None:
            done.messages.append(message)
            done.size += len(message.value or b"")
            done.headings.append(envelope.Heading(after.source, after.event_id, after.kind, after.fold_version))
            # Not the state itself: keeping the objects costs more, in CPU caches and garbage collection, than decoding the few that
            # are needed again.
            done.newest[record.key], done.recorded = message, after.source
        if outcome is folding.Outcome.APPLIED:
            done.applied += 1
        else:
            done.outcomes[outcome.value] += 1

    async def _write(self, done: Transaction) -> None:
        if done.quarantined:
            await self._owner.append(topics.QUARANTINE, done.quarantined)
            origin = dict(done.quarantined[-1].headers)["dyff-quarantine-origin"].decode("utf-8", "replace")
            self._troubles.report(
                QUARANTINE_TROUBLE, f"the event {origin} cannot be folded; the topic {topics.QUARANTINE} has it, with the reason"
            )
        position = done.position if done.newer is None else done.seen.offset + 1 if done.seen else None
        if position is not None:
            self._record_progress(done, position)
            with self._counted.writes.timed():
                await self._append(done.messages, done.headings, port.Commit(GROUP, topics.EVENTS, self._partition, position))
            self._counted.written(done)
            spans.record(self._tracer, done.spans, len(done.messages), self._partition)
            await self.checkpoint()
        log.debug("folded", partition=self._partition, offset=position, applied=done.applied, **done.outcomes)
        if done.newer is not None:
            raise done.newer

    def _record_progress(self, done: Transaction, position: int) -> None:
        """Add a progress record with the present position if the last event left no state, or if a gap in the offsets was passed."""
        last = Position(self._epochs.at(self._partition, position - 1), self._partition, position - 1)
        known = self._states.highest
        if done.recorded == last or (known is not None and known.source.offset >= last.offset):
            return
        at_last = done.seen is not None and done.seen.offset == last.offset
        event_id = envelope.event_id(done.seen) if done.seen and at_last else ""
        done.messages.append(envelope.progress_message(last, event_id, done.version))
        done.headings.append(envelope.Heading(last, event_id, None, done.version))

    def _heading(self, message: port.Message) -> envelope.Heading:
        return envelope.heading(port.Record(topics.STATE, self._partition, -1, 0, message.key, message.value, message.headers))

    async def watch(self) -> None:
        """Check the state topic while we write nothing: it must contain only our own records.

        Raises:
            Fenced: another process wrote there. Taking the partition over again repairs it.
        """
        while True:
            await anyio.sleep(LOOK_S)
            with suppress(errors.Unavailable):  # try again: `write` fails on its own if the broker stays unavailable
                async with self._appending:
                    await self._require_none_before((await self._bus.ranges(topics.STATE))[self._partition].end)

    async def _require_none_before(self, end: int) -> None:
        """Make sure that no other process wrote between the known end and `end`. Offsets that the log itself uses are not read."""
        if end - self._known > self._spacing:
            await self._require_none(self._known, end)
            self._known, self._spacing = end, 0

    async def _require_none(self, start: int, end: int, ours: Container[int] = ()) -> None:
        async with self._bus.read(topics.STATE, self._partition, start) as reader:
            while reader.position < end:
                for record in await reader.poll(group_consumer.BATCH, group_consumer.WAIT_S):
                    if record.offset < end and record.offset not in ours:
                        raise errors.Fenced(f"{record.topic}/{record.partition}@{record.offset} was written by somebody else")

    async def _append(self, messages: Sequence[port.Message], headings: Sequence[envelope.Heading], commit: port.Commit | None) -> None:
        async with self._appending:
            positions = await self._owner.append(topics.STATE, messages, commit)
            if not positions:
                return
            first, last = positions[0].offset, positions[-1].offset
            await self._require_none_before(first)
            if last - first >= len(positions):
                await self._require_none(first, last, {each.offset for each in positions})
            self._known, self._spacing = last + 1, self._owner.spacing
            self._states.note(messages, headings, [each.offset for each in positions])
