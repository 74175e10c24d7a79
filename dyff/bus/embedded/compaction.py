"""Keeping only the last record of each key, as Kafka's cleaner does: a pass over what is new, then one over everything.

A pass costs a scan of the partition, so it waits until there is as much new as was kept the last time: the cost per
record stays constant. The very last record of a partition always stays.
"""

from __future__ import annotations

from array import array

import apsw
import msgspec

from dyff.bus.embedded import logfile

MIN_NEW = 1000
"""Fewer new records than that are not worth a pass."""


class Lags(msgspec.Struct, frozen=True):
    """Records appended after `superseded_ms` are left alone, and deletions after `tombstones_ms`; milliseconds since 1970."""

    superseded_ms: int
    tombstones_ms: int


class Pass(msgspec.Struct, frozen=True):
    """What is to be deleted, and how far the partition is compacted then."""

    offsets: array[int]
    clean: int
    kept: int


def due(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> bool:
    """Whether a pass is worth its while."""
    return _limit(connection, partition, lags) - partition.clean >= max(MIN_NEW, partition.kept)


def _limit(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> int:
    """The first offset that is too young to be touched."""
    young = f"SELECT offset FROM log_{partition.id} WHERE offset >= ? AND timestamp_ms > ? ORDER BY offset LIMIT 1"
    found = connection.execute(young, (partition.clean, lags.superseded_ms)).get
    return partition.held.end if found is None else int(found)


def planned(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> Pass:
    """A pass over a partition as it is stored now. Nothing is deleted yet.

    A deletion goes only once everything before it is gone; then the key is as if it had never been.
    """
    table, limit = f"log_{partition.id}", _limit(connection, partition, lags)
    connection.execute("DROP TABLE IF EXISTS temp.newest; CREATE TABLE temp.newest (key BLOB PRIMARY KEY, offset INTEGER) WITHOUT ROWID")
    connection.execute(
        f"INSERT INTO temp.newest SELECT key, max(offset) FROM {table} WHERE offset >= ? AND offset < ? GROUP BY key",
        (partition.clean, limit),
    )
    # CROSS JOIN: the scan is over the partition, in order, and looks each key up; never the other way round.
    superseded = f"SELECT a.offset FROM {table} AS a CROSS JOIN temp.newest AS b ON b.key = a.key WHERE a.offset < b.offset"
    tombstones = f"SELECT offset FROM {table} WHERE value IS NULL AND offset < ? AND offset < ? AND timestamp_ms <= ?"
    offsets = array("q", (row[0] for row in connection.execute(superseded)))
    gone = set(offsets)
    old = connection.execute(tombstones, (limit, partition.held.end - 1, lags.tombstones_ms))
    offsets.extend(row[0] for row in old if row[0] not in gone)
    connection.execute("DROP TABLE temp.newest")
    return Pass(offsets, limit, partition.kept + limit - partition.clean - len(offsets))
