"""The embedded log for a process that only reads it, whether or not a server has it open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import apsw

from dyff.bus import port
from dyff.bus.embedded import high_watermark, logfile, openness
from dyff.kernel import errors

_LOOK_S = 0.05
"""Interval at which the file is checked while a reader waits for more."""

T = TypeVar("T")


class EmbeddedHistory:
    """See `dyff.bus.port.History`; use `open`."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path, self._connection = path, connection
        self._one_at_a_time = anyio.CapacityLimiter(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path | str) -> AsyncIterator[EmbeddedHistory]:
        """Open the log in the file `path`.

        Raises:
            Misconfigured: the file does not exist, or this release cannot read it.
            LogDiverged: it is damaged, or acknowledged records are missing.
        """
        path = Path(path)
        connection = await anyio.to_thread.run_sync(_opened, path)
        try:
            yield cls(path, connection)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(connection.close)

    async def topic(self, name: str) -> port.Topic:
        for each in await self._run(logfile.stored_topics):
            if each.name == name:
                return each
        raise errors.NotFound(f"there is no topic {name}")

    async def ranges(self, topic: str) -> dict[int, port.Range]:
        return {each.partition: each.held for each in await self._partitions(topic)}

    @asynccontextmanager
    async def read(self, topic: str, partition: int, offset: int) -> AsyncIterator[HistoryReader]:
        there = await self._partitions(topic)
        found = [each for each in there if each.partition == partition]
        if not found:
            raise errors.NotFound(f"topic {topic} has the partitions 0 to {len(there) - 1}, not {partition}")
        yield HistoryReader(self, found[0], offset)

    async def fetch(self, partition: logfile.Partition, offset: int, limit: int) -> tuple[list[port.Record], int]:
        """Records from `offset` on, at most `limit`, and the offset to continue from.

        Raises:
            OffsetOutOfRange: the log cannot be read from there.
        """

        def fetched(connection: apsw.Connection) -> tuple[list[port.Record], int]:
            with connection:  # one consistent view of the offsets and the records
                held = next(each.held for each in logfile.stored_partitions(connection) if each.id == partition.id)
                if not held.first <= offset <= held.end:
                    raise errors.OffsetOutOfRange(partition.topic, partition.partition, offset, held.first, held.end)
                found = logfile.fetch(connection, partition, offset, held.end, limit)
            return found, found[-1].offset + 1 if found else held.end

        return await self._run(fetched)

    async def _partitions(self, topic: str) -> list[logfile.Partition]:
        found = [each for each in await self._run(logfile.stored_partitions) if each.topic == topic]
        if not found:
            raise errors.NotFound(f"there is no topic {topic}")
        return found

    async def _run(self, function: Callable[[apsw.Connection], T]) -> T:
        with logfile.translated_errors(self._path):
            return await anyio.to_thread.run_sync(function, self._connection, limiter=self._one_at_a_time)


class HistoryReader:
    """Reads one partition. See `dyff.bus.port.Reader`."""

    def __init__(self, history: EmbeddedHistory, partition: logfile.Partition, offset: int) -> None:
        """`offset`: where to start."""
        self._history, self._partition, self._position = history, partition, offset

    @property
    def position(self) -> int:
        return self._position

    async def poll(self, max_records: int, wait_s: float) -> tuple[port.Record, ...]:
        with anyio.move_on_after(wait_s):
            while True:
                with anyio.CancelScope(shield=True):  # so that no record is lost between the read and the new position
                    before = self._position
                    found, self._position = await self._history.fetch(self._partition, before, max_records)
                if found or self._position > before or wait_s <= 0:
                    return tuple(found)
                await anyio.sleep(_LOOK_S)
        return ()


def _opened(path: Path) -> apsw.Connection:
    if not path.exists():
        raise errors.Misconfigured(f"there is no log at {path}; is this the server's data directory?")
    acknowledged = high_watermark.acknowledged(path.with_name(path.name + ".mark"))  # before the log, which only grows
    openness.require_wal(path)
    with logfile.translated_errors(path):
        connection = logfile.connect(path)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # a reader leaves the WAL file of a killed server
            connection.execute("PRAGMA query_only = 1")
            logfile.require_format(connection, path)
            appended = sum(each.held.end for each in logfile.stored_partitions(connection))
        except BaseException:
            connection.close()
            raise
    if appended < acknowledged:
        connection.close()
        raise errors.LogDiverged(f"the log file {path} lost its end: it knows of {appended} records, but {acknowledged} were acknowledged")
    return connection
