"""The log's write transactions: the part that jobs see, and what the log does around each."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import structlog

from dyff.bus import port
from dyff.bus.embedded import high_watermark, logfile
from dyff.kernel import clock, errors, sqlite_writer

log = structlog.get_logger()

CHECKPOINT_PAGES = 8192
"""A WAL file with this many pages (32 MiB) is checkpointed between two transactions, if maintenance has not done so earlier."""


class Transaction:
    """A write transaction in progress; only the writer thread uses it."""

    def __init__(self, connection: apsw.Connection, ends: dict[int, int], now_ms: int) -> None:
        """`ends`: the next offset by partition ID; not modified here. `now_ms`: append time of all its records."""
        self.connection = connection
        self.appended: dict[int, list[port.Record]] = {}
        self.created: list[tuple[port.Topic, list[logfile.Partition]]] = []
        self.firsts: dict[int, int] = {}
        self.thinned: set[int] = set()
        self._ends, self._now_ms = ends, now_ms

    def append(self, messages: Sequence[tuple[logfile.Partition, port.Message]]) -> list[int]:
        """Add records, each at the end of its partition; returns their offsets."""
        offsets = []
        for partition, message in messages:
            records = self.appended.setdefault(partition.id, [])
            offset = self._ends[partition.id] + len(records)
            offsets.append(offset)
            records.append(
                port.Record(partition.topic, partition.partition, offset, self._now_ms, message.key, message.value, message.headers)
            )
        return offsets

    def write_records(self) -> None:
        """Write the appended records into the tables; the last step before the commit."""
        for partition_id, records in self.appended.items():
            logfile.insert(self.connection, partition_id, records)
            self.connection.execute("UPDATE partitions SET next = ? WHERE id = ?", (records[-1].offset + 1, partition_id))


class Transactions:
    """The log as the group-commit writer's database. See `dyff.kernel.sqlite_writer.Database`."""

    name = "the log"

    def __init__(
        self, connection: apsw.Connection, ends: dict[int, int], watermark: high_watermark.HighWatermark, wall: clock.Clock
    ) -> None:
        """`ends`: the next offset by partition ID; updated by the writer's thread, so nothing else may use it."""
        self.connection = connection
        self._ends, self._watermark, self._clock = ends, watermark, wall
        self._appended = sum(ends.values())
        self._wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        connection.set_wal_hook(self._after_commit)

    def begin(self) -> Transaction:
        return Transaction(self.connection, self._ends, clock.epoch_ms(self._clock.now()))

    def complete(self, transaction: Transaction) -> None:
        transaction.write_records()

    def committed(self, transaction: Transaction) -> None:
        for _, partitions in transaction.created:
            self._ends.update({each.id: each.held.end for each in partitions})
        for partition_id, records in transaction.appended.items():
            self._ends[partition_id] = records[-1].offset + 1
            self._appended += len(records)
        if transaction.appended:
            self._write_watermark()

    def failed(self, error: Exception, *, in_commit: bool) -> sqlite_writer.Failure:
        """Nothing was written, unless the disk failed: then the outcome is unknown."""
        log.error("log-write-failed", **errors.details(error))
        if not isinstance(error, apsw.IOError | apsw.CorruptError):
            return sqlite_writer.Failure(errors.Unavailable(f"the log cannot be written: {error}"))
        # Neither what is on the disk now, nor whether it accepts further writes, can be determined from here.
        fatal = errors.Fatal(f"the log's disk failed ({error}): repair it, then start again")
        return sqlite_writer.Failure(errors.OutcomeUnknown(f"the log's disk failed: {error}"), fatal)

    def rest(self) -> None:
        """Copy a grown WAL file into the database; SQLite restarts the WAL at the next commit that no reader interferes with."""
        if self._wal_pages < self._checkpoint_at:
            return
        try:
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            log.warning("log-checkpoint-failed", **errors.details(error))
        self._checkpoint_at = self._wal_pages + CHECKPOINT_PAGES

    def _write_watermark(self) -> None:
        """Failures are only logged: commits are durable without the watermark, and one that is behind merely proves less."""
        try:
            self._watermark.write(self._appended)
        except OSError as error:
            log.error("log-mark-failed", **errors.details(error))

    def _after_commit(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._wal_pages:
            self._checkpoint_at = CHECKPOINT_PAGES
        self._wal_pages = pages
        return 0
