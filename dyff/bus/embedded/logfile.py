"""The SQLite file behind the log: its tables, how it is opened, and how damage is detected.

Each partition has its own table, `log_<id>`. A row is a batch: records that were appended together, as MessagePack
with one checksum, under the offset of the first. So appending touches only the right edge of one tree, a range of offsets
is a range of pages, and per-record work is done outside of SQLite. Next offsets are stored, not derived from the remaining
records.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from dyff.bus import port
from dyff.bus.embedded import eras, high_watermark, openness
from dyff.kernel import errors, sqlite

OLDEST_SQLITE = (3, 51, 3)
"""Earlier libraries can lose commits when a WAL file is reset while it is read (sqlite.org/wal.html#walresetbug)."""

FETCH_BYTES = 4 * 2**20
"""A read returns at most about this much, so that large records do not fill the memory."""

BATCH_RECORDS = 100
BATCH_BYTES = 2**20
"""Limits of a batch; the size is approximate. Reading one record means decoding its batch."""

_CHECKED_AT_OPEN = 64
_FORMAT = 1
_SCHEMA = """
CREATE TABLE topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL, epoch TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    first INTEGER NOT NULL, next INTEGER NOT NULL,
    clean INTEGER NOT NULL, kept INTEGER NOT NULL, -- below `clean`, `kept` records were left by the last compaction
    UNIQUE (topic, partition)
) STRICT;
CREATE TABLE committed (
    consumers TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (consumers, topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE owners (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

_SMALL = ("topics", "partitions", "committed", "owners")
"""They are read as a whole when the log is opened, so that damage is found then, and not in the middle of the work."""


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A record in a batch. New fields can only be added at the end, with a default."""

    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_DECODER = msgspec.msgpack.Decoder(list[_Stored])
_ENCODER = msgspec.msgpack.Encoder()


class Batch(msgspec.Struct, frozen=True):
    """A row of `log_<id>`. `first`, `last`: the offsets that its first and last record had when they were appended.
    `timestamp_ms`: when all of them were appended. `body`: the remaining records, as MessagePack.
    """

    first: int
    last: int
    timestamp_ms: int
    checksum: int
    body: bytes


class Partition(msgspec.Struct, frozen=True):
    """A partition as stored. `held`: its offsets. `clean` and `kept`: see `compaction`."""

    id: int
    topic: str
    partition: int
    held: port.Range
    clean: int = 0
    kept: int = 0


def create_partition(connection: apsw.Connection, partition_id: int, topic: str, partition: int) -> None:
    """Create a partition's table and its row."""
    connection.execute(
        f"CREATE TABLE log_{partition_id} (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,"
        " checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT"
    )
    connection.execute("INSERT INTO partitions VALUES (?, ?, ?, 0, 0, 0, 0)", (partition_id, topic, partition))


def batches(records: Sequence[port.Record]) -> Iterator[Batch]:
    """Encode records of one partition that were appended together as batches."""
    start, size = 0, 0
    for position, record in enumerate(records, start=1):
        size += len(record.key) + len(record.value or b"")
        if position - start == BATCH_RECORDS or size >= BATCH_BYTES or position == len(records):
            part = records[start:position]
            yield encoded(part[0].offset, part[-1].offset, part)
            start, size = position, 0


def encoded(first: int, last: int, records: Sequence[port.Record]) -> Batch:
    """Encode the records as one batch that covers the offsets from `first` to `last`."""
    body = _ENCODER.encode([(each.offset, each.key, each.value, each.headers) for each in records])
    timestamp_ms = records[0].timestamp_ms
    return Batch(first, last, timestamp_ms, _checksum(first, last, timestamp_ms, body), body)


def insert(connection: apsw.Connection, partition_id: int, records: Sequence[port.Record]) -> None:
    """Append records to the stored ones."""
    for each in batches(records):
        values = (each.first, each.last, each.timestamp_ms, each.checksum, each.body)
        connection.execute(f"INSERT INTO log_{partition_id} VALUES (?, ?, ?, ?, ?)", values)


def rewrite(connection: apsw.Connection, partition_id: int, first: int, batch: Batch | None) -> None:
    """Replace the batch with that first offset; delete it if `batch` is None."""
    if batch is None:
        connection.execute(f"DELETE FROM log_{partition_id} WHERE first = ?", (first,))
    else:
        connection.execute(f"UPDATE log_{partition_id} SET checksum = ?, body = ? WHERE first = ?", (batch.checksum, batch.body, first))


def stored_batches(connection: apsw.Connection, partition: Partition, start: int, end: int) -> Iterator[tuple[Batch, list[port.Record]]]:
    """The batches that can contain records with `start <= offset < end`, in order, with all of their records.

    Raises:
        LogDiverged: a batch differs from what was written.
    """
    table, topic, number = f"log_{partition.id}", partition.topic, partition.partition
    statement = (
        f"SELECT first, last, timestamp_ms, checksum, body FROM {table} WHERE first < ? AND last >= ? AND"
        f" first >= coalesce((SELECT first FROM {table} WHERE first <= ? ORDER BY first DESC LIMIT 1), 0) ORDER BY first"
    )
    for first, last, timestamp_ms, checksum, body in connection.execute(statement, (end, start, start)):
        if checksum != _checksum(first, last, timestamp_ms, body):
            raise errors.LogDiverged(f"{topic}/{number}@{first} is damaged: its checksum is wrong; restore a backup")
        stored = _DECODER.decode(body)
        found = [port.Record(topic, number, each.offset, timestamp_ms, each.key, each.value, each.headers) for each in stored]
        yield Batch(first, last, timestamp_ms, checksum, body), found


def fetch(connection: apsw.Connection, partition: Partition, start: int, end: int, limit: int) -> list[port.Record]:
    """Records with `start <= offset < end` in order: at most `limit`, and about `FETCH_BYTES`, but at least one if any exists.

    Raises:
        LogDiverged: a record differs from what was appended.
    """
    found: list[port.Record] = []
    size = 0
    for batch, records in stored_batches(connection, partition, start, end):
        if batch.first >= start and batch.last < end:
            found += records
        else:
            found += [each for each in records if start <= each.offset < end]
        size += len(batch.body)
        if len(found) >= limit or (size >= FETCH_BYTES and found):
            break
    return found[:limit]


def lookup(connection: apsw.Connection, partition: Partition, offsets: Sequence[int]) -> list[port.Record]:
    """The records at these offsets; missing ones are omitted.

    Raises:
        LogDiverged: a record differs from what was appended.
    """
    found: dict[int, port.Record] = {}
    for offset in offsets:
        if offset not in found:
            batch = next(iter(stored_batches(connection, partition, offset, offset + 1)), None)
            found |= {each.offset: each for each in batch[1]} if batch is not None else {}
    return [found[offset] for offset in offsets if offset in found]


def require_checksums(connection: apsw.Connection, partition: Partition) -> None:
    """Read all batches of a partition.

    Raises:
        LogDiverged: one differs from what was written.
    """
    for first, last, timestamp_ms, checksum, body in connection.execute(f"SELECT * FROM log_{partition.id} ORDER BY first"):
        if checksum != _checksum(first, last, timestamp_ms, body):
            raise errors.LogDiverged(f"{partition.topic}/{partition.partition}@{first} is damaged: its checksum is wrong; restore a backup")


def _checksum(first: int, last: int, timestamp_ms: int, body: bytes) -> int:
    """Checksum of everything in the row: SQLite notices a damaged tree, but not a damaged byte in a value."""
    return zlib.crc32(body, zlib.crc32(b"%d %d %d" % (first, last, timestamp_ms)))


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors about a damaged or unreadable file into ours."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        raise errors.LogDiverged(f"the log file {path} is damaged ({error}); restore a backup") from error
    except apsw.Error as error:
        if sqlite.is_locked(error):
            raise sqlite.locked(f"the log file {path}") from error
        raise errors.Unavailable(f"the log file {path} cannot be used: {error}") from error


def connect(path: Path) -> apsw.Connection:
    """A connection with our settings: every commit is on disk when it returns, and checkpoints happen only on request."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(int(sqlite.LOCK_LOOK_S * 1000))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """A connection that only reads a log that this release can read.

    Raises:
        LogDiverged: the log is damaged.
        Misconfigured: another release wrote it.
    """
    with translated_errors(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            require_format(connection, path)
            yield connection
        finally:
            connection.close()


def require_safe_sqlite(version: str) -> None:
    """Refuse a library that can lose commits.

    Raises:
        Misconfigured: it is too old.
    """
    if tuple(map(int, version.split("."))) < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise errors.Misconfigured(f"SQLite {version} can lose commits in WAL mode; {needed} or later is needed: upgrade the package apsw")


def opened(path: Path, watermark: high_watermark.HighWatermark) -> apsw.Connection:
    """Open the log, creating it if it does not exist, and verify that nothing acknowledged was lost.

    Raises:
        LogDiverged: something that was acknowledged is missing or damaged.
        Misconfigured: it is not one of our logs, or a newer release wrote it.
    """
    require_safe_sqlite(apsw.sqlite_lib_version())
    acknowledged = watermark.read()
    if acknowledged and not path.exists():
        raise errors.LogDiverged(f"the log file {path} is missing, but {acknowledged} records were acknowledged; {_advice(watermark)}")
    with translated_errors(path):
        _require_whole(path)
        connection = connect(path)
        try:
            _require_format(connection, path)
            _require_tail(connection, path, acknowledged, watermark)
            openness.opened(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _require_whole(path: Path) -> None:
    """Without a WAL file, all pages that the header counts must exist; with one, some of them may be in the WAL only."""
    wal = path.with_name(path.name + "-wal")
    size = path.stat().st_size if path.exists() else 0
    if size == 0 or (wal.exists() and wal.stat().st_size > 0):
        return
    with path.open("rb") as file:
        head = file.read(100)
    page = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    if len(head) < 100 or size < pages * (65536 if page == 1 else page):
        raise errors.LogDiverged(
            f"the log file {path} was cut: it has {size} bytes and should have {pages} pages of {page}; restore a backup"
        )


def _require_format(connection: apsw.Connection, path: Path) -> None:
    if not connection.pragma("user_version") and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").get:
        with connection:
            connection.execute(_SCHEMA)
            connection.pragma("user_version", _FORMAT)
    require_format(connection, path)


def require_format(connection: apsw.Connection, path: Path) -> None:
    """Verify that this release can read the log, and that its small tables are whole.

    Raises:
        Misconfigured: it cannot.
        LogDiverged: a small table is damaged.
    """
    found = connection.pragma("user_version")
    if found not in (_FORMAT, eras.RESTORED_FORMAT):
        raise errors.Misconfigured(f"{path} is not a log that this release can read (format {found}, known is {eras.RESTORED_FORMAT})")
    for table in _SMALL:
        sound = str(connection.execute(f"PRAGMA integrity_check({table})").get)
        if sound != "ok":
            raise errors.LogDiverged(f"the log file {path} is damaged ({table}: {sound.splitlines()[-1]}); restore a backup")


def _require_tail(connection: apsw.Connection, path: Path, acknowledged: int, watermark: high_watermark.HighWatermark) -> None:
    partitions = stored_partitions(connection)
    appended = sum(each.held.end for each in partitions)
    if appended < acknowledged:
        raise errors.LogDiverged(
            f"the log file {path} lost its end: it knows of {appended} records, but {acknowledged} were acknowledged; {_advice(watermark)}"
        )
    for each in partitions:
        end, at = each.held.end, max(each.held.first, each.held.end - _CHECKED_AT_OPEN)
        while at < end:
            found = fetch(connection, each, at, end, _CHECKED_AT_OPEN)
            if not found:
                raise errors.LogDiverged(f"the log file {path} is damaged: {each.topic}/{each.partition} does not end at {end - 1}")
            at = found[-1].offset + 1


def _advice(watermark: high_watermark.HighWatermark) -> str:
    return f"put the whole set of files back; if this is an older copy and you mean it, make {watermark.path} an empty file"


def stored_partitions(connection: apsw.Connection) -> list[Partition]:
    """All partitions as stored, by ID."""
    rows = connection.execute("SELECT id, topic, partition, first, next, clean, kept FROM partitions ORDER BY id")
    return [Partition(each[0], each[1], each[2], port.Range(each[3], each[4]), each[5], each[6]) for each in rows]


def stored_topics(connection: apsw.Connection) -> list[port.Topic]:
    """All topics as stored."""
    rows: list[Any] = connection.execute("SELECT name, partitions, compacted, epoch FROM topics").fetchall()
    earlier = eras.read(connection)
    return [
        port.Topic(name, partitions, bool(compacted), epoch, tuple(earlier.get(name, ()))) for name, partitions, compacted, epoch in rows
    ]
