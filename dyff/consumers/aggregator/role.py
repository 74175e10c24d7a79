"""The aggregator: folds the commands on the events topic into whole entities on the state topic.

Each partition has one owner at a time. It takes the partition over in an order that leaves no gap: fence the previous owner, read the
committed offset and the end of the states, restore up to that end, make sure that the events are the ones that were folded, repair
what a previous owner left behind, fold.
"""

from __future__ import annotations

import random

import anyio
import anyio.abc
import structlog

from dyff.bus import port, topics
from dyff.consumers.aggregator import partitions, restoring
from dyff.consumers.common import group_consumer
from dyff.kernel import backoff, degradation, errors, liveness
from dyff.kernel.clock import Clock
from dyff.kernel.telemetry import metrics, traces

log = structlog.get_logger()

QUIET_S = 60.0
"""After this long without losing a partition, the back-off starts from its shortest delay again."""


async def run(
    bus: port.Bus,
    *,
    clock: Clock,
    signs: liveness.Signs | None = None,
    troubles: degradation.Troubles | None = None,
    tracer: traces.Tracer = traces.SILENT,
    measured: metrics.Metrics | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Fold until cancelled; ready when the first assigned partitions have been taken over.

    `troubles`: where events that cannot be folded are reported; None if they are only logged. `tracer`: records the spans of folding.
    `measured`: of this process.

    Raises:
        Misconfigured: events and state have different partition counts.
        LogDiverged: the events are not those from which the states were folded.
        NewerSchema: a newer release wrote an event or a state; all before it is folded.
        Unavailable: the bus does not answer.
    """
    await _require_same_partitions(bus)
    counted = partitions.Counted(measured or metrics.Metrics())
    delays, joined = backoff.delays(jitter=random.Random()), clock.monotonic()
    ready = group_consumer.ReadyOnce(task_status)
    while True:
        lost: list[BaseException] = []
        try:
            await group_consumer.consume(
                bus,
                partitions.GROUP,
                topics.EVENTS,
                lambda share: serve(bus, share, troubles, tracer, counted),
                signs=signs,
                task_status=ready,
            )
        except* (errors.Fenced, errors.OutcomeUnknown) as group:
            lost = list(group.exceptions)
        # Taking everything over again settles who owns the partition, and whether a write succeeded.
        if clock.monotonic() - joined > QUIET_S:
            delays = backoff.delays(jitter=random.Random())
        joined = clock.monotonic()
        log.warning("partition-lost", reasons=[str(each) for each in lost])
        await anyio.sleep(next(delays))


async def _require_same_partitions(bus: port.Bus) -> None:
    events = await bus.topic(topics.EVENTS)
    for name in (topics.STATE, topics.CHECKPOINTS):
        found = await bus.topic(name)
        if found.partitions != events.partitions:
            raise errors.Misconfigured(
                f"{topics.EVENTS} has {events.partitions} partitions and {name} has {found.partitions}; they must be the same"
            )


def owner_name(partition: int) -> str:
    """The name of the only writer of a state partition."""
    return f"dyff.aggregator-{partition}"


async def serve(
    bus: port.Bus,
    share: group_consumer.Share,
    troubles: degradation.Troubles | None = None,
    tracer: traces.Tracer = traces.SILENT,
    counted: partitions.Counted | None = None,
) -> None:
    """Take a partition over and fold it until cancelled. `troubles`, `tracer`: see `run`. `counted`: counts what is folded; None if nothing
    does.

    Raises:
        Fenced: another process took it over, or writes to its states.
        OutcomeUnknown: the outcome of a write is unknown; it must be taken over again.
        LogDiverged, NewerSchema: see `run`.
    """
    partition = share.partition
    async with bus.own(owner_name(partition)) as owner:
        committed = (await bus.committed(partitions.GROUP, topics.EVENTS)).get(partition)
        end = (await bus.ranges(topics.STATE))[partition].end
        states = await restoring.restore(bus, partition, end, (await bus.topic(topics.EVENTS)).epochs)
        start = await _start(bus, partition, committed, states)
        owned = partitions.OwnedPartition(bus, owner, states, end, troubles, tracer, counted)
        stale, read = states.stale, states.since
        await owned.republish(stale)
        await owned.checkpoint()
        log.info("partition-taken-over", partition=partition, entities=len(states.index), offset=start, read=read, republished=len(stale))
        async with anyio.create_task_group() as group:
            group.start_soon(owned.watch)
            group.start_soon(owned.write, share)
            async for batch in share.batches(start, ahead=True):
                await owned.fold(batch)


async def _start(bus: port.Bus, partition: int, committed: int | None, states: restoring.States) -> int:
    """The offset to start at: the committed one, or an earlier one that is not folded yet; the first if none is committed."""
    held = (await bus.ranges(topics.EVENTS))[partition]
    await restoring.require_same_log(bus, partition, held, states)
    needed = held.first if states.highest is None else states.highest.source.offset + 1
    start = held.first if committed is None else min(committed, needed)
    if not held.first <= start <= held.end:
        raise errors.LogDiverged(
            f"{topics.EVENTS}/{partition} must be folded from offset {start} on, but holds {held.first} to {held.end}; restore the log"
        )
    return start
