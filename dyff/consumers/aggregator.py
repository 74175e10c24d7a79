"""The aggregator: folds the commands on the events topic into whole entities on the state topic.

Each partition has one owner at a time. Taking one over and folding it is in `ownership`; this is the role.
"""

from __future__ import annotations

import random

import anyio
import anyio.abc
import structlog

from dyff.bus import port, topics
from dyff.consumers import loop, ownership
from dyff.kernel import backoff, errors, vitals
from dyff.kernel.clock import Clock

log = structlog.get_logger()

QUIET_S = 60.0
"""After so long without losing a partition, the next loss is answered at once again."""


async def run(
    bus: port.Bus,
    *,
    clock: Clock,
    signs: vitals.Vitals | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Fold until cancelled; ready when the first partitions are taken over.

    Raises:
        Misconfigured: events and state have different partition counts.
        LogDiverged: the events are not those that the states were folded from.
        NewerSchema: a newer release wrote an event or a state; all before it is folded.
        Unavailable: the bus does not answer.
    """
    await _require_same_partitions(bus)
    delays, joined = backoff.delays(jitter=random.Random()), clock.monotonic()
    ready = _Once(task_status)
    while True:
        lost: list[BaseException] = []
        try:
            await loop.consume(
                bus, ownership.GROUP, topics.EVENTS, lambda share: ownership.serve(bus, share), signs=signs, task_status=ready
            )
        except* (errors.Fenced, errors.OutcomeUnknown) as group:
            lost = list(group.exceptions)
        # Whoever took the partition over, or wrote in an unknown way, is found by taking everything over again.
        if clock.monotonic() - joined > QUIET_S:
            delays = backoff.delays(jitter=random.Random())
        joined = clock.monotonic()
        log.warning("partition-lost", reasons=[str(each) for each in lost])
        await anyio.sleep(next(delays))


class _Once(anyio.abc.TaskStatus[None]):
    """Readiness is told once, however often the partitions are joined again."""

    def __init__(self, told: anyio.abc.TaskStatus[None]) -> None:
        self._told: anyio.abc.TaskStatus[None] | None = told

    def started(self, value: None = None) -> None:
        told, self._told = self._told, None
        if told is not None:
            told.started()


async def _require_same_partitions(bus: port.Bus) -> None:
    events = await bus.topic(topics.EVENTS)
    for name in (topics.STATE, topics.CHECKPOINTS):
        found = await bus.topic(name)
        if found.partitions != events.partitions:
            raise errors.Misconfigured(
                f"{topics.EVENTS} has {events.partitions} partitions and {name} has {found.partitions}; they must be the same"
            )
