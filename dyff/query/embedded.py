"""The query store in a SQLite file of its own, which may be deleted: the sink rebuilds it from the log.

One connection writes, in a thread, one transaction at a time: documents and positions together. Readers never wait for
it (WAL). A point read takes microseconds, or none where the document was read before and has not changed since, and
runs on the event loop. A find first tries there with a budget of work;
what is larger starts again in a thread, so that no query holds up the loop.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import apsw

from dyff.kernel import errors, sqlite
from dyff.query import columns, filters, plans, port, recent

NAME = "the query store"
"""As people call it."""

_THREADS = 2
_INLINE_LIMIT = 200
_INLINE_BUDGET = 6
_BUDGET_UNIT = 1000
"""Instructions of SQLite's virtual machine. The budget is enough for a page of 100 through an index (0.3 ms)."""

_NAMES = tuple(str(columns.name(path)) for path in columns.PATHS)
COLUMNS = ", ".join(_NAMES)
"""Those of what is often asked, in order."""

_INSERT = (
    f"INSERT INTO documents (collection, id, version, body, {COLUMNS}) VALUES (?, ?, ?, CAST(? AS TEXT), {', '.join('?' * len(_NAMES))})"
)
_KNOWN = f"SELECT rowid, version, {COLUMNS} FROM documents WHERE collection = ? AND id = ?"
_FORGOTTEN = "SELECT version FROM tombstones WHERE collection = ? AND id = ?"
_GET = "SELECT CAST(body AS BLOB) FROM documents WHERE collection = ? AND id = ?"


