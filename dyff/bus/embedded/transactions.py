"""The log's write transactions: what the log does around each, and the operations in them.

Each operation's `apply` is a write for the group-commit writer; operations share transactions. One either does all of its work or
raises one of our errors before it has done any, so that the others in the same transaction are not affected. Its result is returned
to the caller once it is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw
import msgspec
import structlog

from dyff.bus import port, topics
from dyff.bus.embedded import high_watermark, logfile
from dyff.kernel import clock, degradation, errors, ids, sqlite, sqlite_checkpoints, sqlite_writer

log = structlog.get_logger()

_MARK = "mark of the log"
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
        self,
        connection: apsw.Connection,
        ends: dict[int, int],
        watermark: high_watermark.HighWatermark,
        wall: clock.Clock,
        troubles: degradation.Troubles | None = None,
    ) -> None:
        """`ends`: the next offset by partition ID; updated by the writer's thread, so nothing else may use it. `troubles`: of this
        process.
        """
        self.connection = connection
        self._ends, self._watermark, self._clock = ends, watermark, wall
        self._appended = sum(ends.values())
        self._troubles = troubles or degradation.Troubles(wall)
        self._checkpoints = sqlite_checkpoints.Checkpoints(connection, self.name, self._troubles, pages=CHECKPOINT_PAGES)

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
        """Nothing was written, unless the disk failed: then the outcome is unknown.

        Without space for the index of the WAL it is unknown, too: all is written then, but only a start would find it. The next commit
        settles it, since it takes the same place.
        """
        if sqlite.is_locked(error):
            return sqlite_writer.Failure(sqlite.locked(self.name))
        log.error("log-write-failed", **errors.details(error))
        if sqlite.is_full(error, self.connection):
            if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_WRITE and in_commit:
                return sqlite_writer.Failure(errors.OutcomeUnknown(f"the log's disk is full: {error}"))
            return sqlite_writer.Failure(errors.DiskFull(f"the log's disk is full: {error}"))
        if not isinstance(error, apsw.IOError | apsw.CorruptError):
            return sqlite_writer.Failure(errors.Unavailable(f"the log cannot be written: {error}"))
        # Neither what is on the disk now, nor whether it accepts further writes, can be determined from here.
        fatal = errors.DiskFailed(f"the log's disk failed ({error}): repair it, then start again")
        return sqlite_writer.Failure(errors.OutcomeUnknown(f"the log's disk failed: {error}"), fatal)

    def rest(self) -> None:
        """Copy a grown WAL file into the database."""
        self._checkpoints.do_if_due()

    def _write_watermark(self) -> None:
        """Failures are only logged: commits are durable without the watermark, and one that is behind merely proves less."""
        try:
            self._watermark.write(self._appended)
        except OSError as error:
            log.error("log-mark-failed", **errors.details(error))
            self._troubles.report(_MARK, f"{self._watermark.path} cannot be written: {error.strerror}")
        else:
            self._troubles.clear(_MARK)


class Append(msgspec.Struct, frozen=True):
    """Append messages, each to its partition. Returns their offsets.

    `owner`: name and epoch of the owner that appends; None for anyone. `commit`: recorded in the same transaction.
    """

    messages: Sequence[tuple[logfile.Partition, port.Message]]
    owner: tuple[str, int] | None = None
    commit: port.Commit | None = None

    def apply(self, transaction: Transaction) -> list[int]:
        if self.owner is not None:
            name, epoch = self.owner
            if transaction.connection.execute("SELECT epoch FROM owners WHERE name = ?", (name,)).get != epoch:
                raise errors.Fenced(f"another owner {name} was opened since")
        if self.commit is not None:
            CommitOffsets([self.commit]).apply(transaction)
        return transaction.append(self.messages)


class CommitOffsets(msgspec.Struct, frozen=True):
    """Record the next offsets of groups."""

    commits: Sequence[port.Commit]

    def apply(self, transaction: Transaction) -> None:
        transaction.connection.executemany(
            "INSERT INTO committed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET offset = excluded.offset",
            [(each.group, each.topic, each.partition, each.offset) for each in self.commits],
        )


class Own(msgspec.Struct, frozen=True):
    """Become the owner called `name`. Returns its epoch, which is higher than any before."""

    name: str

    def apply(self, transaction: Transaction) -> int:
        statement = "INSERT INTO owners VALUES (?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch"
        return int(transaction.connection.execute(statement, (self.name,)).get)


class CreateTopics(msgspec.Struct, frozen=True):
    """Create the topics that do not exist yet; all of them or, if one conflicts, none."""

    specs: Sequence[port.TopicSpec]
    ids: ids.Ids

    def apply(self, transaction: Transaction) -> None:
        known = {each.name: each for each in logfile.stored_topics(transaction.connection)}
        for spec in self.specs:
            topic = known.get(spec.name)
            if topic is not None:
                topics.require_same(topic, spec)
        for spec in self.specs:
            if spec.name not in known:
                known[spec.name] = self._create(transaction, spec)

    def _create(self, transaction: Transaction, spec: port.TopicSpec) -> port.Topic:
        connection = transaction.connection
        topic = port.Topic(spec.name, spec.partitions, spec.compacted, self.ids.new())
        connection.execute("INSERT INTO topics VALUES (?, ?, ?, ?)", (topic.name, topic.partitions, int(topic.compacted), topic.epoch))
        first_id = int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM partitions").get)
        made = []
        for partition in range(spec.partitions):
            logfile.create_partition(connection, first_id + partition, spec.name, partition)
            made.append(logfile.Partition(first_id + partition, spec.name, partition, port.Range(0, 0)))
        transaction.created.append((topic, made))
        return topic


class Truncate(msgspec.Struct, frozen=True):
    """Delete the records of a partition below an offset."""

    partition: logfile.Partition
    below: int

    def apply(self, transaction: Transaction) -> None:
        transaction.connection.execute(f"DELETE FROM log_{self.partition.id} WHERE last < ?", (self.below,))
        transaction.connection.execute("UPDATE partitions SET first = ? WHERE id = ?", (self.below, self.partition.id))
        transaction.firsts[self.partition.id] = self.below


class Rewrite(msgspec.Struct, frozen=True):
    """Replace batches of a compacted partition that contained superseded records."""

    partition: logfile.Partition
    batches: Mapping[int, logfile.Batch | None]

    @property
    def size(self) -> int:
        return sum(len(each.body) for each in self.batches.values() if each is not None)

    def apply(self, transaction: Transaction) -> None:
        for first, batch in self.batches.items():
            logfile.rewrite(transaction.connection, self.partition.id, first, batch)
        transaction.thinned.add(self.partition.id)


class Compacted(msgspec.Struct, frozen=True):
    """Record that a partition is compacted below `clean`, and that `kept` records are left there."""

    partition: logfile.Partition
    clean: int
    kept: int

    def apply(self, transaction: Transaction) -> None:
        transaction.connection.execute("UPDATE partitions SET clean = ?, kept = ? WHERE id = ?", (self.clean, self.kept, self.partition.id))
