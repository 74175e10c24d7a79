"""SQLite files of ours, opened in one way.

Always through apsw, which brings its own SQLite: the one of the system may have the WAL-reset bug (3.7.0 to 3.51.2),
which can lose committed writes where a file has more than one connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from dyff.kernel import errors

_DAMAGED = (apsw.CorruptError, apsw.NotADBError)
_PASSING = (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError)
_WAL_PAUSE_S = 0.01


def connect(path: Path, *, durable: bool, busy_s: float = 10.0) -> apsw.Connection:
    """A connection in WAL mode; the file is made where it is missing.

    Blocks: call it in a thread where an event loop runs. `durable`: a commit survives power loss (`synchronous=FULL`);
    otherwise the file stays consistent but may lose its last commits. `busy_s`: how long a call waits for another
    process's lock. It may be used by any thread, by one at a time.
    """
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(int(busy_s * 1000))
        _to_wal(connection, busy_s)
        connection.pragma("synchronous", "full" if durable else "normal")
        connection.pragma("journal_size_limit", 64 * 2**20)
    except apsw.Error:
        connection.close()
        raise
    return connection


def _to_wal(connection: apsw.Connection, busy_s: float) -> None:
    """Of those who turn a new file into WAL mode at once, SQLite refuses all but one without waiting for the busy timeout,
    because two that hold a read lock and want to write would wait for each other: so this begins again, for `busy_s`.
    """
    until = time.monotonic() + busy_s
    while True:
        try:
            connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return


def connect_to_read(path: Path, *, busy_s: float = 1.0) -> apsw.Connection:
    """A connection that only reads. In WAL mode it never waits for a writer, so a point read needs no thread."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(int(busy_s * 1000))
    connection.pragma("mmap_size", 2**30)
    return connection


def is_damaged(error: BaseException) -> bool:
    """Whether `error` says that the file is no sound database."""
    return isinstance(error, _DAMAGED)


def remove(path: Path) -> None:
    """Delete a database that no connection has open, with its `-wal` and `-shm`."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of SQLite within become ours. `what`: the database, as the message calls it.

    Raises:
        Unavailable: locked for too long, disk full, input or output error: nothing was done.
        Fatal: the file is damaged, or a statement of ours is wrong.
    """
    try:
        yield
    except _PASSING as error:
        raise errors.Unavailable(f"{what} does not answer: {error}") from error
    except _DAMAGED as error:
        raise errors.Fatal(f"{what} is damaged: {error}") from error
    except apsw.Error as error:
        raise errors.Fatal(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All that is done within is committed together, or nothing is. It has the write lock from its start, so that what
    it reads stays true until it writes.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
