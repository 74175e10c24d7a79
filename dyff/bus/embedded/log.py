"""The bus port on one SQLite file."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import apsw
import structlog

from dyff.bus import port, topics
from dyff.bus.embedded import compaction, groups, high_watermark, logfile, openness, reading, records, transactions
from dyff.kernel import clock, degradation, errors, ids, locks, patience, sqlite_writer
from dyff.kernel.positions import Position

log = structlog.get_logger()

T = TypeVar("T")

LIMITS = sqlite_writer.Limits()
COMPACTION_LAG = timedelta(days=1)
"""Longer than any pause of an owner that we tolerate."""

TOMBSTONE_LAG = timedelta(days=28)
"""Time within which a reader that starts at the beginning must reach a tombstone."""

MAINTENANCE_S = 10.0
_TRUNCATED_AT_ONCE = 5000


class EmbeddedBus:
    """The log in one file of one process. See `dyff.bus.port.Bus`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path | str,
        *,
        clock: clock.Clock,
        ids: ids.Ids,
        max_message_bytes: int = port.MAX_MESSAGE_BYTES,
        troubles: degradation.Troubles | None = None,
        patience_s: float = patience.PATIENCE_S,
    ) -> AsyncIterator[EmbeddedBus]:
        """Open the log in the file `path`, which is created if it does not exist. Published records are durable when it is closed.

        Args:
            path: the file; SQLite's `-wal` and `-shm` and our `.mark` and `.lock` are next to it, and belong to it.
            clock: provides the timestamps of records.
            ids: provides the IDs of new logs.
            max_message_bytes: limit of key, value and headers together.
            troubles: where failed maintenance is reported; None if only the log file has it.
            patience_s: how long a publisher waits for space, or for another program's lock, before it is refused. An owner and a
                commit wait for as long as it takes.

        Raises:
            InUse: another bus has it open.
            Locked: another program holds the lock of the file.
            LogDiverged: something that was acknowledged is missing or damaged.
            Misconfigured: this release cannot read the log, or the SQLite library is unsafe.
        """
        path = Path(path)
        with _locked(path.with_name(path.name + ".lock")):
            bus = await anyio.to_thread.run_sync(cls, path, clock, ids, max_message_bytes, troubles)
            bus._patience_s = patience_s
            bus._writer.start(bus._records.adopt)
            try:
                yield bus
            finally:
                with anyio.CancelScope(shield=True):
                    await bus._writer.stop()
                    await anyio.to_thread.run_sync(bus._close)

    def __init__(
        self, path: Path, time: clock.Clock, new_ids: ids.Ids, max_message_bytes: int, troubles: degradation.Troubles | None = None
    ) -> None:
        """Use `open`. Blocks."""
        self._troubles = troubles or degradation.Troubles(time)
        self._patience, self._patience_s = patience.Patience(transactions.Transactions.name, self._troubles), patience.PATIENCE_S
        self._path, self._clock, self._ids, self._max_message_bytes = path, time, new_ids, max_message_bytes
        openness.require_wal(path)
        self._watermark = high_watermark.HighWatermark(path.with_name(path.name + ".mark"))
        try:
            self._connection = logfile.opened(path, self._watermark)
        except BaseException:
            self._watermark.close()
            raise
        self._upkeep, for_reading = logfile.connect(path), logfile.connect(path)
        for_reading.execute("PRAGMA query_only = 1")
        self._reading = for_reading
        self._records = records.Records(path, for_reading)
        self._groups: dict[tuple[str, str], groups.Group] = {}
        self._upkeep_lock = anyio.Lock()
        with logfile.translated_errors(path):
            stored = logfile.stored_partitions(self._connection)
            for topic in logfile.stored_topics(self._connection):
                self._records.add(topic, [each for each in stored if each.topic == topic.name])
        ends = {each.id: each.held.end for each in stored}
        self._transactions = transactions.Transactions(self._connection, ends, self._watermark, time, self._troubles)
        self._writer = sqlite_writer.Writer(self._transactions, LIMITS)

    def _close(self) -> None:
        openness.closed(self._connection)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            log.warning("log-checkpoint-failed", **errors.details(error))
        for connection in (self._reading, self._upkeep, self._connection):
            connection.close()
        self._watermark.close()

    async def create_topics(self, specs: Sequence[port.TopicSpec]) -> None:
        await self._submit_patiently(transactions.CreateTopics(specs, self._ids).apply)

    async def amend_topics(self, specs: Sequence[port.TopicSpec], *, dry_run: bool = False) -> list[str]:
        changes = []
        for spec in specs:
            found = self._records.topics.get(spec.name)
            if found is None:
                changes.append(f"topic {spec.name} is missing")
            else:  # only this adapter can have created it, so its retention is right
                topics.require_same(found, spec)
        if changes and not dry_run:
            await self.create_topics(specs)
        return changes

    async def topic(self, name: str) -> port.Topic:
        return self._records.topic(name)

    async def ranges(self, topic: str) -> dict[int, port.Range]:
        return {each.partition: self._records.held[each.id] for each in self._records.partitions(topic)}

    async def lookup(self, topic: str, partition: int, offsets: Collection[int]) -> dict[int, port.Record]:
        return await self._records.lookup(self._records.partition(topic, partition), offsets)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        self._records.topic(topic)
        return await self._records.committed(group, topic)

    async def publish(self, topic: str, messages: Sequence[port.Message]) -> list[Position]:
        return await self._patience.during(lambda: self._append(topic, messages), patience_s=self._patience_s)

    def clock_offset_s(self) -> float | None:
        return 0.0  # it is the same clock

    @asynccontextmanager
    async def subscribe(self, group: str, topic: str) -> AsyncIterator[reading.EmbeddedSubscription]:
        partitions = self._records.topic(topic).partitions
        members = self._groups.setdefault((group, topic), groups.Group(partitions))
        subscription = reading.EmbeddedSubscription(members, group, topic, self._records, self._submit_patiently, self._clock)
        subscription.join()
        try:
            yield subscription
        finally:
            subscription.leave()

    @asynccontextmanager
    async def read(self, topic: str, partition: int, offset: int) -> AsyncIterator[reading.EmbeddedReader]:
        yield reading.EmbeddedReader(self._records, self._records.partition(topic, partition), offset)

    @asynccontextmanager
    async def own(self, name: str) -> AsyncIterator[EmbeddedOwner]:
        yield EmbeddedOwner(self, name, await self._submit_patiently(transactions.Own(name).apply))

    async def _submit(self, write: Callable[[transactions.Transaction], T]) -> T:
        return await self._writer.submit(write)

    async def _submit_patiently(self, write: Callable[[transactions.Transaction], T]) -> T:
        """The result of a small write that must not be given up."""
        return await self._patience.during(lambda: self._submit(write))

    async def maintain(
        self, *, every_s: float = MAINTENANCE_S, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep the file small until cancelled: checkpoint the WAL outside of commits, and compact the partitions that are due.

        Ready immediately. What fails is reported and tried again.

        Raises:
            DiskFailed: nothing can be written any more.
            LogDiverged: the file is damaged.
        """
        task_status.started()
        async with anyio.create_task_group() as group:
            for name, act in _UPKEEP.items():
                keep = functools.partial(degradation.keep_doing, name=name, every_s=every_s, troubles=self._troubles)
                group.start_soon(keep, functools.partial(act, self))

    async def checkpoint(self) -> None:
        """Copy the WAL file into the database while the writer continues. The writer may be doing the same at this moment.

        Raises:
            Unavailable: the file cannot be used.
        """
        async with self._upkeep_lock:
            await self._on_upkeep(_checkpointed)

    async def _require_writable(self) -> None:
        if self._writer.broken is not None:
            raise self._writer.broken
        if self._patience.meets_a_lock:  # nothing else may be written for long, and the end of the lock is to be noticed
            await self._patience.during(lambda: self._submit(_nothing), patience_s=0.0)

    async def _compact_all(self) -> None:
        for topic in [each for each in self._records.topics.values() if each.compacted]:
            await self.compact(topic.name)

    async def compact(self, topic: str, *, lag: timedelta | None = None, tombstone_lag: timedelta = TOMBSTONE_LAG) -> int:
        """Delete records of a compacted topic that a later record of the same key supersedes; returns how many were deleted.

        `lag`: younger records are kept; None for one day, and then only partitions for which a pass is due are compacted.
        """
        if not self._records.topic(topic).compacted:
            raise errors.Misconfigured(f"topic {topic} is not compacted: its records are kept")
        now = self._clock.now()
        lags = compaction.Lags(clock.epoch_ms(now - (COMPACTION_LAG if lag is None else lag)), clock.epoch_ms(now - tombstone_lag))
        async with self._upkeep_lock:
            stored = await self._on_upkeep(logfile.stored_partitions)
            return sum([await self._compact(each, lags, wanted=lag is not None) for each in stored if each.topic == topic])

    async def _compact(self, partition: logfile.Partition, lags: compaction.Lags, *, wanted: bool) -> int:
        if not wanted and not await self._on_upkeep(compaction.due, partition, lags):
            return 0
        whole = await self._on_upkeep(compaction.begun, partition, lags)
        removed, start = 0, partition.held.first
        while start < whole.limit:
            step: compaction.Step = await self._on_upkeep(compaction.step, partition, whole, start)
            if step.rewritten:
                rewrite = transactions.Rewrite(partition, step.rewritten)
                await self._writer.submit(rewrite.apply, rewrite.size)
            removed, start = removed + step.removed, step.next
        kept = partition.kept + whole.limit - partition.clean - removed
        await self._writer.submit(transactions.Compacted(partition, whole.limit, kept).apply)
        return removed

    async def _on_upkeep(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(connection, *args)` in a thread, on the maintenance connection, which no commit waits for."""
        with logfile.translated_errors(self._path):
            return await anyio.to_thread.run_sync(function, self._upkeep, *args)

    async def truncate(self, topic: str, partition: int, below: int) -> None:
        """Delete the records below an offset, permanently.

        Raises:
            OffsetOutOfRange: the log does not hold that offset (`end` itself is valid).
        """
        found = self._records.partition(topic, partition)
        self._records.require(found, below)
        first = self._records.held[found.id].first
        for step in [*range(first + _TRUNCATED_AT_ONCE, below, _TRUNCATED_AT_ONCE), below]:
            await self._writer.submit(transactions.Truncate(found, step).apply)

    async def _append(
        self, topic: str, messages: Sequence[port.Message], owner: tuple[str, int] | None = None, commit: port.Commit | None = None
    ) -> list[Position]:
        known = self._records.topic(topic)
        if commit is not None:
            self._records.partition(commit.topic, commit.partition)
        places = self._records.partitions(topic)
        placed: list[tuple[logfile.Partition, port.Message]] = []
        size = 0
        for message in messages:
            if message.partition is None:
                at = places[topics.partition_of(message.key, known.partitions)]
            else:
                at = self._records.partition(topic, message.partition)
            placed.append((at, message))
            size += self._size(message)
        offsets = await self._writer.submit(transactions.Append(placed, owner, commit).apply, size)
        return [Position(known.epoch, at.partition, offset) for (at, _), offset in zip(placed, offsets, strict=True)]

    def _size(self, message: port.Message) -> int:
        size = len(message.key) + len(message.value or b"")
        for name, value in message.headers:
            size += len(name) + len(value)
        if size > self._max_message_bytes:
            raise errors.TooLarge(f"a message has {size} bytes; the limit is {self._max_message_bytes}")
        return size


_UPKEEP = {
    "writing of the log": EmbeddedBus._require_writable,
    "upkeep of the log": EmbeddedBus.checkpoint,
    "compaction of the log": EmbeddedBus._compact_all,
}
"""What `maintain` does, by the name of the trouble if it fails. Each is tried again by itself."""


class EmbeddedOwner:
    """A fenced writer. See `dyff.bus.port.Owner`."""

    def __init__(self, bus: EmbeddedBus, name: str, epoch: int) -> None:
        """`epoch`: as assigned by the log when this owner was opened."""
        self._bus, self._name, self._epoch = bus, name, epoch

    @property
    def spacing(self) -> int:
        return 0

    async def append(self, topic: str, messages: Sequence[port.Message], commit: port.Commit | None = None) -> list[Position]:
        return await self._bus._patience.during(lambda: self._bus._append(topic, messages, (self._name, self._epoch), commit))


def _nothing(_: transactions.Transaction) -> None:
    """A write that changes nothing."""


def _checkpointed(connection: apsw.Connection) -> None:
    try:
        connection.wal_checkpoint()
    except apsw.BusyError:
        log.debug("checkpoint-busy", database=transactions.Transactions.name)  # the writer is doing the same


def _locked(path: Path) -> AbstractContextManager[None]:
    """Allow one bus at a time, since offsets and groups are in its memory."""
    return locks.alone(path, f"another server has the log {path.with_suffix('')} open")
