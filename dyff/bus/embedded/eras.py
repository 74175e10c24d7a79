"""The earlier epochs of a log that was restored from a backup: for each topic, how it was called, and up to which offsets.

The table exists only in a restored log, which also has a format of its own, so that a release that does not know epochs refuses it.
"""

from __future__ import annotations

import apsw
import msgspec

from dyff.kernel.positions import Era

RESTORED_FORMAT = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS eras (
    topic TEXT NOT NULL, number INTEGER NOT NULL, epoch TEXT NOT NULL, ends TEXT NOT NULL, PRIMARY KEY (topic, number)
) STRICT, WITHOUT ROWID;
"""
"""`ends`: a JSON list, by partition."""


def read(connection: apsw.Connection) -> dict[str, list[Era]]:
    """By topic, its earlier epochs, the oldest first."""
    found: dict[str, list[Era]] = {}
    if connection.pragma("user_version") == RESTORED_FORMAT:
        for topic, epoch, ends in connection.execute("SELECT topic, epoch, ends FROM eras ORDER BY topic, number"):
            found.setdefault(topic, []).append(Era(epoch, dict(enumerate(msgspec.json.decode(ends, type=list[int])))))
    return found


def add(connection: apsw.Connection, topic: str, number: int, era: Era) -> None:
    """Record that `era` is over. `number`: how many there were before it. Call it in a transaction."""
    connection.execute(_SCHEMA)
    ends = msgspec.json.encode([era.ends[partition] for partition in sorted(era.ends)]).decode()
    connection.execute("INSERT INTO eras VALUES (?, ?, ?, ?)", (topic, number, era.epoch, ends))
    connection.pragma("user_version", RESTORED_FORMAT)
