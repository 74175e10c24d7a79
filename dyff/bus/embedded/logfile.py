"""The SQLite file behind the log: its tables, how it is opened, and how damage is found.

Each partition is a table of its own, `log_<id>`, whose row number is the offset: appending touches only the right edge
of one tree, and a range of offsets is a range of pages. Next offsets are stored, not derived from what is left.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from dyff.bus import port
from dyff.bus.embedded import mark
from dyff.kernel import errors

OLDEST_SQLITE = (3, 51, 3)
"""Earlier libraries may lose commits when a WAL file is reset while it is read (sqlite.org/wal.html#walresetbug)."""

FETCH_BYTES = 4 * 2**20
"""A read returns at most about this much, so that large records do not fill the memory."""

_CHECKED_AT_OPEN = 64
_ROWS_AT_ONCE = 64
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
_HEADERS = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])
_ENCODER = msgspec.msgpack.Encoder()

Row = tuple[int, int, int, bytes, bytes | None, bytes | None]
"""A row of `log_<id>`: offset, timestamp_ms, checksum, key, headers (MessagePack; None: none), value."""


class Partition(msgspec.Struct, frozen=True):
    """A partition as stored. `held`: its offsets. `clean` and `kept`: see `compaction`."""

    id: int
    topic: str
    partition: int
    held: port.Range
    clean: int = 0
    kept: int = 0


def create_partition(connection: apsw.Connection, partition_id: int, topic: str, partition: int) -> None:
    """Make a partition's table and its row."""
    connection.execute(
        f"CREATE TABLE log_{partition_id} (offset INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, checksum INTEGER NOT NULL,"
        " key BLOB NOT NULL, headers BLOB, value BLOB) STRICT"
    )
    connection.execute("INSERT INTO partitions VALUES (?, ?, ?, 0, 0, 0, 0)", (partition_id, topic, partition))


def row(record: port.Record) -> Row:
    """How a record is stored."""
    headers = _ENCODER.encode(record.headers) if record.headers else None
    checksum = _checksum(record.offset, record.timestamp_ms, record.key, headers, record.value)
    return (record.offset, record.timestamp_ms, checksum, record.key, headers, record.value)


def insert(connection: apsw.Connection, partition_id: int, records: Sequence[port.Record]) -> None:
    """Append records to a partition's table.

    In few statements, of as many rows as a power of two: after each row of `executemany` the writer would have to get
    the interpreter back from an event loop that is busy just then (measured: a third of the time of a busy commit).
    """
    start = 0
    while start < len(records):
        count = min(1 << (len(records) - start).bit_length() - 1, _ROWS_AT_ONCE)
        values = [value for record in records[start : start + count] for value in row(record)]
        connection.execute(f"INSERT INTO log_{partition_id} VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * count)}", values)
        start += count


def move_ends(connection: apsw.Connection, ends: Mapping[int, int]) -> None:
    """Store next offsets, by partition ID."""
    moved = ", ".join(["(?, ?)"] * len(ends))
    text = f"WITH moved (id, next) AS (VALUES {moved}) UPDATE partitions SET next = moved.next FROM moved WHERE partitions.id = moved.id"
    connection.execute(text, [value for pair in ends.items() for value in pair])


def fetch(connection: apsw.Connection, partition: Partition, start: int, end: int, limit: int) -> list[port.Record]:
    """Records with `start <= offset < end` in order: at most `limit`, and no more than about `FETCH_BYTES`.

    Raises:
        LogDiverged: a record is not the one that was appended.
    """
    found: list[port.Record] = []
    size = 0
    rows = connection.execute(
        f"SELECT * FROM log_{partition.id} WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT ?", (start, end, limit)
    )
    for offset, timestamp_ms, checksum, key, headers, value in rows:
        if checksum != _checksum(offset, timestamp_ms, key, headers, value):
            raise errors.LogDiverged(
                f"{partition.topic}/{partition.partition}@{offset} is damaged: its checksum is wrong; restore a backup"
            )
        decoded = _HEADERS.decode(headers) if headers else ()
        found.append(port.Record(partition.topic, partition.partition, offset, timestamp_ms, key, value, decoded))
        size += len(key) + len(value or b"")
        if size >= FETCH_BYTES:
            break
    return found


