"""Operations on the tables of the embedded query store, both of the active view and of one that is being rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import apsw

from dyff.kernel import errors, sqlite
from dyff.query import checked, columns, port

NAME = "the query store"
"""The name of the store in messages."""
REMEDY = "a server replaces it and fills it from the log; if none is running, delete its file"

_NAMES = (*(str(columns.name(path)) for path in columns.PATHS), *columns.SIZES)
COLUMNS = ", ".join(_NAMES)
"""The columns of frequently queried fields and of sizes, in order."""


def translated() -> AbstractContextManager[None]:
    """See `sqlite.translated`."""
    return sqlite.translated(NAME, REMEDY)


class Tables:
    """The statements on one set of tables."""

    def __init__(self, suffix: str = "") -> None:
        """`suffix`: of the tables' names."""
        self._known = f"SELECT rowid, version, {COLUMNS} FROM documents{suffix} WHERE collection = ? AND id = ?"
        self._forgotten = f"SELECT version FROM tombstones{suffix} WHERE collection = ? AND id = ?"
        self._delete = f"DELETE FROM documents{suffix} WHERE collection = ? AND id = ?"
        self._forget = f"INSERT OR REPLACE INTO tombstones{suffix} VALUES (?, ?, ?)"
        marks = ", ".join("?" * len(_NAMES))
        fields = f"collection, id, version, checksum, body, {COLUMNS}"
        self._insert = f"INSERT INTO documents{suffix} ({fields}) VALUES (?, ?, ?, ?, CAST(? AS TEXT), {marks})"
        self._update = f"UPDATE documents{suffix} SET version = ?, checksum = ?, body = CAST(? AS TEXT){{}} WHERE rowid = ?"
        self._positions = f"SELECT log, partition, next, checksum FROM positions{suffix}"
        self._move = (
            f"INSERT INTO positions{suffix} VALUES (?, ?, ?, ?) ON CONFLICT (log, partition)"
            " DO UPDATE SET next = excluded.next, checksum = excluded.checksum WHERE excluded.next > next"
        )
        self._epoch = f"SELECT epoch FROM epoch{suffix}"
        self._set_epoch = f"INSERT INTO epoch{suffix} SELECT ? WHERE NOT EXISTS (SELECT 1 FROM epoch{suffix})"

    def put(self, connection: apsw.Connection, document: port.Document) -> bool:
        """Write `document` unless the stored version is at least as new; returns whether it was written."""
        place = (document.collection, document.id)
        known = connection.execute(self._known, place).fetchone()
        forgotten = None if known else connection.execute(self._forgotten, place).fetchone()
        version = known[1] if known else forgotten[0] if forgotten else -1
        if version >= document.version:
            return False
        if document.body is None:
            connection.execute(self._delete, place)
            connection.execute(self._forget, (*place, document.version))
            return True
        found = columns.values(document.body)
        checksum = checked.checksum(document.collection, document.version, document.id, document.body)
        if known is None:
            connection.execute(self._insert, (*place, document.version, checksum, document.body, *found))
            return True
        changed = [(name, new) for name, old, new in zip(_NAMES, known[2:], found, strict=True) if old != new]
        text = self._update.format("".join(f", {name} = ?" for name, _ in changed))
        connection.execute(text, (document.version, checksum, document.body, *(new for _, new in changed), known[0]))
        return True

    def reached(self, connection: apsw.Connection) -> port.Reached:
        """The position of the view.

        Raises:
            Damaged: it is not the one that was written.
        """
        row = connection.execute(self._epoch).fetchone()
        logs: dict[str, dict[int, int]] = {"state": {}, "events": {}}
        for log, partition, after, checksum in connection.execute(self._positions):
            if log not in logs or checksum != checked.place_checksum(log, partition, after):
                raise errors.Damaged(f"{NAME} is damaged: its position in {log}/{partition} has a wrong checksum; {REMEDY}")
            logs[log][partition] = after
        return port.Reached(row[0] if row else None, **logs)

    def move(self, connection: apsw.Connection, reached: port.Reached) -> None:
        """Store the position of the view; each partition only moves forward."""
        logs = {"state": reached.state, "events": reached.events}
        rows = [
            (log, partition, after, checked.place_checksum(log, partition, after))
            for log, positions in logs.items()
            for partition, after in positions.items()
        ]
        connection.executemany(self._move, rows)
        if reached.epoch is not None:
            connection.execute(self._set_epoch, (reached.epoch,))


def usage(connection: apsw.Connection, account: str) -> port.Usage:
    """What an account keeps."""
    row = connection.execute(columns.USAGE, (account,)).fetchone()
    return port.Usage(*map(int, row or ()))


def moved_on(old: port.Reached, new: port.Reached) -> port.Reached:
    """The combined position; each partition only moves forward.

    Raises:
        LogDiverged: they belong to different epochs.
    """
    if old.epoch is not None and new.epoch not in (None, old.epoch):
        raise errors.LogDiverged(f"{NAME} belongs to log epoch {old.epoch}, not {new.epoch}; reset it first")
    return port.Reached(old.epoch or new.epoch, _forward(old.state, new.state), _forward(old.events, new.events))


def without(positions: Mapping[int, int], beyond: Mapping[int, int]) -> dict[int, int]:
    """The positions of an active view, but for those that the log does not have (`port.Rebuild.promote`)."""
    return {partition: end for partition, end in positions.items() if end > beyond.get(partition, -1)}


def _forward(old: Mapping[int, int], new: Mapping[int, int]) -> dict[int, int]:
    return {partition: max(old.get(partition, 0), new.get(partition, 0)) for partition in old.keys() | new.keys()}
