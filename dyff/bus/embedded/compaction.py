"""Keeping only the last record of each key, as Kafka's cleaner does: a pass over what is new, then one over everything.

A pass costs a scan of the partition, so it waits until there is as much new as was kept the last time: the cost per
record stays constant. The very last record of a partition always stays.
"""

from __future__ import annotations

import apsw
import msgspec

from dyff.bus import port
from dyff.bus.embedded import logfile

MIN_NEW = 1000
"""Fewer new records than that are not worth a pass."""

_BATCHES = 100
_RECORDS = 20_000


class Lags(msgspec.Struct, frozen=True):
    """Records appended after `superseded_ms` are left alone, and deletions after `tombstones_ms`; milliseconds since 1970."""

    superseded_ms: int
    tombstones_ms: int


class Pass(msgspec.Struct, frozen=True):
    """A pass over a partition. `limit`: what comes from there on is left alone. `newest`: of the keys with something new
    below the limit, where that is.
    """

    lags: Lags
    limit: int
    newest: dict[bytes, int]


class Step(msgspec.Struct, frozen=True):
    """A part of a pass. `rewritten`: by first offset, what takes a batch's place, None: nothing. `removed`: so many records
    are gone then. `next`: where the next step begins.
    """

    rewritten: dict[int, logfile.Batch | None]
    removed: int
    next: int


def due(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> bool:
    """Whether a pass is worth its while."""
    return _limit(connection, partition, lags) - partition.clean >= max(MIN_NEW, partition.kept)


def begun(connection: apsw.Connection, partition: logfile.Partition, lags: Lags) -> Pass:
    """A pass over a partition as it is stored now."""
    limit = _limit(connection, partition, lags)
    newest: dict[bytes, int] = {}
    for _, records in logfile.stored_batches(connection, partition, partition.clean, limit):
        newest.update((each.key, each.offset) for each in records)
    return Pass(lags, limit, newest)


def step(connection: apsw.Connection, partition: logfile.Partition, whole: Pass, start: int) -> Step:
    """What is to be done from the offset `start` on, a bounded part of it. Nothing is written here.

    A deletion may go only in a pass that leaves nothing before it; then the key is as if it had never been.
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
    """The first offset that is too young to be touched."""
    young = f"SELECT first FROM log_{partition.id} WHERE first >= ? AND timestamp_ms > ? ORDER BY first LIMIT 1"
    found = connection.execute(young, (partition.clean, lags.superseded_ms)).get
    return partition.held.end if found is None else int(found)