def _checksum(offset: int, timestamp_ms: int, key: bytes, headers: bytes | None, value: bytes | None) -> int:
    """Of everything in the row: SQLite notices a damaged tree, but not a damaged byte in a value."""
    seed = zlib.crc32(key, (offset ^ timestamp_ms) & 0xFFFFFFFF)
    return zlib.crc32(value or b"", zlib.crc32(headers, seed) if headers else seed)


@contextmanager
def damage_is_told(path: Path) -> Iterator[None]:
    """Turns what SQLite says of a damaged or unreadable file into our errors."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        raise errors.LogDiverged(f"the log file {path} is damaged ({error}); restore a backup") from error
    except apsw.Error as error:
        raise errors.Unavailable(f"the log file {path} cannot be used: {error}") from error


def connect(path: Path) -> apsw.Connection:
    """A connection as we use it: every commit is on the disk when it returns, checkpoints happen where we say."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def require_safe_sqlite(version: str) -> None:
    """Refuse a library that can lose commits.

    Raises:
        Misconfigured: it is too old.
    """
    if tuple(map(int, version.split("."))) < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise errors.Misconfigured(f"SQLite {version} can lose commits in WAL mode; {needed} or later is needed: upgrade the package apsw")


def opened(path: Path, evidence: mark.Mark) -> apsw.Connection:
    """Open the log, made if there is none, and make sure that it is the one that was closed.

    Raises:
        LogDiverged: something that was acknowledged is missing or damaged.
        Misconfigured: it is no log of ours, or of a newer release.
    """
    require_safe_sqlite(apsw.sqlite_lib_version())
    acknowledged = evidence.read()
    if acknowledged and not path.exists():
        raise errors.LogDiverged(f"the log file {path} is missing, but {acknowledged} records were acknowledged; {_advice(evidence)}")
    with damage_is_told(path):
        _require_whole(path)
        connection = connect(path)
        try:
            _require_format(connection, path)
            _require_tail(connection, path, acknowledged, evidence)
        except BaseException:
            connection.close()
            raise
    return connection


def _require_whole(path: Path) -> None:
    """Without a WAL file all pages that the header counts must be there; with one, some may be only in that."""
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
    found = connection.pragma("user_version")
    if found == _FORMAT:
        return
    if found or connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").get:
        raise errors.Misconfigured(f"{path} is not a log that this release can read (format {found}, known is {_FORMAT})")
    with connection:
        connection.execute(_SCHEMA)
        connection.pragma("user_version", _FORMAT)


def _require_tail(connection: apsw.Connection, path: Path, acknowledged: int, evidence: mark.Mark) -> None:
    partitions = stored_partitions(connection)
    appended = sum(each.held.end for each in partitions)
    if appended < acknowledged:
        raise errors.LogDiverged(
            f"the log file {path} lost its end: it knows of {appended} records, but {acknowledged} were acknowledged; {_advice(evidence)}"
        )
    for each in partitions:
        end, at = each.held.end, max(each.held.first, each.held.end - _CHECKED_AT_OPEN)
        while at < end:
            found = fetch(connection, each, at, end, _CHECKED_AT_OPEN)
            if not found:
                raise errors.LogDiverged(f"the log file {path} is damaged: {each.topic}/{each.partition} does not end at {end - 1}")
            at = found[-1].offset + 1


def _advice(evidence: mark.Mark) -> str:
    return f"put the whole set of files back; if this is an older copy and you mean it, remove {evidence.path}"


def stored_partitions(connection: apsw.Connection) -> list[Partition]:
    """All partitions as stored, by ID."""
    rows = connection.execute("SELECT id, topic, partition, first, next, clean, kept FROM partitions ORDER BY id")
    return [Partition(each[0], each[1], each[2], port.Range(each[3], each[4]), each[5], each[6]) for each in rows]


def stored_topics(connection: apsw.Connection) -> list[port.Topic]:
    """All topics as stored."""
    rows = connection.execute("SELECT name, partitions, compacted, epoch FROM topics")
    return [port.Topic(name, partitions, bool(compacted), epoch) for name, partitions, compacted, epoch in rows]
