"""A rebuild in the embedded query store: the new view has its own tables, which swap names with the active ones (cutover).

They are in the same file, so that the cutover is one SQLite transaction: every statement of the server, which does not know about it,
uses either the old tables or the new ones. This does not repair a file that SQLite cannot read; a server replaces that when it starts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import anyio
import anyio.to_thread
import apsw

from dyff.kernel import errors, sqlite
from dyff.query import columns, cutover, embedded, port, tables

_NEXT, _OLD = "_next", "_old"
_MARK = "_b"
_INDEXES = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?"
_PIECE = 2000
"""Rows per transaction."""
_PAUSE_S = 0.003
"""Pause after each transaction, so that the server's sink gets its turn."""


class EmbeddedRebuild:
    """See `dyff.query.port.Rebuild`; use `begun`."""

    def __init__(self, connection: apsw.Connection, counter: cutover.CutoverCounter) -> None:
        self._connection, self._cutovers = connection, counter
        self._tables = tables.Tables(_NEXT)
        self._reached = port.Reached()
        self.promoted = False

    async def apply(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        after = tables.moved_on(self._reached, reached)
        news = await anyio.to_thread.run_sync(self._write, documents, after)
        self._reached = after
        await anyio.sleep(_PAUSE_S)
        return news

    async def promote(self, beyond: Mapping[int, int] = MappingProxyType({})) -> dict[int, int]:
        # A thread cannot be cancelled: when this raises, it has ended, and may have switched.
        return await anyio.to_thread.run_sync(self._promote, beyond)

    def _write(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        with tables.translated(), sqlite.transaction(self._connection):
            news = sum(self._tables.put(self._connection, document) for document in documents)
            self._tables.move(self._connection, reached)
        return news

    def _promote(self, beyond: Mapping[int, int]) -> dict[int, int]:
        self._cutovers.begin()
        try:
            with tables.translated(), sqlite.transaction(self._connection):
                present = tables.Tables().reached(self._connection)
                same = present.epoch == self._reached.epoch
                further = tables.without(present.state, beyond) if same else {}
                needed = {partition: end for partition, end in further.items() if self._reached.state.get(partition, 0) < end}
                if not needed:
                    self._rename()
        finally:
            self._cutovers.end()
        if not needed:
            self.promoted = True
            with tables.translated():
                _drop(self._connection, _OLD)
        return needed

    def _rename(self) -> None:
        for name in columns.TABLES:
            self._connection.execute(f"ALTER TABLE {name} RENAME TO {name}{_OLD}")
            self._connection.execute(f"ALTER TABLE {name}{_NEXT} RENAME TO {name}")


@asynccontextmanager
async def begun(path: Path) -> AsyncIterator[EmbeddedRebuild]:
    """Start a rebuild of the view in the file `path`, which is created if it is missing.

    Raises:
        InUse: another rebuild is running.
        Misconfigured: the file belongs to another release.
        Unavailable, Fatal: the file cannot be used.
    """
    with cutover.exclusive(path):
        connection, counter = await anyio.to_thread.run_sync(_opened, path)
        rebuild = EmbeddedRebuild(connection, counter)
        try:
            yield rebuild
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_close, rebuild, connection, counter)


def _opened(path: Path) -> tuple[apsw.Connection, cutover.CutoverCounter]:
    with tables.translated():
        connection = sqlite.connect(path, durable=False)
        try:
            if not embedded.has_schema(connection):
                raise errors.Misconfigured(f"{path} is the view of another release; a server of this one replaces it when it starts")
            for left in (_NEXT, _OLD):
                _drop(connection, left)
            taken = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'by_id'").fetchone()
            with sqlite.transaction(connection):
                connection.execute(columns.schema(_NEXT, _MARK if taken else ""))
            return connection, cutover.CutoverCounter(path)
        except BaseException:
            connection.close()
            raise


def _close(rebuild: EmbeddedRebuild, connection: apsw.Connection, counter: cutover.CutoverCounter) -> None:
    try:
        if not rebuild.promoted:
            _drop(connection, _NEXT)
    except apsw.Error:
        pass  # the next rebuild does it
    finally:
        counter.close()
        connection.close()


def _drop(connection: apsw.Connection, suffix: str) -> None:
    """Drop the tables with this suffix, in pieces: dropping a whole table takes time in proportion to its size, and blocks the sink."""
    for name in columns.TABLES:
        table = f"{name}{suffix}"
        for (index,) in connection.execute(_INDEXES, (table,)).fetchall():
            _step(connection, f'DROP INDEX "{index}"')
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
            while _step(connection, f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid LIMIT {_PIECE})"):
                pass
            _step(connection, f"DROP TABLE {table}")


def _step(connection: apsw.Connection, statement: str) -> int:
    """One transaction, and a pause; returns how many rows it changed."""
    before = connection.total_changes()
    connection.execute(statement)
    time.sleep(_PAUSE_S)
    return connection.total_changes() - before
