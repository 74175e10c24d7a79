"""Finds of the embedded query store: at once on the event loop if they are small, otherwise as walks, a batch at a time in threads.

A walk reads from one snapshot. Between two batches it holds nothing but its place: bodies that are not small are read one by one, by
statements that have ended when a batch is returned, and nothing that SQLite sorts or holds has them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import apsw

from dyff.kernel import errors, sqlite
from dyff.query import checked, plans, port, tables

MAX_IDLE = 2
"""Connections that are kept for the next walks."""

INLINE_BYTES = 256 * 2**10
"""A find with more bytes than this is a walk."""

_INLINE_BUDGET = 6
_BUDGET_UNIT = 1000
"""Instructions of SQLite's virtual machine. The budget suffices for a page of 100 through an index (0.3 ms)."""

_ROWS = 100
_STOP_UNIT = 20_000
"""Instructions between two looks at whether a walk is to stop."""

_ONE = f"SELECT {checked.ONE} FROM documents WHERE collection = ? AND id = ?"
_WHERE = "SELECT rowid, checksum, version, id FROM documents WHERE collection = ? AND id = ?"

One = Callable[[apsw.Connection, str, str], bytes | None]
"""Reads a document; None if it does not exist."""


class Readers:
    """The connections that read one file. Used in one event loop, but for what walks do."""

    def __init__(self, path: Path) -> None:
        """Opens the connection of the event loop."""
        self._path = path
        self._credit = 0
        self._inline = sqlite.connect_to_read(path)
        self._inline.set_progress_handler(self._spend, _BUDGET_UNIT)
        self._idle: list[apsw.Connection] = []
        self._closed = False

    def one(self, collection: str, entity_id: str) -> bytes | None:
        """One document; None if it does not exist.

        Raises:
            Damaged: it is not the one that was written.
        """
        self._credit = _INLINE_BUDGET
        return _one(self._inline, collection, entity_id)

    def execute(self, text: str, parameters: tuple[str, ...]) -> apsw.Cursor:
        """Execute a statement that reads little."""
        self._credit = _INLINE_BUDGET
        return self._inline.execute(text, parameters)

    def small(self, plan: plans.Plan) -> list[bytes] | None:
        """All that a find finds; None if it takes too long for the event loop, or is too large.

        Raises:
            Damaged: a document is not the one that was written.
        """
        if plan.reads_bodies:
            return None
        self._credit = _INLINE_BUDGET
        several = len(plan.statements) > 1
        if several:
            self._inline.execute("BEGIN")
        try:
            return self._small(plan)
        except apsw.InterruptError:
            return None
        finally:
            if several:
                self._credit = _INLINE_BUDGET
                self._inline.execute("ROLLBACK")

    def _small(self, plan: plans.Plan) -> list[bytes] | None:
        found: list[bytes] = []
        size = 0
        for rows in _rows(self._inline, plan):
            if size + checked.apart_bytes(rows) > INLINE_BYTES:
                return None
            more = list(_bodies(self._inline, plan.collection, rows, _one))
            found += map(plan.cut, more)
            size += sum(map(len, more))
            if size > INLINE_BYTES:
                return None
        return found

    def count_small(self, plan: plans.Plan) -> int | None:
        """What a plan of `plans.counting` counts; None if it takes too long for the event loop."""
        if plan.reads_bodies:
            return None
        self._credit = _INLINE_BUDGET
        try:
            return _counted(self._inline, plan)
        except apsw.InterruptError:
            return None

    def count(self, plan: plans.Plan) -> int:
        """The same, however long it takes. Blocks."""
        connection = self.take()
        try:
            return _counted(connection, plan)
        finally:
            self.give_back(connection)

    def walk(self, plan: plans.Plan) -> Walk:
        """Begin a walk. It must be closed."""
        return Walk(self, plan)

    def usage(self, account: str) -> port.Usage:
        """What the documents of one account add up to. Blocks."""
        connection = self.take()
        try:
            return tables.usage(connection, account)
        finally:
            self.give_back(connection)

    def take(self) -> apsw.Connection:
        """A connection that no other thread uses. Blocks."""
        try:
            return self._idle.pop()
        except IndexError:
            return sqlite.connect_to_read(self._path)

    def give_back(self, connection: apsw.Connection) -> None:
        """Keep the connection for the next walk, or close it. Any thread may call it."""
        if self._closed or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close all connections but those of present walks, which are closed at their end."""
        self._closed = True
        for each in (*self._idle, self._inline):
            each.close()

    def _spend(self) -> bool:
        """Called by SQLite after each unit of work; True interrupts the statement."""
        self._credit -= 1
        return self._credit < 0


class Walk:
    """One find in progress. `read` blocks; `ended`: all was read."""

    def __init__(self, readers: Readers, plan: plans.Plan) -> None:
        """Begins with the first `read`."""
        self.ended = False
        self._readers, self._plan = readers, plan
        self._busy = threading.Lock()
        self._stopped = False
        self._connection: apsw.Connection | None = None
        self._bodies: Iterator[bytes] = iter(())

    def read(self) -> list[bytes]:
        """Read the next batch, which is empty only at the end.

        Raises:
            Damaged: a document is not the one that was written.
        """
        with self._busy:
            if self._connection is None:
                self._begin()
            found: list[bytes] = []
            size = 0
            for each in self._bodies:
                found.append(each)
                size += len(each)
                if size >= port.BATCH_BYTES:
                    return found
            self.ended = True
            return found

    def close(self, *, wait: bool) -> bool:
        """Release the snapshot and the connection. False if a `read` is in progress; `wait`: wait for its end, which is near."""
        self._stopped = True
        if not self._busy.acquire(blocking=wait):
            return False
        try:
            self.ended, self._bodies = True, iter(())
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.set_progress_handler(None)
                with suppress(apsw.Error):
                    connection.execute("ROLLBACK")
                self._readers.give_back(connection)
        finally:
            self._busy.release()
        return True

    def _begin(self) -> None:
        if self._stopped:
            raise errors.Unavailable(f"a read of {tables.NAME} was stopped")
        connection = self._connection = self._readers.take()
        connection.set_progress_handler(lambda: self._stopped, _STOP_UNIT)
        connection.execute("BEGIN")
        batches = (_bodies(connection, self._plan.collection, rows, _one_directly) for rows in _rows(connection, self._plan))
        self._bodies = map(self._plan.cut, chain.from_iterable(batches))  # they keep no body, unlike a generator's variable


def _counted(connection: apsw.Connection, plan: plans.Plan) -> int:
    found: list[tuple[Any, ...]] = []
    for statement in plan.statements:
        found += connection.execute(statement.text, (*statement.parameters, plan.limit)).fetchall()
    return sum(int(row[0]) for row in found)


def _rows(connection: apsw.Connection, plan: plans.Plan) -> Iterator[list[tuple[object, ...]]]:
    """The rows of all statements, up to the limit, some at a time."""
    left = plan.limit
    for statement in plan.statements:
        if left == 0:
            return
        cursor = connection.execute(statement.text, (*statement.parameters, left))
        while rows := list(islice(cursor, _ROWS)):
            left -= len(rows) if left > 0 else 0
            yield rows


def _bodies(connection: apsw.Connection, collection: str, rows: Sequence[tuple[object, ...]], one: One) -> Iterator[bytes]:
    """The bodies in these rows, and those that are apart, which `one` reads, one after the other."""
    found = checked.bodies(collection, rows)
    if found is None:
        raise _damaged(collection)
    for each in found:
        yield each if isinstance(each, bytes) else _present(one(connection, collection, each), collection)


def _one(connection: apsw.Connection, collection: str, entity_id: str) -> bytes | None:
    row = connection.execute(_ONE, (collection, entity_id)).fetchone()
    if row is None:
        return None
    return _present(checked.body(collection, row), collection)


def _one_directly(connection: apsw.Connection, collection: str, entity_id: str) -> bytes | None:
    """The same without SQLite's own copies of the body, which would be two. Inside a transaction."""
    row = connection.execute(_WHERE, (collection, entity_id)).fetchone()
    if row is None:
        return None
    try:
        with connection.blob_open("main", "documents", "body", row[0], False) as blob:
            body = blob.read()
    except apsw.SQLError:  # it is no text
        return _present(None, collection)
    return _present(checked.body(collection, (*row[1:], body)), collection)


def _present(body: bytes | None, collection: str) -> bytes:
    if body is None:
        raise _damaged(collection)
    return body


def _damaged(collection: str) -> errors.Damaged:
    return errors.Damaged(f"{tables.NAME} is damaged: a document of {collection} has a wrong checksum")
