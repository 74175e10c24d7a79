"""Keeps a WAL file small: the connection that writes copies it into the database between two transactions when it has grown.

SQLite would do the same by itself, but without a word when it fails, and then the file grows until the disk is full.
"""

from __future__ import annotations

import apsw
import structlog

from dyff.kernel import degradation, errors

log = structlog.get_logger()


class Checkpoints:
    """The checkpoints of one writing connection. Used in the thread that writes."""

    def __init__(self, connection: apsw.Connection, name: str, troubles: degradation.Troubles, *, pages: int) -> None:
        """`name`: of the database, for messages, such as `the log`. `pages`: a WAL file of so many pages is due."""
        self._connection, self._name, self._troubles, self._every = connection, name, troubles, pages
        self._trouble = f"checkpoint of {name}"
        self._wal_pages = 0
        self._at = pages
        connection.wal_autocheckpoint(0)
        connection.set_wal_hook(self._after_commit)

    def do_if_due(self) -> None:
        """Call it between two transactions. SQLite restarts the WAL at the next commit that no reader interferes with.

        A failure is reported, and tried again when the file has grown by as much again.
        """
        if self._wal_pages < self._at:
            return
        self._at = self._wal_pages + self._every
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            log.debug("checkpoint-busy", database=self._name)  # another connection is doing the same
        except apsw.Error as error:
            log.warning("checkpoint-failed", database=self._name, pages=self._wal_pages, **errors.details(error))
            self._troubles.report(self._trouble, str(error))
        else:
            self._troubles.clear(self._trouble)

    def _after_commit(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._wal_pages:
            self._at = self._every
        self._wal_pages = pages
        return apsw.SQLITE_OK
