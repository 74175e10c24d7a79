"""One partition of the aggregator: taken over in an order that leaves no gap, then folded batch by batch.

The order (design: "Taking over a partition"): fence, read the committed offset and the end of the states, restore up to
that end, mend what a former owner left behind, make sure that the events are the ones that were folded, fold.

While one transaction is being written the next one is folded, on top of it (`handover`). They are written in order, one at a
time, and after an error nothing that was folded on top is.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress

import anyio
import anyio.lowlevel
import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.consumers import checkpoints, handover, loop, restoring
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Position

log = structlog.get_logger()

GROUP = "dyff.aggregator"
LOOK_S = 1.0
"""So often an owner that has nothing to write looks whether somebody else did."""

_TURN = 64
"""Events, about a millisecond, after which folding lets the writing go on."""

POISON = (TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""What folding data of an unforeseen form may raise."""


def owner_name(partition: int) -> str:
    """The name of the one writer of a state partition."""
    return f"dyff.aggregator-{partition}"


async def serve(bus: port.Bus, share: loop.Share) -> None:
    """Take a partition over and fold it until cancelled.

    Raises:
        Fenced: it was taken over by another, or another writes to its states.
        OutcomeUnknown: it must be taken over again.
        LogDiverged, NewerSchema: see `aggregator.run`.
    """
    partition = share.partition
    async with bus.own(owner_name(partition)) as owner:
        committed = (await bus.committed(GROUP, topics.EVENTS)).get(partition)
        end = (await bus.ranges(topics.STATE))[partition].end
        epoch = (await bus.topic(topics.EVENTS)).epoch
        states = await restoring.restore(bus, partition, end, epoch)
        start = await _start(bus, partition, committed, states)
        folder, stale, read = Folder(bus, owner, states, end), states.stale, states.since
        await folder.republish(stale)
        await folder.checkpoint()
        log.info("partition-taken-over", partition=partition, entities=len(states.index), offset=start, read=read, republished=len(stale))
        async with anyio.create_task_group() as group:
            group.start_soon(folder.watch)
            group.start_soon(folder.write, share)
            async for batch in share.batches(start, ahead=True):
                await folder.fold(batch)


async def _start(bus: port.Bus, partition: int, committed: int | None, states: restoring.States) -> int:
    """Where to begin: at the committed offset, but never behind what is not folded yet; none committed: at the first."""
    held = (await bus.ranges(topics.EVENTS))[partition]
    await restoring.require_same_log(bus, partition, held, states)
    needed = held.first if states.highest is None else states.highest.source.offset + 1
    start = held.first if committed is None else min(committed, needed)
    if not held.first <= start <= held.end:
        raise errors.LogDiverged(
            f"{topics.EVENTS}/{partition} must be folded from offset {start} on, but holds {held.first} to {held.end}; restore the log"
        )
    return start


def fold_one(
    record: port.Record, state: folding.State | None, epoch: str
) -> tuple[folding.State | None, folding.Outcome, port.Message | None]:
    """The state after the event in `record`, what became of that, and what is written; None: nothing is.

    `epoch`: of the events.

    Raises:
        NewerSchema: a newer release wrote the event.
        One of `POISON`: nobody can fold it; it belongs into quarantine.
    """
    event = envelope.event(record, epoch)
    after, outcome = folding.fold(state, event)
    if after is None or outcome is folding.Outcome.REDELIVERED:
        return after, outcome, None
    message = envelope.state_message(after, event.command.entity_id)
    # Its bytes are kept, since the next state names their hash.
    return msgspec.structs.replace(after, encoded=None if after.entity is None else message.value), outcome, message


