"""How a role works on the partitions that its group gives it: one task for each, for as long as it has it.

The loop polls, whatever the tasks do, so that a long restore does not cost the membership. A task gets batches in
order, one at a time, and ends when its partition is taken away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import anyio
import anyio.abc
import msgspec

from dyff.bus import port
from dyff.kernel import liveness

BATCH = 500
WAIT_S = 1.0
_OPENING_WAIT_S = 0.02
_SPARE_S = 5.0
"""A member that got no partition for this long is a spare, and as such ready."""


class Batch(msgspec.Struct, frozen=True):
    """Records in order, none where only a hole was passed, and the offset to go on at."""

    records: tuple[port.Record, ...]
    position: int


class Share:
    """A partition, for as long as this member has it; what the task of a partition sees of the loop."""

    def __init__(self, assignment: port.Assignment) -> None:
        self.assignment = assignment
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.opening: list[int | None] = []
        self.reached: int | None = None
        self.done: int | None = None
        """The next offset after what is done, for the liveness check."""
        self._batch: Batch | None = None
        self._filled, self._taken = anyio.Event(), anyio.Event()

    @property
    def partition(self) -> int:
        """Its number."""
        return self.assignment.partition

    async def batches(self, offset: int | None, *, ahead: bool = False) -> AsyncIterator[Batch]:
        """All batches from `offset` on (None: the committed one); asked for once, when the task is ready for them.

        A batch is done when the next one is asked for. `ahead`: that may be earlier; the task itself says what is `done`.
        """
        self.opening.append(offset)
        while True:
            while self._batch is None:
                self._filled = anyio.Event()
                await self._filled.wait()
            yield self._batch
            if not ahead:
                self.done = self._batch.position
            self._batch = None
            self._taken.set()

    async def put(self, batch: Batch) -> None:
        """Hand a batch over; waits until the one before is done."""
        while self._batch is not None:
            self._taken = anyio.Event()
            await self._taken.wait()
        self._batch, self.reached = batch, batch.position
        self._filled.set()


Serve = Callable[[Share], Awaitable[None]]


async def consume(
    bus: port.Bus,
    group: str,
    topic: str,
    serve: Serve,
    *,
    signs: liveness.Signs | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Be a member of `group` on `topic` until cancelled; `serve` runs for each partition that is given.

    Ready when every partition of the first giving asks for its batches. `signs`: of how far behind each is.

    Raises:
        Whatever `serve` does, in an exception group: then all is given back.
    """
    async with bus.subscribe(group, topic) as subscription, anyio.create_task_group() as tasks:
        member = _Member(subscription, serve, tasks)

        async def behind() -> list[liveness.Sign]:
            return member.signs(topic, await bus.ranges(topic))

        with (signs or liveness.Signs()).during(behind):
            await _consume(member, task_status)


async def _consume(member: _Member, task_status: anyio.abc.TaskStatus[None]) -> None:
    spare_at = anyio.current_time() + _SPARE_S
    ready = False
    while True:
        await member.turn()
        if not ready and member.settled and (member.shares or anyio.current_time() > spare_at):
            ready = True
            task_status.started()


class _Member:
    def __init__(self, subscription: port.Subscription, serve: Serve, tasks: anyio.abc.TaskGroup) -> None:
        self.shares: dict[int, Share] = {}
        self._subscription, self._serve, self._tasks = subscription, serve, tasks
        self._opened: set[Share] = set()

    @property
    def settled(self) -> bool:
        """Whether every task has asked for its batches."""
        return len(self._opened) == len(self.shares)

    def signs(self, topic: str, held: Mapping[int, port.Range]) -> list[liveness.Sign]:
        """How far behind each partition is whose task asks for its batches."""
        return [
            liveness.Sign(f"{topic}/{each.partition}", _behind(held[each.partition].end - each.done), each.done)
            for each in self._opened
            if each.done is not None
        ]

    async def turn(self) -> None:
        """One poll, and all that follows from it."""
        polled = await self._subscription.poll(BATCH, WAIT_S if self.settled else _OPENING_WAIT_S)
        for assignment in polled.revoked:
            await self._end(assignment)
        for assignment in polled.assigned:
            share = self.shares[assignment.partition] = Share(assignment)
            self._tasks.start_soon(self._run, share)
        await self._open()
        await self._hand_over(polled.records)

    async def _run(self, share: Share) -> None:
        try:
            with share.scope:
                await self._serve(share)
        finally:
            share.ended.set()

    async def _end(self, assignment: port.Assignment) -> None:
        """Its task must be gone before another one of the same partition begins."""
        share = self.shares.pop(assignment.partition)
        self._opened.discard(share)
        share.scope.cancel()
        await share.ended.wait()

    async def _open(self) -> None:
        for share in self.shares.values():
            if share.opening:
                await self._subscription.start(share.assignment, share.opening.pop())
                share.reached = share.done = self._subscription.position(share.assignment)
                self._opened.add(share)

    async def _hand_over(self, records: Sequence[port.Record]) -> None:
        """Each partition's records to its task; and where nothing came but a hole was passed, the position alone."""
        by_partition: dict[int, list[port.Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        for share in list(self._opened):
            position = self._subscription.position(share.assignment)
            found = tuple(by_partition.get(share.partition, ()))
            if found or (position is not None and share.reached is not None and position > share.reached):
                await share.put(Batch(found, position if position is not None else found[-1].offset + 1))


def _behind(records: int) -> str | None:
    return f"{records} behind" if records > 0 else None
