"""Copies several SQLite files as they were at one moment, while other processes write to them.

All of them are locked for writing, a snapshot of each is opened, and the locks are released: that takes a millisecond. So the copies fit
together as after a power failure. A snapshot does not stop writers; while it is open, the WAL file of the original grows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw

from dyff.kernel import errors, sqlite

WAIT_S = 60.0
"""How long to try to get all locks."""
BUSY_S = 0.5
"""How long to wait for one lock, while writers of the others may wait for us."""
STEP_PAGES = 256
_PAUSE_S = 0.2


@contextmanager
def snapshots(paths: Sequence[Path], wait_s: float = WAIT_S) -> Iterator[list[apsw.Connection]]:
    """A connection to each file that sees it as it was at one moment, the same for all.

    Raises:
        Unavailable: a program held the lock of one for `wait_s`.
        Damaged: one is no database.
    """
    with ExitStack() as stack, sqlite.translated("the data directory"):
        writers = [_opened(path, stack) for path in paths]
        readers = [_opened(path, stack) for path in paths]
        until = time.monotonic() + wait_s
        while not _pinned(writers, readers):
            if time.monotonic() >= until:
                raise errors.Unavailable("another program holds the lock of a file of the data directory; end it and try again")
            time.sleep(_PAUSE_S)
        yield readers


def copy(source: apsw.Connection, target: Path) -> None:
    """Copy the snapshot to the new file `target`, durably, a few pages at a time. The copy is one file, without a WAL.

    Raises:
        DiskFull: there is no space left.
        Unavailable, Damaged: the source cannot be read.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with sqlite.translated(f"the copy {target}"):
        connection = apsw.Connection(str(target))
        try:
            connection.pragma("synchronous", "off")  # it is made durable as a whole
            with connection.backup("main", source, "main") as running:
                while not running.done:
                    running.step(STEP_PAGES)
            connection.pragma("journal_mode", "delete")
        finally:
            connection.close()


def size_bytes(source: apsw.Connection) -> int:
    """The size that a copy of the snapshot has."""
    return int(source.pragma("page_count")) * int(source.pragma("page_size"))


def _opened(path: Path, stack: ExitStack) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    stack.callback(connection.close)
    connection.set_busy_timeout(int(BUSY_S * 1000))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # a backup changes nothing
    return connection


def _pinned(writers: Sequence[apsw.Connection], readers: Sequence[apsw.Connection]) -> bool:
    try:
        for writer in writers:
            writer.execute("BEGIN IMMEDIATE")
        for reader in readers:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        return True
    except apsw.BusyError:
        for reader in readers:
            if reader.in_transaction:
                reader.execute("ROLLBACK")
        return False
    finally:
        for writer in writers:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
