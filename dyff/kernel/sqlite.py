"""Opens our SQLite files in one consistent way.

Always through apsw, which bundles its own SQLite: the system's may have the WAL-reset bug (3.7.0 to 3.51.2),
which can lose committed writes if a file has more than one connection.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from dyff.kernel import errors

_DAMAGED = (apsw.CorruptError, apsw.NotADBError)
_LOCKED = (apsw.BusyError, apsw.LockedError)
_PASSING = (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError)
_WAL_PAUSE_S = 0.01
LOCK_LOOK_S = 0.25
"""How long one attempt of a server waits for another program's lock, in a thread that cannot be cancelled. `dyff.kernel.patience` repeats
the attempt."""

_NO_SPACE = errors.NO_SPACE | {errno.EFBIG}


def connect(path: Path, *, durable: bool, busy_s: float = 10.0) -> apsw.Connection:
    """A connection in WAL mode; the file is created if it is missing.

    Blocks: if an event loop is running, call it in a thread. `durable`: a commit survives power loss (`synchronous=FULL`);
    otherwise the file stays consistent but may lose its last commits. `busy_s`: how long a call waits for another
    process's lock. Any thread may use the connection, but only one at a time.
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
    """Switch the file to WAL mode. If several connections do so with a new file at the same time, SQLite refuses all but one without
    waiting for the busy timeout, since two that hold a read lock and want to write would wait for each other. So retry for `busy_s`.
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
    """A read-only connection. In WAL mode it never waits for a writer, so a point read needs no thread."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(int(busy_s * 1000))
    return connection


def is_damaged(error: BaseException) -> bool:
    """Whether `error` means that the file is not a valid database."""
    return isinstance(error, _DAMAGED)


def is_full(error: BaseException, connection: apsw.Connection) -> bool:
    """Whether `error`, of this connection, means that no space is left: on the disk, in a quota, or for a file."""
    return isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and connection.system_errno in _NO_SPACE)


def require_whole(connection: apsw.Connection, what: str, remedy: str) -> None:
    """Read all of a small database, so that damage is found when it is opened and not in the middle of the work.

    Raises:
        Damaged: its pages or indexes do not fit together.
    """
    with translated(what, remedy):
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        raise errors.Damaged(f"{what} is damaged ({found[0].splitlines()[-1]}): {remedy}")


def remove(path: Path) -> None:
    """Delete a database that no connection has open, including its `-wal` and `-shm` files."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def is_locked(error: BaseException) -> bool:
    """Whether `error` means that another connection holds the lock; nothing was done."""
    return isinstance(error, _LOCKED)


def locked(what: str) -> errors.Locked:
    """The error for a lock of another program. `what`: the name of the database for messages."""
    return errors.Locked(f"another program has locked {what} (a backup or a shell); it is tried again until the lock is gone")


@contextmanager
def translated(what: str, remedy: str = "restore a backup") -> Iterator[None]:
    """Translate SQLite's errors into ours. `what`: the name of the database for messages. `remedy`: what to do if it is damaged.

    Raises:
        DiskFull: nothing was done.
        Locked: another program holds its lock; nothing was done.
        Unavailable: an I/O error; nothing was done.
        Damaged: the file is damaged.
        Fatal: one of our statements is wrong.
    """
    try:
        yield
    except apsw.FullError as error:
        raise errors.DiskFull(f"the disk of {what} is full: {error}") from error
    except _LOCKED as error:
        raise locked(what) from error
    except _PASSING as error:
        raise errors.Unavailable(f"{what} does not answer: {error}") from error
    except _DAMAGED as error:
        raise errors.Damaged(f"{what} is damaged ({error}): {remedy}") from error
    except apsw.Error as error:
        raise errors.Fatal(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit everything in the context together, or nothing. The write lock is held from the start, so that what the transaction
    reads stays true until it writes.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
