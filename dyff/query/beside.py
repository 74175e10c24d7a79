"""The embedded query store for another process than the one that serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import apsw

from dyff.kernel import errors, sqlite
from dyff.query import columns, embedded, port, rebuilding, tables

_BATCH = 1000
_PRESENT = tables.Tables()
_DOCUMENTS = (
    f"SELECT rowid, collection, id, version, CAST(body AS BLOB), {tables.COLUMNS} FROM documents WHERE rowid > ? ORDER BY rowid LIMIT ?"
)
"""Each batch is read by itself, so that no reader keeps the server's WAL from being reset."""

_TOMBSTONES = "SELECT rowid, collection, id, version FROM tombstones WHERE rowid > ? ORDER BY rowid LIMIT ?"


class EmbeddedBeside:
    """The `QueryKeeper` on the file `path`, whether a server has it open or not."""

    def __init__(self, path: Path | str) -> None:
        """Nothing is opened, made or changed yet."""
        self._path = Path(path)

    async def reached(self) -> port.Reached:
        return await anyio.to_thread.run_sync(self._reached)

    async def scan(self) -> AsyncIterator[Sequence[port.Scanned]]:
        for step in (self._documents, self._tombstones):
            after = -1
            while True:
                found, after = await anyio.to_thread.run_sync(step, after)
                if not found:
                    break
                yield found

    def rebuild(self) -> AbstractAsyncContextManager[port.Rebuild]:
        return rebuilding.begun(self._path)

    def _reached(self) -> port.Reached:
        with sqlite.translated(tables.NAME), self._reading() as connection:
            return _PRESENT.reached(connection)

    def _documents(self, after: int) -> tuple[list[port.Scanned], int]:
        with sqlite.translated(tables.NAME), self._reading() as connection:
            rows: list[Any] = connection.execute(_DOCUMENTS, (after, _BATCH)).fetchall()
        found = [port.Scanned(port.Document(*row[1:5]), _is_sound(row[4], row[5:])) for row in rows]
        return found, rows[-1][0] if rows else after

    def _tombstones(self, after: int) -> tuple[list[port.Scanned], int]:
        with sqlite.translated(tables.NAME), self._reading() as connection:
            rows: list[Any] = connection.execute(_TOMBSTONES, (after, _BATCH)).fetchall()
        return [port.Scanned(port.Document(row[1], row[2], row[3], None), sound=True) for row in rows], rows[-1][0] if rows else after

    def _reading(self) -> _Reading:
        if not self._path.exists():
            raise errors.Misconfigured(f"there is no query store at {self._path}; is this the server's data directory?")
        return _Reading(self._path)


class _Reading:
    """A connection for one look."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> apsw.Connection:
        self._connection = sqlite.connect_to_read(self._path)
        if not embedded.is_current(self._connection):
            self._connection.close()
            raise errors.Misconfigured(f"{self._path} is the view of another release; a server of this one makes it anew")
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _is_sound(body: bytes, found: tuple[columns.Value, ...]) -> bool:
    try:
        return columns.values(body) == found
    except ValueError:
        return False
