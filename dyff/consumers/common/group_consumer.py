"""Consumes the partitions that a group assigns to a role, with one task for each while it is assigned.

The loop keeps polling whatever the tasks do, so that a long restore does not cost the membership in the group. A task
gets batches in order, one at a time, and is cancelled when its partition is revoked.
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
"""A member without any partition after this long is a spare, which counts as ready."""


class Batch(msgspec.Struct, frozen=True):
    """Records in order, and the offset to continue at. There are no records if only a gap in the offsets was passed."""

    records: tuple[port.Record, ...]
    position: int


class Share:
    """A partition while it is assigned to this member: the interface between its task and the loop."""

    def __init__(self, assignment: port.Assignment) -> None:
        self.assignment = assignment
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.opening: list[int | None] = []
        self.reached: int | None = None
        self.done: int | None = None
        """The next offset after the completed records, for the liveness check."""
        self._batch: Batch | None = None
        self._filled, self._taken = anyio.Event(), anyio.Event()

    @property
    def partition(self) -> int:
        """The number of the partition."""
        return self.assignment.partition

    async def batches(self, offset: int | None, *, ahead: bool = False) -> AsyncIterator[Batch]:
        """All batches from `offset` on (None for the committed offset). Call it once, when the task is ready for them.

        A batch counts as done when the next one is requested. With `ahead`, batches can be requested earlier, and the task itself
        sets `done`.
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
        """Hand over a batch; waits until the task requests the batch after the previous one."""
        while self._batch is not None:
            self._taken = anyio.Event()
            await self._taken.wait()
        self._batch, self.reached = batch, batch.position
        self._filled.set()


class ReadyOnce(anyio.abc.TaskStatus[None]):
    """Reports readiness once, however often the group is joined again."""

    def __init__(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        self._task_status: anyio.abc.TaskStatus[None] | None = task_status

    def started(self, value: None = None) -> None:
        task_status, self._task_status = self._task_status, None
        if task_status is not None:
            task_status.started()


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
    """Be a member of `group` on `topic` until cancelled; `serve` runs for each assigned partition.

    Ready when the tasks of all partitions of the first assignment have requested their batches. `signs`: gets the lag of each.

    Raises:
        Any exception of `serve`, in an exception group; all partitions are given up then.
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
        """Whether every task has requested its batches."""
        return len(self._opened) == len(self.shares)

    def signs(self, topic: str, held: Mapping[int, port.Range]) -> list[liveness.Sign]:
        """The lag of each partition whose task has requested its batches."""
        return [
            liveness.behind(f"{topic}/{each.partition}", topic, each.partition, each.done, held[each.partition].end)
            for each in self._opened
            if each.done is not None
        ]

    async def turn(self) -> None:
        """Poll once, and process the result."""
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
        """End the task of a partition. It must be gone before another task of the same partition begins."""
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
        """Hand each partition's records to its task, or only the position if there are none but a gap in the offsets was passed."""
        by_partition: dict[int, list[port.Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        for share in list(self._opened):
            position = self._subscription.position(share.assignment)
            found = tuple(by_partition.get(share.partition, ()))
            if found or (position is not None and share.reached is not None and position > share.reached):
                await share.put(Batch(found, position if position is not None else found[-1].offset + 1))
