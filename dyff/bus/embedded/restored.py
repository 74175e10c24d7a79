"""What is done to the copy of a log that a backup holds: it is proved to be whole, and continued under a new epoch."""

from __future__ import annotations

from pathlib import Path

import apsw

from dyff.bus.embedded import eras, high_watermark, logfile, openness
from dyff.kernel import ids, sqlite
from dyff.kernel.positions import Era


def require_sound(path: Path) -> dict[str, dict[int, int]]:
    """Read all batches of a log that no bus has open, and compare their checksums. Returns the ends, by topic and partition.

    Raises:
        LogDiverged: it is damaged.
        Misconfigured: this release cannot read it.
    """
    ends: dict[str, dict[int, int]] = {}
    with logfile.reading(path) as connection:
        for each in logfile.stored_partitions(connection):
            logfile.require_checksums(connection, each)
            ends.setdefault(each.topic, {})[each.partition] = each.held.end
    return ends


def start_new_epoch(path: Path, new_ids: ids.Ids) -> None:
    """Give each topic a new epoch, and write the high watermark of the log, which no bus has open.

    What it holds keeps its positions, and so do groups and checkpoints of it; what is appended has positions of the new epoch. Nothing
    can therefore take an event for one at the same offset that the original got after the backup.

    Raises:
        LogDiverged: it is damaged.
    """
    with logfile.translated_errors(path):
        connection = logfile.connect(path)
        try:
            stored = logfile.stored_partitions(connection)
            with sqlite.transaction(connection):
                for topic in logfile.stored_topics(connection):
                    ends = {each.partition: each.held.end for each in stored if each.topic == topic.name}
                    eras.add(connection, topic.name, len(topic.earlier), Era(topic.epoch, ends))
                    connection.execute("UPDATE topics SET epoch = ? WHERE name = ?", (new_ids.new(), topic.name))
            openness.closed(connection)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            connection.close()
    watermark = high_watermark.HighWatermark(path.with_name(path.name + ".mark"))
    try:
        watermark.write(sum(each.held.end for each in stored))
    finally:
        watermark.close()
