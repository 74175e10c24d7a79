"""Whether a log was closed in order, recorded in the header of its file: so that a copy without its WAL file is noticed.

SQLite opens such a copy without a word, and then everything since the last checkpoint is missing. A log that is open, or whose server was
killed, always has a WAL file. So a file that says that it is open and has none was copied while a server wrote to it.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import structlog

from dyff.kernel import errors

log = structlog.get_logger()

_OPEN = 0x44594646
"""`PRAGMA application_id` of a log that is open. It is 0 in one that was closed."""
_AT, _HEADER_BYTES = 68, 100


def opened(connection: apsw.Connection) -> None:
    """Record that a server has the log open. A failure only means that a bad copy would not be noticed."""
    _record(connection, _OPEN)


def closed(connection: apsw.Connection) -> None:
    """Record that everything is in the file, before the last checkpoint."""
    _record(connection, 0)


def require_wal(path: Path) -> None:
    """Refuse a log that has no WAL file and needs one, unless a mark is next to it, which proves the end by itself. Call it before the
    mark is created.

    Raises:
        LogDiverged: it was copied without it.
    """
    wal, mark = path.with_name(path.name + "-wal"), path.with_name(path.name + ".mark")
    if mark.exists() or not path.exists() or (wal.exists() and wal.stat().st_size):
        return
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if int.from_bytes(header[_AT : _AT + 4], "big") == _OPEN:
        raise errors.LogDiverged(
            f"the log file {path} was copied while a server wrote to it, and without its -wal file: what was newest is missing; use"
            f" a backup that `dyff backup` made, or copy {wal.name} and {mark.name}, too; if you mean it, create an empty file {mark}"
        )


def _record(connection: apsw.Connection, value: int) -> None:
    try:
        connection.pragma("application_id", value)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except apsw.Error as error:
        log.warning("log-openness-not-recorded", **errors.details(error))
