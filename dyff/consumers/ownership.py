"""One partition of the aggregator: taken over in an order that leaves no gap, then folded batch by batch.

The order (design: "Taking over a partition"): fence, read the committed offset and the end of the states, restore up to
that end, mend what a former owner left behind, make sure that the events are the ones that were folded, fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import anyio
import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.consumers import loop, restoring
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Position

log = structlog.get_logger()

GROUP = "dyff.aggregator"
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
        async with bus.read(topics.STATE, partition, end) as tail:
            folder, stale = Folder(owner, states, epoch), states.stale
            await folder.republish(stale)
            log.info("partition-taken-over", partition=partition, entities=len(states.index), offset=start, republished=len(stale))
            async with anyio.create_task_group() as group:
                group.start_soon(folder.watch, tail)
                async for batch in share.batches(start):
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


class _Folded(msgspec.Struct):
    """What a batch comes to.

    `messages`: its states, and `states` the newest of each entity. `seen`: the last record; `told`: the last event that
    left a state. `newer`: the batch was left off before its end, at a record of a newer release.
    """

    messages: list[port.Message]
    states: dict[bytes, folding.State]
    quarantined: list[port.Message]
    outcomes: Counter[str]
    seen: port.Record | None = None
    told: Position | None = None
    newer: errors.NewerSchema | None = None


class Folder:
    """Folds the batches of one partition. After any error it is of no use any more."""

    def __init__(self, owner: port.Owner, states: restoring.States, epoch: str) -> None:
        """`epoch`: of the events."""
        self._owner, self._states, self._epoch = owner, states, epoch
        self._partition = states.partition
        self._appending = anyio.Lock()
        self._written: set[int] = set()

    async def republish(self, keys: Sequence[bytes]) -> None:
        """Write the newest state of these entities again, over an older one that comes after it."""
        if keys:
            messages = [await self._states.message(key) for key in keys]
            await self._append(messages, None)

    async def fold(self, batch: loop.Batch) -> None:
        """Fold a batch: states, the last position and the commit are written together."""
        done = await self._folded(batch.records)
        if done.quarantined:
            await self._owner.append(topics.QUARANTINE, done.quarantined)
        position = batch.position if done.newer is None else done.seen.offset + 1 if done.seen else None
        if position is not None:
            self._tell(done, position)
            await self._append(done.messages, port.Commit(GROUP, topics.EVENTS, self._partition, position))
            self._states.keep(done.states)
        log.debug("folded", partition=self._partition, offset=position, **done.outcomes)
        if done.newer is not None:
            raise done.newer

    async def _folded(self, records: Sequence[port.Record]) -> _Folded:
        done = _Folded([], {}, [], Counter())
        for record in records:
            # Where the state is corrupt it is not the event's fault, so this is outside.
            state = done.states[record.key] if record.key in done.states else await self._states.get(record.key)
            try:
                after, outcome, message = fold_one(record, state, self._epoch)
                if after is not None and message is not None:
                    done.messages.append(message)
                    done.states[record.key], done.told = after, after.source
                done.outcomes[outcome.value] += 1
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

    def _tell(self, done: _Folded, position: int) -> None:
        """If the last event left no state, or a hole was passed, a progress record says how far we are."""
        last = Position(self._epoch, self._partition, position - 1)
        known = self._states.highest
        if done.told == last or (known is not None and known.source.offset >= last.offset):
            return
        at_last = done.seen is not None and done.seen.offset == last.offset
        done.messages.append(envelope.progress_message(last, envelope.event_id(done.seen) if done.seen and at_last else ""))

    async def watch(self, tail: port.Reader) -> None:
        """Look at all that comes to our states, from where they were restored on: all of it must be ours.

        Raises:
            Fenced: somebody else wrote there. Taking the partition over again mends what that left.
        """
        while True:
            records = await tail.poll(loop.BATCH, loop.WAIT_S)
            async with self._appending:
                for record in records:
                    if record.offset not in self._written:
                        raise errors.Fenced(f"{record.topic}/{record.partition}@{record.offset} was written by somebody else")
                    self._written.discard(record.offset)

    async def _append(self, messages: Sequence[port.Message], commit: port.Commit | None) -> None:
        async with self._appending:
            positions = await self._owner.append(topics.STATE, messages, commit)
            for message, position in zip(messages, positions, strict=True):
                self._written.add(position.offset)
                self._states.note(message, position.offset)
