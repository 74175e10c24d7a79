"""The database: objects and their recent changes, in one SQLite file of one server. Other processes can read it.

Everything here runs in the writer's thread (`dyff.kernel.sqlite_writer`), except `open`. Versions only increase, also over
restarts, since the newest is stored. A new file starts at the time in milliseconds, so it never repeats versions of an earlier file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import apsw
import msgspec

from dyff.cluster import port
from dyff.cluster.embedded import codec
from dyff.kernel import degradation, errors, locks, sqlite, sqlite_checkpoints, sqlite_writer

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (horizon INTEGER NOT NULL, version INTEGER NOT NULL) STRICT;
CREATE TABLE objects (kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;
CREATE TABLE changes (
    version INTEGER PRIMARY KEY, event TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, previous BLOB
) STRICT;
"""
_SLACK = 1.25
"""The history is cut when it exceeds its limits by this factor, so that not every write pays for a cut."""

REMEDY = "restore a backup, or move it away together with its -wal file: then what was running ends as Interrupted and can be repeated"
_CHECKPOINT_PAGES = 1000
_BUSY_MS = 10_000
"""How long a write waits for another program that holds the lock of the file."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Change(msgspec.Struct, frozen=True):
    """A committed change. `kind`: `Resource.key`. `previous`: the object before the change; None unless its labels changed."""

    version: int
    event: EventType
    kind: str
    name: str
    body: bytes
    previous: bytes | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """The content of the file. `objects`: as (kind, name, body). `changes`: all changes after version `horizon`, in order."""

    objects: list[tuple[str, str, bytes]]
    changes: list[Change]
    horizon: int
    version: int


class Limits(msgspec.Struct, frozen=True):
    """Limits of the history: it is cut to so many changes and so many bytes."""

    changes: int = 4_000
    bytes: int = 32 * 2**20


class Transaction:
    """Reads and writes of one group commit. A verb raises either before it writes or not at all."""

    def __init__(self, connection: apsw.Connection, version: int, horizon: int) -> None:
        """`version`: the newest one so far. `horizon`: of the history; updated when the transaction is completed."""
        self._connection = connection
        self.version, self.horizon = version, horizon
        self.changes: list[Change] = []

    def get(self, kind: str, name: str) -> port.Object | None:
        """The object as seen by this transaction; None if it does not exist."""
        row = self._connection.execute("SELECT body FROM objects WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        return None if row is None else codec.decode(cast(bytes, row[0]))

    def all(self, kind: str) -> Iterator[port.Object]:
        """All objects of a type."""
        for (body,) in self._connection.execute("SELECT body FROM objects WHERE kind = ? ORDER BY name", (kind,)):
            yield codec.decode(cast(bytes, body))

    def put(self, kind: str, old: port.Object | None, new: port.Object) -> port.Object:
        """Store `new` with the next version, replacing `old`. An identical object is not a change."""
        if old is not None and codec.same(old, new):
            return old
        body, stamped = self._stamp(new)
        self._connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (kind, new["metadata"]["name"], body))
        self._record("ADDED" if old is None else "MODIFIED", kind, body, old, stamped)
        return stamped

    def remove(self, kind: str, old: port.Object) -> port.Object:
        """Delete the object; returns its last state, with the version of the deletion."""
        body, stamped = self._stamp(old)
        self._connection.execute("DELETE FROM objects WHERE kind = ? AND name = ?", (kind, old["metadata"]["name"]))
        self._record("DELETED", kind, body, None, stamped)
        return stamped

    def _stamp(self, obj: port.Object) -> tuple[bytes, port.Object]:
        stamped = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version + 1)}}
        body = codec.encode(stamped)
        self.version += 1
        return body, stamped

    def _record(self, event: EventType, kind: str, body: bytes, old: port.Object | None, new: port.Object) -> None:
        relabelled = old is not None and old["metadata"].get("labels") != new["metadata"].get("labels")
        change = Change(self.version, event, kind, new["metadata"]["name"], body, codec.encode(old) if relabelled else None)
        row = (change.version, change.event, change.kind, change.name, change.body, change.previous)
        self._connection.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", row)
        self.changes.append(change)


class Store:
    """The open file, as the group-commit writer's database. See `dyff.kernel.sqlite_writer.Database`."""

    name = "the cluster database"

    def __init__(self, connection: apsw.Connection, limits: Limits, troubles: degradation.Troubles) -> None:
        """Use `open`."""
        self.connection = connection
        self._lock = ExitStack()
        self._checkpoints = sqlite_checkpoints.Checkpoints(connection, self.name, troubles, pages=_CHECKPOINT_PAGES)
        self._limits = limits
        self._history: deque[tuple[int, int]] = deque()
        self._history_bytes = 0
        self._horizon, self._version = cast(tuple[int, int], connection.execute("SELECT horizon, version FROM meta").fetchone())

    @classmethod
    def open(cls, path: Path, first_version: int, limits: Limits, troubles: degradation.Troubles | None = None) -> tuple[Store, Snapshot]:
        """The file at `path`, created if it is missing, held until `close`, and all that is in it.

        `first_version`: of a new file. `troubles`: where failed maintenance is reported; None if it is only logged.

        Raises:
            InUse: another process has locked it.
            Damaged: it is damaged, or is not such a database.
            Misconfigured: it cannot be opened.
            NewerSchema: a newer release wrote it.
        """
        with ExitStack() as lock:
            lock.enter_context(_locked(path))
            opened, snapshot = cls._open(path, first_version, limits, troubles)
            opened._lock = lock.pop_all()
            return opened, snapshot

    @classmethod
    def _open(cls, path: Path, first_version: int, limits: Limits, troubles: degradation.Troubles | None) -> tuple[Store, Snapshot]:
        try:
            connection = apsw.Connection(str(path))
        except apsw.Error as error:
            raise errors.Misconfigured(f"the cluster database {path} cannot be opened: {error}") from error
        try:
            _prepare(connection, path, first_version)
            sqlite.require_whole(connection, f"the cluster database {path}", REMEDY)
            opened = cls(connection, limits, troubles or degradation.Troubles())
            return opened, opened._load()
        except BaseException as error:
            connection.close()
            if isinstance(error, apsw.BusyError):
                raise sqlite.locked(f"the cluster database {path}") from error
            if sqlite.is_damaged(error) or isinstance(error, (apsw.SQLError, TypeError)):
                raise errors.Damaged(f"the cluster database {path} is damaged ({error}): {REMEDY}") from error
            if isinstance(error, apsw.Error):
                raise errors.Misconfigured(f"the cluster database {path} cannot be used: {error}") from error
            raise

    def _load(self) -> Snapshot:
        objects = cast("list[tuple[str, str, bytes]]", self.connection.execute("SELECT kind, name, body FROM objects").fetchall())
        rows = self.connection.execute("SELECT version, event, kind, name, body, previous FROM changes ORDER BY version")
        changes = [Change(*row) for row in cast("Iterator[tuple[Any, ...]]", rows)]
        self._remember(changes)
        return Snapshot(objects, changes, self._horizon, self._version)

    def begin(self) -> Transaction:
        return Transaction(self.connection, self._version, self._horizon)

    def complete(self, transaction: Transaction) -> None:
        if transaction.changes:
            transaction.horizon = self._cut(transaction)
            self.connection.execute("UPDATE meta SET horizon = ?, version = ?", (transaction.horizon, transaction.version))

    def committed(self, transaction: Transaction) -> None:
        self._version, self._horizon = transaction.version, transaction.horizon
        self._remember(transaction.changes)

    def failed(self, error: Exception, *, in_commit: bool) -> sqlite_writer.Failure:
        """Before the commit, and if the disk is full, nothing was written; another failed commit can be on the disk nevertheless."""
        if sqlite.is_locked(error):
            return sqlite_writer.Failure(sqlite.locked(self.name))
        if isinstance(error, apsw.FullError):
            return sqlite_writer.Failure(errors.DiskFull(f"the disk of the cluster database is full: {error}"))
        if in_commit:
            return sqlite_writer.Failure(errors.OutcomeUnknown(f"the cluster database failed in a commit: {error}"))
        return sqlite_writer.Failure(errors.Unavailable(f"the cluster database cannot be written: {error}"))

    def rest(self) -> None:
        """Copy a grown WAL file into the database."""
        self._checkpoints.do_if_due()

    def close(self) -> None:
        """Close and unlock the file. SQLite merges its write-ahead log into it."""
        self.connection.close()
        self._lock.close()

    def _cut(self, transaction: Transaction) -> int:
        """Remove the oldest changes if there are too many; returns the new horizon."""
        count = len(self._history) + len(transaction.changes)
        size = self._history_bytes + sum(len(change.body) for change in transaction.changes)
        if count <= self._limits.changes * _SLACK and size <= self._limits.bytes * _SLACK:
            return self._horizon
        horizon = self._horizon
        for version, body_bytes in self._history:
            if count <= self._limits.changes and size <= self._limits.bytes:
                break
            horizon, count, size = version, count - 1, size - body_bytes
        self.connection.execute("DELETE FROM changes WHERE version <= ?", (horizon,))
        return horizon

    def _remember(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._history.append((change.version, len(change.body)))
            self._history_bytes += len(change.body)
        while self._history and self._history[0][0] <= self._horizon:
            self._history_bytes -= self._history.popleft()[1]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a second server out; the kernel releases the lock however this one ends. SQLite's own exclusive mode would keep out readers,
    too, such as a backup.
    """
    try:
        with locks.alone(path.with_name(path.name + ".lock"), f"the cluster database {path} is in use by another server"):
            yield
    except OSError as error:
        raise errors.Misconfigured(f"the cluster database {path} cannot be opened: {error.strerror}") from error


def _prepare(connection: apsw.Connection, path: Path, first_version: int) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    (found,) = cast(tuple[int], connection.execute("PRAGMA user_version").fetchone())
    if found > SCHEMA_VERSION:
        raise errors.NewerSchema(f"the cluster database {path} has format {found}, this release knows {SCHEMA_VERSION}: upgrade Dyff")
    if found == 0:
        connection.execute(_SCHEMA)
        connection.execute("INSERT INTO meta VALUES (?, ?)", (first_version, first_version))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
