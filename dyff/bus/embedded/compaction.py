"""Compaction keeps only the last record of each key, like Kafka's log cleaner: a pass over what is new, then one over everything.

A pass costs a scan of the partition, so it waits until there is as much new data as the previous pass kept: the cost per
record stays constant. The very last record of a partition is always kept.
"""

from __future__ import annotations

import apsw
import msgspec

from dyff.bus import port
from dyff.bus.embedded import logfile

MIN_NEW = 1000
"""With fewer new records, a pass is not worthwhile."""

_BATCHES = 100
_RECORDS = 20_000


class Lags(msgspec.Struct, frozen=True):
    """Records appended after `superseded_ms`, and tombstones appended after `tombstones_ms`, are kept. Milliseconds since 1970."""

    superseded_ms: int
    tombstones_ms: int


class Pass(msgspec.Struct, frozen=True):
    """A pass over a partition. `limit`: records from this offset on are left alone. `newest`: for each key with new records
    below the limit, the offset of the newest one.
    """

    lags: Lags
    limit: int
    newest: dict[bytes, int]


class Step(msgspec.Struct, frozen=True):
    """A part of a pass. `rewritten`: by first offset, the replacement of a batch; None if the batch is deleted. `removed`: the
    number of records that this removes. `next`: where the next step begins.
    """

    rewritten: dict[int, logfile.Batch | None]
    removed: int
    next: int


def due(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> bool:
    """Whether a pass is worthwhile."""
    return _limit(connection, partition, lags) - partition.clean >= max(MIN_NEW, partition.kept)


def begun(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> Pass:
    """Start a pass over a partition in its current state."""
    limit = _limit(connection, partition, lags)
    newest: dict[bytes, int] = {}
    for _, records in logfile.stored_batches(connection, partition, partition.clean, limit):
        newest.update((each.key, each.offset) for each in records)
    return Pass(lags, limit, newest)


def step(connection: apsw.Connection, partition: logfile.Partition, whole: Pass, start: int) -> Step:
    """Compute a bounded part of the work, from the offset `start` on. Nothing is written here.

    A tombstone can only be removed in a pass that leaves nothing of its key before it; then the key is as if it had never existed.
    """
    rewritten: dict[int, logfile.Batch | None] = {}
    removed, seen = 0, 0
    for batch, records in logfile.stored_batches(connection, partition, start, whole.limit):
        kept = [each for each in records if _stays(each, partition, whole)]
        if len(kept) < len(records):
            rewritten[batch.first] = logfile.encoded(batch.first, batch.last, kept) if kept else None
            removed += len(records) - len(kept)
        seen += len(records)
        if len(rewritten) == _BATCHES or seen >= _RECORDS:
            return Step(rewritten, removed, batch.last + 1)
    return Step(rewritten, removed, whole.limit)


def _stays(record: port.Record, partition: logfile.Partition, whole: Pass) -> bool:
    if record.offset == partition.held.end - 1:
        return True
    if record.value is None and record.timestamp_ms <= whole.lags.tombstones_ms:
        return False
    return record.offset >= whole.newest.get(record.key, 0)


def _limit(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> int:
    """The first offset that is too recent to be compacted."""
    young = f"SELECT first FROM log_{partition.id} WHERE first >= ? AND timestamp_ms > ? ORDER BY first LIMIT 1"
    found = connection.execute(young, (partition.clean, lags.superseded_ms)).get
    return partition.held.end if found is None else int(found)
