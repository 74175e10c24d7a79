"""Maintenance of the embedded query store by another process, whether or not a server has it open: scan and rebuild."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import apsw

from dyff.kernel import errors, sqlite
from dyff.query import checked, columns, embedded, port, rebuilding, tables

_BATCH = 1000
_PRESENT = tables.Tables()
_DOCUMENTS = (
    "SELECT rowid, collection, id, version, CAST(body AS BLOB), checksum,"
    f" {tables.COLUMNS} FROM documents WHERE rowid > ? ORDER BY rowid LIMIT ?"
)
"""Each batch is a separate read, so that no reader keeps the server's WAL from being reset."""

_TOMBSTONES = "SELECT rowid, collection, id, version FROM tombstones WHERE rowid > ? ORDER BY rowid LIMIT ?"
_ROOT = "SELECT rootpage FROM sqlite_schema WHERE name = 'documents'"
"""Identifies a view in the file: another view has another root page, and its rows have other numbers."""


class EmbeddedMaintenance:
    """The `QueryMaintenance` on the file `path`, whether or not a server has it open."""

    def __init__(self, path: Path | str) -> None:
        """Does not open, create or change anything yet."""
        self._path = Path(path)

    async def reached(self) -> port.Reached:
        return await anyio.to_thread.run_sync(self._reached)

    async def usage(self, account: str) -> port.Usage:
        return await anyio.to_thread.run_sync(self._usage, account)

    async def scan(self) -> AsyncIterator[Sequence[port.Scanned]]:
        root = await anyio.to_thread.run_sync(self._root)
        for statement, scanned in ((_DOCUMENTS, _document), (_TOMBSTONES, _tombstone)):
            after = -1
            while rows := await anyio.to_thread.run_sync(self._rows, statement, after, root):
                after = rows[-1][0]
                yield [scanned(row) for row in rows]

    def rebuild(self) -> AbstractAsyncContextManager[port.Rebuild]:
        return rebuilding.begun(self._path)

    def _reached(self) -> port.Reached:
        with tables.translated(), self._reading() as connection:
            return _PRESENT.reached(connection)

    def _usage(self, account: str) -> port.Usage:
        with tables.translated(), self._reading() as connection:
            return tables.usage(connection, account)

    def _root(self) -> int:
        with tables.translated(), self._reading() as connection:
            return _root(connection)

    def _rows(self, statement: str, after: int, root: int) -> list[Any]:
        with tables.translated(), self._reading() as connection, connection:  # one consistent view of both
            if _root(connection) != root:
                raise errors.Fenced(f"{tables.NAME} was rebuilt meanwhile; begin again")
            found: list[Any] = connection.execute(statement, (after, _BATCH)).fetchall()
        return found

    def _reading(self) -> _Reading:
        if not self._path.exists():
            raise errors.Misconfigured(f"there is no query store at {self._path}; is this the server's data directory?")
        return _Reading(self._path)


class _Reading:
    """A connection for one read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> apsw.Connection:
        self._connection = sqlite.connect_to_read(self._path)
        if not embedded.is_current(self._connection):
            self._connection.close()
            raise errors.OlderSchema(f"{self._path} is the view of another release; a server of this one replaces it when it starts")
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _root(connection: apsw.Connection) -> int:
    row: Any = connection.execute(_ROOT).fetchone()
    return int(row[0])


def _document(row: Any) -> port.Scanned:
    stored = port.Document(*row[1:5])
    expected = checked.checksum(stored.collection, stored.version, stored.id, row[4])
    return port.Scanned(stored, expected == row[5] and _is_sound(row[4], row[6:]))


def _tombstone(row: Any) -> port.Scanned:
    return port.Scanned(port.Document(row[1], row[2], row[3], None), sound=True)


def _is_sound(body: bytes, found: tuple[columns.Value, ...]) -> bool:
    try:
        return columns.values(body) == found
    except ValueError:
        return False
