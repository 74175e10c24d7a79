"""The query store in its own SQLite file, which can be deleted: the sink rebuilds it from the log.

One connection writes, in a thread, one transaction at a time: documents and positions together. Readers never wait for
it (WAL). A point read takes microseconds, or no read at all if the document was read before and has not changed since, and
runs on the event loop. A find is first tried there with a budget of work; if it needs more, it is started again in a
thread, a batch at a time, so that no query blocks the loop and no answer has to fit in memory (`dyff.query.finding`).

Every document is checked when it is read. One that is damaged is not served: the view is replaced by an empty one, which the sink
fills from the log (`dyff.query.damage`).
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import apsw
import structlog

from dyff.kernel import degradation, errors, patience, sqlite, sqlite_checkpoints
from dyff.query import columns, cutover, damage, document_cache, filters, finding, plans, port, tables

log = structlog.get_logger()

_CHECKPOINT_PAGES = 1000
_THREADS = 2

_TABLES = tables.Tables()
_FORGOTTEN = (
    "SELECT 1 FROM tombstones WHERE collection = ?1 AND id = ?2 AND NOT EXISTS (SELECT 1 FROM documents WHERE collection = ?1 AND id = ?2)"
)
"""A tombstone stays where a newer version of the entity came after it."""


class EmbeddedQuery:
    """The `QueryStore` on SQLite; use `open`."""

    def __init__(
        self,
        path: Path,
        writer: apsw.Connection,
        reached: port.Reached,
        cutovers: cutover.CutoverCounter,
        troubles: degradation.Troubles,
    ) -> None:
        self._path, self._troubles = path, troubles
        self._damage = damage.Damage(path, troubles)
        self._patience = patience.Patience(tables.NAME, troubles)
        self._writing = anyio.CapacityLimiter(1)
        self._threads = anyio.CapacityLimiter(_THREADS)
        self.walks = 0  # in progress
        self._use(writer)
        self._reached = reached
        self._moved = anyio.Event()
        self._documents = document_cache.DocumentCache()
        self._cutovers = cutovers
        self._cutovers_seen = self._cutovers.count()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path | str, *, troubles: degradation.Troubles | None = None) -> AsyncIterator[EmbeddedQuery]:
        """Open the store in the file `path`. A missing, damaged or outdated file is replaced by an empty one.

        `troubles`: where faults that are worked around are reported; None if they are only logged.

        Raises:
            Locked: another program holds the lock of the file.
            Unavailable: the file cannot be opened.
        """
        with tables.translated():
            writer = await anyio.to_thread.run_sync(_open, Path(path))
            reached, cutovers = await anyio.to_thread.run_sync(_begun, Path(path), writer)
            store = cls(Path(path), writer, reached, cutovers, troubles or degradation.Troubles())
        try:
            yield store
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(store._close)

    def _use(self, writer: apsw.Connection) -> None:
        """Connect to the file that `writer` has open."""
        self._writer = writer
        self._checkpoints = sqlite_checkpoints.Checkpoints(writer, tables.NAME, self._troubles, pages=_CHECKPOINT_PAGES)
        self._readers = finding.Readers(self._path)

    async def get(self, collection: str, entity_id: str) -> bytes | None:
        self._damage.require_none(self._reached)
        place = (collection, entity_id)
        self._heed_cutovers()
        document = self._documents.get(place)
        if document is not None:
            return document
        with self._damage.noticed():
            body = self._readers.one(collection, entity_id)
        if body is not None and not self._cutovers_seen % 2:
            self._documents.keep(place, body)
        return body

    async def is_forgotten(self, collection: str, entity_id: str) -> bool:
        self._damage.require_none(self._reached)
        with self._damage.noticed():
            return self._readers.execute(_FORGOTTEN, (collection, entity_id)).fetchone() is not None

    async def find(self, query: filters.Find) -> AsyncGenerator[list[bytes], None]:
        self._damage.require_none(self._reached)
        plan = plans.plan(query)
        with self._damage.noticed():
            found = self._readers.small(plan)
        if found is not None:
            if found:
                yield found
            return
        readers = self._readers  # others once the file was replaced
        walk = readers.walk(plan)
        self.walks += 1
        try:
            while not walk.ended:
                if batch := await self._next(walk, readers):
                    yield batch
                del batch
        finally:
            self.walks -= 1
            if not walk.close(wait=False):
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(functools.partial(walk.close, wait=True))

    async def _next(self, walk: finding.Walk, readers: finding.Readers) -> list[bytes]:
        """The next batch. If the caller is cancelled, the thread's work is soon over, too."""
        with self._damage.noticed():
            batch = await anyio.to_thread.run_sync(walk.read, abandon_on_cancel=True, limiter=self._threads)
        self._damage.require_none(self._reached)
        if readers is not self._readers:
            raise errors.Unavailable(f"{tables.NAME} was replaced meanwhile; try again")
        return batch

    async def count(self, query: filters.Find) -> int:
        self._damage.require_none(self._reached)
        plan = plans.counting(query)
        with self._damage.noticed():
            found = self._readers.count_small(plan)
            if found is None:
                found = await anyio.to_thread.run_sync(self._readers.count, plan, limiter=self._threads)
        return found

    async def usage(self, account: str) -> port.Usage:
        self._damage.require_none(self._reached)
        with self._damage.noticed():
            return await anyio.to_thread.run_sync(self._readers.usage, account, limiter=self._threads)

    async def reached(self) -> port.Reached:
        return self._reached

    async def wait(self, events: Mapping[int, int], timeout_s: float) -> bool:
        with anyio.move_on_after(timeout_s):
            while not self._has_seen(events):
                await self._moved.wait()
        return self._has_seen(events)

    async def apply(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        async with self._writing:
            after = tables.moved_on(self._reached, reached)
            with self._documents.without({(each.collection, each.id) for each in documents}):
                news = await self._patience.during(lambda: self._written(documents, after))
            self._announce(after)
            self._damage.repaired(after)
        return news

    async def _written(self, documents: Sequence[port.Document], after: port.Reached) -> int:
        with self._damage.noticed():
            # A thread cannot be cancelled: when this raises, it has ended, and may have committed.
            return await anyio.to_thread.run_sync(self._write, documents, after)

    async def _erased(self) -> None:
        with self._damage.noticed():
            await anyio.to_thread.run_sync(self._erase)

    async def reset(self) -> None:
        async with self._writing:
            try:
                await self._patience.during(self._erased)
            finally:
                self._documents.clear()
            self._damage.forget_position()
            self._announce(port.Reached())

    async def lost(self) -> None:
        await self._damage.wait()
        with anyio.CancelScope(shield=True):
            async with self._writing:
                readers, old = self._readers, self._writer
                with tables.translated():
                    writer = await anyio.to_thread.run_sync(damage.replaced, self._path, _open)
                self._use(writer)
                self._documents.clear()
                self._damage.replaced(self._reached)
                self._announce(port.Reached())
                readers.close()
                await anyio.to_thread.run_sync(old.close)

    def _heed_cutovers(self) -> None:
        """Clear the cache if another process has replaced this view by a new one: everything read before may be outdated."""
        count = self._cutovers.count()
        if count != self._cutovers_seen:
            self._documents.clear()
            self._cutovers_seen = count

    def _has_seen(self, events: Mapping[int, int]) -> bool:
        return all(self._reached.events.get(partition, 0) >= end for partition, end in events.items())

    def _announce(self, reached: port.Reached) -> None:
        self._reached = reached
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def _write(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        with sqlite.transaction(self._writer):  # a rebuild may write to the file at the same time
            news = sum(_TABLES.put(self._writer, document) for document in documents)
            _TABLES.move(self._writer, reached)
        self._checkpoints.do_if_due()
        return news

    def _erase(self) -> None:
        with sqlite.transaction(self._writer):
            self._writer.execute("DELETE FROM documents; DELETE FROM tombstones; DELETE FROM positions; DELETE FROM epoch")

    def _close(self) -> None:
        self._readers.close()
        self._writer.close()
        self._cutovers.close()


def _begun(path: Path, writer: apsw.Connection) -> tuple[port.Reached, cutover.CutoverCounter]:
    """What an open store knows of its file."""
    reached, cutovers = _TABLES.reached(writer), cutover.CutoverCounter(path)
    cutovers.settle()
    return reached, cutovers


def _open(path: Path) -> apsw.Connection:
    """The writing connection, on a file with the current schema."""
    try:
        connection = sqlite.connect(path, durable=False, busy_s=sqlite.LOCK_LOOK_S)
        if has_schema(connection) and _is_readable(connection):
            return connection
        connection.close()
    except apsw.Error as error:
        if not sqlite.is_damaged(error):
            raise
    log.warning("view-replaced", path=str(path), reason="it is damaged, or of another release; it is filled from the log")
    sqlite.remove(path)
    connection = sqlite.connect(path, durable=False, busy_s=sqlite.LOCK_LOOK_S)
    has_schema(connection)
    return connection


def has_schema(connection: apsw.Connection) -> bool:
    """Whether it has the current schema, which is created in an empty file."""
    connection.pragma("cache_size", -64 * 2**10)
    if connection.pragma("user_version") == 0:
        with sqlite.transaction(connection):  # another process may be doing the same
            if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                connection.execute(columns.schema())
                connection.pragma("user_version", _version())
    return is_current(connection)


def _is_readable(connection: apsw.Connection) -> bool:
    """Whether it says how far it is."""
    try:
        _TABLES.reached(connection)
    except errors.Damaged:
        return False
    return True


def is_current(connection: apsw.Connection) -> bool:
    """Whether a file has the current schema."""
    return bool(connection.pragma("user_version") == _version())


def _version() -> int:
    """The checksum of the schema serves as its version."""
    return zlib.crc32(columns.schema().encode()) & 0x7FFFFFFF
