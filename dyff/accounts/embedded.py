"""The authorization database in a SQLite file, which the server and the command line can have open at the same time.

Every read uses a snapshot of what is committed now, by any process, so nothing is cached here (except a revision for one
turn of the event loop: a request that is handled in a turn was sent before it began). Writes go through one connection in
a thread, since they may wait for another process's lock. The file holds the signing secret and is readable by its owner
only.
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import secrets
import string
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import apsw
import msgspec

from dyff.accounts import port
from dyff.accounts.grants import Grant
from dyff.entities import codecs
from dyff.kernel import clock, degradation, errors, patience, sqlite

T = TypeVar("T")
_NAME = "the accounts database"
_REMEDY = "restore a backup of accounts.sqlite"
_VERSION = 1
_BODY_VERSION = "0.1"
_LOOK_S = 1.0
"""Interval at which the outbox is checked for changes by other processes; the read takes microseconds."""
_SECRET_LENGTH = 64
_ALPHABET = string.ascii_letters + string.digits
_SCHEMA = """
CREATE TABLE accounts (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX accounts_by_created ON accounts (created, id);
CREATE TABLE keys (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), created TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX keys_by_account ON keys (account, created, id);
CREATE TABLE outbox (sequence INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE signing (only INTEGER PRIMARY KEY CHECK (only = 1), secret BLOB NOT NULL);
"""

_account = msgspec.json.Decoder(port.Account)
_key = msgspec.json.Decoder(port.Key)


class EmbeddedAccounts:
    """The `Accounts` on SQLite; use `open`."""

    def __init__(
        self, writer: apsw.Connection, reader: apsw.Connection, troubles: degradation.Troubles | None = None, patience_s: float = 0.0
    ) -> None:
        self._writer, self._reader = writer, reader
        self._patience, self._patience_s = patience.Patience(_NAME, troubles or degradation.Troubles()), patience_s
        self._writing = anyio.CapacityLimiter(1)
        self._revisions: dict[str, int] = {}
        self._wrote = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path | str, *, troubles: degradation.Troubles | None = None, patience_s: float = patience.PATIENCE_S
    ) -> AsyncIterator[EmbeddedAccounts]:
        """Open the database in the file `path`, which is created if it is missing.

        `troubles`: where faults that are worked around are reported; None if they are only logged. `patience_s`: how long a write waits
        for another program's lock before it is refused; what the relay acknowledges waits for as long as it takes.

        Raises:
            Locked: another program holds the lock of the file.
            Unavailable: the file cannot be opened.
            Damaged: it is damaged; the message says what to do.
            NewerSchema: a newer release created it.
        """
        with sqlite.translated(_NAME, _REMEDY):
            writer, reader = await anyio.to_thread.run_sync(_open, Path(path))
        try:
            yield cls(writer, reader, troubles, patience_s)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(reader.close)
                await anyio.to_thread.run_sync(writer.close)

    async def signing_secret(self) -> bytes:
        found = self._read("SELECT secret FROM signing")
        return bytes(found[0][0]) if found else await self._write(_first_secret)

    async def rotate_signing_secret(self) -> None:
        await self._write(_rotate)

    async def create(self, account: port.Account) -> None:
        def write(connection: apsw.Connection) -> None:
            row = (account.id, account.name, clock.iso(account.created), account.revision, codecs.encode(account))
            try:
                connection.execute("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", row)
            except apsw.ConstraintError as error:
                raise errors.AlreadyExists(f"the account name {account.name!r} or the ID {account.id} is taken") from error
            _put_out(connection, account.id, "CreateAccount", account)

        await self._write(write)

    async def get(self, account_id: str) -> port.Account | None:
        found = self._read("SELECT body FROM accounts WHERE id = ?", account_id)
        return _decoded(_account, found[0][0]) if found else None

    async def find(self, *, name: str | None = None, limit: int | None = None) -> list[port.Account]:
        where = "1" if name is None else "name = ?"
        text = f"SELECT body FROM accounts WHERE {where} ORDER BY created, id LIMIT ?"
        found = self._read(text, *([] if name is None else [name]), -1 if limit is None else max(limit, 0))
        return [_decoded(_account, row[0]) for row in found]

    async def revision(self, account_id: str) -> int | None:
        known = self._revisions.get(account_id)
        if known is None:
            found = self._read("SELECT revision FROM accounts WHERE id = ?", account_id)
            if not found:
                return None
            if not self._revisions:
                asyncio.get_running_loop().call_soon(self._revisions.clear)
            known = self._revisions[account_id] = int(found[0][0])
        return known

    async def set_permissions(self, account_id: str, permissions: Sequence[Grant], version: str) -> None:
        await self._change(account_id, "SetAccountPermissions", permissions=tuple(permissions), permissions_version=version)

    async def set_status(self, account_id: str, status: str, reason: str | None) -> None:
        await self._change(account_id, "SetAccountStatus", status=status, reason=reason)

    async def add_key(self, key: port.Key) -> None:
        def write(connection: apsw.Connection) -> None:
            _known(connection, key.account)
            try:
                row = (key.id, key.account, clock.iso(key.created), codecs.encode(key))
                connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", row)
            except apsw.ConstraintError as error:
                raise errors.AlreadyExists(f"the key ID {key.id} is taken") from error
            _put_out(connection, key.account, "AddAccountKey", _without_hash(key))

        await self._write(write)

    async def get_key(self, key_id: str) -> port.Key | None:
        found = self._read("SELECT body FROM keys WHERE id = ?", key_id)
        return _decoded(_key, found[0][0]) if found else None

    async def keys(self, account_id: str) -> list[port.Key]:
        found = self._read("SELECT body FROM keys WHERE account = ? ORDER BY created, id", account_id)
        return [_decoded(_key, row[0]) for row in found]

    async def use_key(self, account_id: str, key_id: str, uses: Sequence[port.Use]) -> bool:
        def write(connection: apsw.Connection) -> bool:
            row = connection.execute("SELECT body FROM keys WHERE id = ? AND account = ?", (key_id, account_id)).fetchone()
            key = None if row is None else _decoded(_key, row[0])
            if key is None or key.invitation is None:
                return False
            after = msgspec.structs.replace(key, invitation=key.invitation.used(uses))
            connection.execute("UPDATE keys SET body = ? WHERE id = ?", (codecs.encode(after), key_id))
            _put_out(connection, account_id, "UseInvitation", {"id": key_id, "uses": list(uses)})
            return True

        return await self._write(write)

    async def revoke_key(self, account_id: str, key_id: str) -> bool:
        def write(connection: apsw.Connection) -> bool:
            connection.execute("DELETE FROM keys WHERE id = ? AND account = ?", (key_id, account_id))
            if not connection.changes():
                return False
            _update(connection, _known(connection, account_id))
            _put_out(connection, account_id, "RevokeAccountKey", {"id": key_id})
            return True

        return await self._write(write)

    async def outbox(self, limit: int) -> list[port.Change]:
        found = self._read("SELECT sequence, account, body FROM outbox ORDER BY sequence LIMIT ?", max(limit, 0))
        return [port.Change(*row) for row in found]

    async def wait_outbox(self, timeout_s: float) -> bool:
        with anyio.move_on_after(timeout_s):
            while not await self.outbox(1):
                await self._look_at_the_lock()
                with anyio.move_on_after(_LOOK_S):
                    await self._wrote.wait()
        return bool(await self.outbox(1))

    async def acknowledge(self, sequence: int) -> None:
        await self._write(lambda connection: connection.execute("DELETE FROM outbox WHERE sequence <= ?", (sequence,)), patience_s=math.inf)

    def _read(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Takes microseconds: in WAL mode a reader never waits, so it needs no thread."""
        try:
            return self._reader.execute(text, parameters).fetchall()
        except apsw.Error as error:
            with sqlite.translated(_NAME, _REMEDY):
                raise error

    async def _look_at_the_lock(self) -> None:
        """If the last write met another program's lock: try whether it is gone, since the next write may be far away."""
        if self._patience.meets_a_lock:
            with suppress(errors.Locked):
                await self._write(lambda _: None, patience_s=0.0)

    async def _write(self, act: Callable[[apsw.Connection], T], *, patience_s: float | None = None) -> T:
        """What `act` returns, in a transaction. `patience_s`: see `open`; None for what is set there."""
        wait_s = self._patience_s if patience_s is None else patience_s
        return await self._patience.during(functools.partial(self._written, act), patience_s=wait_s)

    async def _written(self, act: Callable[[apsw.Connection], T]) -> T:
        def run() -> T:
            with sqlite.transaction(self._writer):
                return act(self._writer)

        try:
            with sqlite.translated(_NAME, _REMEDY):
                return await anyio.to_thread.run_sync(run, limiter=self._writing)
        finally:  # even if it was cancelled: the thread may have committed
            self._revisions.clear()
            wrote, self._wrote = self._wrote, anyio.Event()
            wrote.set()

    async def _change(self, account_id: str, change: str, **fields: Any) -> None:
        def write(connection: apsw.Connection) -> None:
            after = _update(connection, _known(connection, account_id), **fields)
            _put_out(connection, account_id, change, after)

        await self._write(write)


def _open(path: Path) -> tuple[apsw.Connection, apsw.Connection]:
    """A writing and a reading connection, on a file that has the schema and is readable by its owner only."""
    _protect(path)
    writer = sqlite.connect(path, durable=True, busy_s=sqlite.LOCK_LOOK_S)
    try:
        with sqlite.transaction(writer):
            prepare(writer)
        sqlite.require_whole(writer, _NAME, _REMEDY)
        return writer, sqlite.connect_to_read(path)
    except BaseException:
        writer.close()
        raise


def prepare(connection: apsw.Connection) -> None:
    """Create the tables if there are none. Call it in a transaction.

    Raises:
        NewerSchema: a newer release created them.
    """
    version = connection.pragma("user_version")
    if version == 0:
        connection.execute(_SCHEMA)
        connection.pragma("user_version", _VERSION)
    require_known(connection)


def require_known(connection: apsw.Connection) -> None:
    """Refuse a database of a newer release.

    Raises:
        NewerSchema: it is one.
    """
    version = connection.pragma("user_version")
    if version > _VERSION:
        raise errors.NewerSchema(f"{_NAME} has schema version {version}, known are up to {_VERSION}: upgrade this program")


def _protect(path: Path) -> None:
    """Create the file with mode 0600, or restrict it to that. SQLite gives its auxiliary files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise errors.Unavailable(f"{_NAME} {path} cannot be opened: {error.strerror}") from error


def _known(connection: apsw.Connection, account_id: str) -> port.Account:
    row = connection.execute("SELECT body FROM accounts WHERE id = ?", (account_id,)).fetchone()
    if row is None:
        raise errors.NotFound(f"there is no account {account_id}")
    return _decoded(_account, row[0])


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise errors.Damaged(f"{_NAME} is damaged ({error}): {_REMEDY}") from error


def _update(connection: apsw.Connection, account: port.Account, **fields: Any) -> port.Account:
    """Write the account with changed `fields` and the next revision, and return it."""
    after = msgspec.structs.replace(account, revision=account.revision + 1, **fields)
    row = (after.revision, codecs.encode(after), after.id)
    connection.execute("UPDATE accounts SET revision = ?, body = ? WHERE id = ?", row)
    return after


def _put_out(connection: apsw.Connection, account_id: str, change: str, data: Any) -> None:
    recorded = {
        "schemaVersion": _BODY_VERSION,
        "change": change,
        "time": clock.iso(clock.SystemClock().now()),
        "account": account_id,
        "data": data,
    }
    body = codecs.encode(recorded)
    connection.execute("INSERT INTO outbox (account, body) VALUES (?, ?)", (account_id, body))


def _without_hash(key: port.Key) -> dict[str, Any]:
    return {name: getattr(key, name) for name in key.__struct_fields__ if name != "secret_hash"}


def _new_secret() -> bytes:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH)).encode()


def _first_secret(connection: apsw.Connection) -> bytes:
    """Store the first signing secret, unless another process already has; returns the stored one."""
    connection.execute("INSERT OR IGNORE INTO signing VALUES (1, ?)", (_new_secret(),))
    row: Any = connection.execute("SELECT secret FROM signing").fetchone()
    return bytes(row[0])


def _rotate(connection: apsw.Connection) -> None:
    """Raise the revision of every account, too, so that everything verified under the old secret is verified again."""
    connection.execute("INSERT OR REPLACE INTO signing VALUES (1, ?)", (_new_secret(),))
    for (account_id,) in connection.execute("SELECT id FROM accounts").fetchall():
        _update(connection, _known(connection, str(account_id)))
    _put_out(connection, "", "RotateSigningSecret", {})
