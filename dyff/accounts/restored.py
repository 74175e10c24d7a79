"""What is done to the copy of an accounts database that a backup holds: a token that was revoked since must not be valid again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from dyff.accounts import embedded, port
from dyff.kernel import sqlite

_NAME = "the accounts database"
_REMEDY = "restore another backup"


def require_sound(path: Path) -> None:
    """Read all of a database that no server has open.

    Raises:
        Damaged: it is damaged.
        NewerSchema: a newer release wrote it.
    """
    with sqlite.translated(_NAME, _REMEDY):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            embedded.require_known(connection)
            sqlite.require_whole(connection, _NAME, _REMEDY)
        finally:
            connection.close()


class Sequences(msgspec.Struct, frozen=True):
    """Numbers of changes. `relayed`: the last that the log has durably, as far as this database knows. `made`: the last that was made."""

    relayed: int
    made: int


def sequences(path: Path) -> Sequences:
    """The numbers of the last changes, whether or not a server has the database open; zeros if the file does not exist.

    Raises:
        Damaged: it is damaged.
        Unavailable: it cannot be read.
    """
    if not path.exists():
        return Sequences(0, 0)
    with sqlite.translated(_NAME, _REMEDY):
        connection = sqlite.connect_to_read(path)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'outbox'").fetchall():
                return Sequences(0, 0)
            made: Any = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'").get
            oldest: Any = connection.execute("SELECT min(sequence) FROM outbox").get
            return Sequences(int(made) if oldest is None else int(oldest) - 1, int(made))
        finally:
            connection.close()


async def invalidate_tokens(path: Path) -> int:
    """Rotate the signing secret and remove the records of all tokens, which are then invalid anyway. Returns how many there were.

    Each is recorded in the outbox, as if it had been revoked.

    Raises:
        Damaged, NewerSchema, Unavailable: see `embedded.EmbeddedAccounts.open`.
    """
    removed = 0
    async with embedded.EmbeddedAccounts.open(path) as accounts:
        await accounts.rotate_signing_secret()
        for account in await accounts.find():
            for key in await accounts.keys(account.id):
                removed += await accounts.revoke_key(account.id, key.id)
    return removed


async def carry_over(path: Path, replaced: Path) -> list[str]:
    """Suspend the accounts of the database `path` that are suspended or deleted in the newer one that it replaces.

    Returns their names.

    Raises:
        Damaged, NewerSchema, Unavailable: the replaced one cannot be read; nothing was done.
    """
    changed: list[str] = []
    async with embedded.EmbeddedAccounts.open(replaced) as newer:
        held = [each for each in await newer.find() if each.status != port.ACTIVE]
    async with embedded.EmbeddedAccounts.open(path) as accounts:
        for each in held:
            known = await accounts.get(each.id)
            if known is not None and known.status == port.ACTIVE:
                await accounts.set_status(each.id, each.status, each.reason)
                changed.append(each.name)
    return changed