class EmbeddedQuery:
    """The `QueryStore` on SQLite; use `open`."""

    def __init__(self, path: Path, writer: apsw.Connection) -> None:
        self._path, self._writer = path, writer
        self._writing = anyio.CapacityLimiter(1)
        self._reader = sqlite.connect_to_read(path)
        self._inline = sqlite.connect_to_read(path)
        self._inline.set_progress_handler(self._spend, _BUDGET_UNIT)
        self._credit = 0
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._idle: list[apsw.Connection] = []
        self._reached = read_reached(writer)
        self._moved = anyio.Event()
        self._documents = recent.Recent()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path | str) -> AsyncIterator[EmbeddedQuery]:
        """The store in the file `path`. A missing, damaged or outdated file is made anew, empty.

        Raises:
            Unavailable: the file cannot be opened.
        """
        with sqlite.translated(NAME):
            writer = await anyio.to_thread.run_sync(_open, Path(path))
            store = cls(Path(path), writer)
        try:
            yield store
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(store._close)

    async def get(self, collection: str, entity_id: str) -> bytes | None:
        place = (collection, entity_id)
        document = self._documents.get(place)
        if document is not None:
            return document
        with sqlite.translated(NAME):
            row = self._reader.execute(_GET, place).fetchone()
        if row is None:
            return None
        self._documents.keep(place, row[0])
        return bytes(row[0])

    async def find(self, query: filters.Find) -> list[bytes]:
        statements = plans.statements(query)
        limit = -1 if query.limit is None else max(query.limit, 0)
        with sqlite.translated(NAME):
            if 0 <= limit <= _INLINE_LIMIT:
                self._credit = _INLINE_BUDGET
                try:
                    return _select(self._inline, statements, limit)
                except apsw.InterruptError:
                    pass
            return await anyio.to_thread.run_sync(self._select_apart, statements, limit, limiter=self._threads)

    async def reached(self) -> port.Reached:
        return self._reached

    async def wait(self, events: Mapping[int, int], timeout_s: float) -> bool:
        with anyio.move_on_after(timeout_s):
            while not self._has_seen(events):
                await self._moved.wait()
        return self._has_seen(events)

    async def apply(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        async with self._writing:
            after = _moved_on(self._reached, reached)
            try:
                with sqlite.translated(NAME):
                    news = await anyio.to_thread.run_sync(self._write, documents, after)
            finally:  # also where it is cancelled: the thread has ended then, and may have committed
                self._documents.drop([(each.collection, each.id) for each in documents])
            self._announce(after)
        return news

    async def reset(self) -> None:
        async with self._writing:
            try:
                with sqlite.translated(NAME):
                    await anyio.to_thread.run_sync(self._erase)
            finally:
                self._documents.clear()
            self._announce(port.Reached())

    def _has_seen(self, events: Mapping[int, int]) -> bool:
        return all(self._reached.events.get(partition, 0) >= end for partition, end in events.items())

    def _announce(self, reached: port.Reached) -> None:
        self._reached = reached
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def _spend(self) -> bool:
        """Called by SQLite after each unit of work; True interrupts the statement."""
        self._credit -= 1
        return self._credit < 0

    def _select_apart(self, statements: Sequence[plans.Statement], limit: int) -> list[bytes]:
        connection = self._idle.pop() if self._idle else sqlite.connect_to_read(self._path)
        try:
            return _select(connection, statements, limit)
        finally:
            self._idle.append(connection)

    def _write(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        with self._writer:
            news = sum(_put(self._writer, document) for document in documents)
            _write_reached(self._writer, reached)
        return news

    def _erase(self) -> None:
        with self._writer:
            self._writer.execute("DELETE FROM documents; DELETE FROM tombstones; DELETE FROM positions; DELETE FROM epoch")

    def _close(self) -> None:
        for connection in (*self._idle, self._inline, self._reader, self._writer):
            connection.close()


def _open(path: Path) -> apsw.Connection:
    """The writing connection, on a file that has the present schema."""
    try:
        connection = sqlite.connect(path, durable=False)
        if _has_schema(connection):
            return connection
        connection.close()
    except apsw.Error as error:
        if not sqlite.is_damaged(error):
            raise
    sqlite.remove(path)
    connection = sqlite.connect(path, durable=False)
    _has_schema(connection)
    return connection


def _has_schema(connection: apsw.Connection) -> bool:
    """Whether it has the present schema, which an empty file is given."""
    connection.pragma("cache_size", -64 * 2**10)
    if connection.pragma("user_version") == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        with connection:
            connection.execute(columns.schema())
            connection.pragma("user_version", _version())
    return is_current(connection)


def is_current(connection: apsw.Connection) -> bool:
    """Whether a file has the present schema."""
    return bool(connection.pragma("user_version") == _version())


def _version() -> int:
    """The schema's checksum is its version."""
    return zlib.crc32(columns.schema().encode()) & 0x7FFFFFFF


def _put(connection: apsw.Connection, document: port.Document) -> bool:
    """Write `document` unless what is there is as new; whether it was written."""
    place = (document.collection, document.id)
    known = connection.execute(_KNOWN, place).fetchone()
    forgotten = None if known else connection.execute(_FORGOTTEN, place).fetchone()
    version = known[1] if known else forgotten[0] if forgotten else -1
    if version >= document.version:
        return False
    if document.body is None:
        connection.execute("DELETE FROM documents WHERE collection = ? AND id = ?", place)
        connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", (*place, document.version))
        return True
    found = columns.values(document.body)
    if known is None:
        connection.execute(_INSERT, (*place, document.version, document.body, *found))
        return True
    changed = [(name, new) for name, old, new in zip(_NAMES, known[2:], found, strict=True) if old != new]
    update = "".join(f", {name} = ?" for name, _ in changed)
    text = f"UPDATE documents SET version = ?, body = CAST(? AS TEXT){update} WHERE rowid = ?"
    connection.execute(text, (document.version, document.body, *(new for _, new in changed), known[0]))
    return True


def _select(connection: apsw.Connection, statements: Sequence[plans.Statement], limit: int) -> list[bytes]:
    """The bodies, from one snapshot."""
    if len(statements) == 1:
        return _fetched(connection, statements[0], limit)
    with connection:
        found: list[bytes] = []
        for statement in statements:
            found += _fetched(connection, statement, limit if limit < 0 else limit - len(found))
    return found


def _fetched(connection: apsw.Connection, statement: plans.Statement, limit: int) -> list[bytes]:
    return [row[0] for row in connection.execute(statement.text, (*statement.parameters, limit))]


def _moved_on(old: port.Reached, new: port.Reached) -> port.Reached:
    """Both; each partition moves forward only."""
    if old.epoch is not None and new.epoch not in (None, old.epoch):
        raise errors.LogDiverged(f"{NAME} belongs to log epoch {old.epoch}, not {new.epoch}; reset it first")
    return port.Reached(old.epoch or new.epoch, _forward(old.state, new.state), _forward(old.events, new.events))


def _forward(old: Mapping[int, int], new: Mapping[int, int]) -> dict[int, int]:
    return {partition: max(old.get(partition, 0), new.get(partition, 0)) for partition in old.keys() | new.keys()}


def read_reached(connection: apsw.Connection) -> port.Reached:
    """How far the view in a file is."""
    row = connection.execute("SELECT epoch FROM epoch").fetchone()
    logs: dict[str, dict[int, int]] = {"state": {}, "events": {}}
    for log, partition, after in connection.execute("SELECT log, partition, next FROM positions"):
        logs[log][partition] = after
    return port.Reached(row[0] if row else None, **logs)


def _write_reached(connection: apsw.Connection, reached: port.Reached) -> None:
    logs = {"state": reached.state, "events": reached.events}
    rows = [(log, partition, after) for log, positions in logs.items() for partition, after in positions.items()]
    connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM epoch")
    if reached.epoch is not None:
        connection.execute("INSERT INTO epoch VALUES (?)", (reached.epoch,))