class Folder:
    """Folds the batches of one partition. After any error it is of no use any more."""

    def __init__(self, bus: port.Bus, owner: port.Owner, states: restoring.States, end: int) -> None:
        """`end`: of the states, up to which they are restored."""
        self._bus, self._owner, self._states = bus, owner, states
        self._epoch, self._partition = states.epoch, states.partition
        self._appending = anyio.Lock()
        self._known, self._spacing = end, 0
        self._handover = handover.Handover()
        self._checkpoints = checkpoints.Writer(owner, states.partition, states.checkpoint)

    async def republish(self, keys: Sequence[bytes]) -> None:
        """Write the newest state of these entities again, over an older one that comes after it."""
        if keys:
            messages = list((await self._states.newest(keys)).values())
            await self._append(messages, [self._heading(each) for each in messages], None)

    async def checkpoint(self) -> None:
        """Write what the next owner need not read again, if that has become much."""
        if self._states.since < checkpoints.EVERY:
            return
        states_epoch = (await self._bus.topic(topics.STATE)).epoch
        await self._checkpoints.write(self._states.index, self._states.known(states_epoch, self._known))
        self._states.since = 0

    async def fold(self, batch: loop.Batch) -> None:
        """Fold a batch, and hand it over; waits while much is to be written."""
        done = await self._folded(batch)
        await self._handover.put(done)
        if done.newer is not None:
            await anyio.sleep_forever()  # until that is raised behind what was folded before it

    async def write(self, share: loop.Share) -> None:
        """Write what was folded: states, the last position and the commit of a transaction together."""
        async for done in self._handover.take():
            await self._write(done)
            share.done = done.position

    async def _write(self, done: handover.Folded) -> None:
        if done.quarantined:
            await self._owner.append(topics.QUARANTINE, done.quarantined)
        position = done.position if done.newer is None else done.seen.offset + 1 if done.seen else None
        if position is not None:
            self._tell(done, position)
            await self._append(done.messages, done.headings, port.Commit(GROUP, topics.EVENTS, self._partition, position))
            await self.checkpoint()
        log.debug("folded", partition=self._partition, offset=position, applied=done.applied, **done.outcomes)
        if done.newer is not None:
            raise done.newer

    async def _folded(self, batch: loop.Batch) -> handover.Folded:
        done = handover.Folded(batch.position)
        keys = {each.key for each in batch.records}
        known = {key: message for key in keys if (message := self._handover.newest(key)) is not None}
        known |= await self._states.newest(keys - known.keys())
        for number, record in enumerate(batch.records, 1):
            key = record.key
            message = done.newest.get(key) or known.get(key)
            # Where the state is corrupt it is not the event's fault, so this is outside.
            state = None if message is None else self._states.decoded(message)
            if number % _TURN == 0:
                await anyio.lowlevel.checkpoint()
            try:
                self._fold_one(record, state, done)
            except errors.NewerSchema as newer:
                done.newer = newer
                break
            except POISON as error:
                reason = f"{type(error).__name__}: {error}"
                log.error("event-quarantined", partition=record.partition, offset=record.offset, reason=reason)
                done.quarantined.append(envelope.quarantine_message(record, reason))
                done.outcomes["quarantined"] += 1
            done.seen = record
        return done

    def _fold_one(self, record: port.Record, state: folding.State | None, done: handover.Folded) -> None:
        after, outcome, message = fold_one(record, state, self._epoch)
        if after is not None and message is not None:
            done.messages.append(message)
            done.size += len(message.value or b"")
            done.headings.append(envelope.Heading(after.source, after.event_id, after.kind))
            # Not the state itself: objects that stay for a while cost more, in caches and collections, than to decode the few that
            # are needed again.
            done.newest[record.key], done.told = message, after.source
        if outcome is folding.Outcome.APPLIED:
            done.applied += 1
        else:
            done.outcomes[outcome.value] += 1

    def _heading(self, message: port.Message) -> envelope.Heading:
        return envelope.heading(port.Record(topics.STATE, self._partition, -1, 0, message.key, message.value, message.headers))

    def _tell(self, done: handover.Folded, position: int) -> None:
        """If the last event left no state, or a hole was passed, a progress record says how far we are."""
        last = Position(self._epoch, self._partition, position - 1)
        known = self._states.highest
        if done.told == last or (known is not None and known.source.offset >= last.offset):
            return
        at_last = done.seen is not None and done.seen.offset == last.offset
        event_id = envelope.event_id(done.seen) if done.seen and at_last else ""
        done.messages.append(envelope.progress_message(last, event_id))
        done.headings.append(envelope.Heading(last, event_id, None))

    async def watch(self) -> None:
        """Look at what comes to our states while we write nothing: all of it must be ours.

        Raises:
            Fenced: somebody else wrote there. Taking the partition over again mends what that left.
        """
        while True:
            await anyio.sleep(LOOK_S)
            with suppress(errors.Unavailable):  # then look again: who must write finds out by himself
                async with self._appending:
                    await self._require_none_before((await self._bus.ranges(topics.STATE))[self._partition].end)

    async def _require_none_before(self, end: int) -> None:
        """Make sure that nobody else wrote between what is known and `end`; what the log itself takes up is not read."""
        if end - self._known > self._spacing:
            await self._require_none(self._known, end)
            self._known, self._spacing = end, 0

    async def _require_none(self, start: int, end: int, ours: Container[int] = ()) -> None:
        async with self._bus.read(topics.STATE, self._partition, start) as reader:
            while reader.position < end:
                for record in await reader.poll(loop.BATCH, loop.WAIT_S):
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
