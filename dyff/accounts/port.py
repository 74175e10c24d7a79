"""The authorization database: strongly consistent, outside the log.

A change is visible to every reader when the call returns. Every change of an account raises its `revision`, so that
what was checked once may be cached until the revision moves. Changes are also put into an outbox in the same
transaction, without secrets, so that they reach the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from dyff.accounts.grants import Grant
from dyff.kernel import ids

ACTIVE = "Active"
SUSPENDED = "Suspended"
DELETED = "Deleted"
"""For good. Like a suspended one it has no tokens, and nothing of it starts."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account. By itself it grants nothing. `permissions`: the most that its tokens may be granted.

    `identity`: what external providers call its owner: provider to name.
    """

    id: str
    name: str
    created: datetime
    status: str = ACTIVE
    reason: str | None = None
    identity: dict[str, str] = {}
    permissions: tuple[Grant, ...] = ()
    permissions_version: str = ""
    revision: int = 0


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A token's record.

    `id`: the token's `jti`. `secret_hash`: bcrypt; the secret itself is only in the token. `owners`: whose the entities are
    that the grants name, of those that are covered by that: entity to account.
    """

    id: str
    account: str
    grants: tuple[Grant, ...]
    created: datetime
    expires: datetime
    secret_hash: bytes
    owners: dict[str, str] = {}


class Change(msgspec.Struct, frozen=True):
    """An entry of the outbox: its sequence number, and what happened.

    `account`: empty where it concerns all. `body`: JSON bytes without secrets and hashes, the object `{"schemaVersion",
    "change", "time", "account", "data"}`.
    """

    sequence: int
    account: str
    body: bytes

    @property
    def id(self) -> str:
        """Follows from the entry alone, so that whoever meets it twice knows it; also where a restored backup counts again."""
        return ids.derived("account-change", str(self.sequence), self.body.decode())


class Accounts(Protocol):
    """The database. Every method may raise `Unavailable`.

    What takes something away or gives something back moves the account's revision: permissions, status, a revoked key.
    A new signing secret moves all of them. A new key moves none: what was checked stays true.
    """

    async def signing_secret(self) -> bytes:
        """The key that tokens are signed with; made at the first call, the same for every later one."""
        ...

    async def rotate_signing_secret(self) -> None:
        """Make a new one: every token that was ever issued becomes invalid (after a backup was restored)."""
        ...

    async def create(self, account: Account) -> None:
        """Add an account.

        Raises:
            AlreadyExists: the ID or the name is taken.
        """
        ...

    async def get(self, account_id: str) -> Account | None:
        """The account; None: there is none."""
        ...

    async def find(self, *, name: str | None = None, limit: int | None = None) -> list[Account]:
        """Accounts in order of creation; `name`: only that one."""
        ...

    async def revision(self, account_id: str) -> int | None:
        """The account's revision, cheaply; None: there is no such account."""
        ...

    async def set_permissions(self, account_id: str, permissions: Sequence[Grant], version: str) -> None:
        """Replace the permissions as a whole.

        Raises:
            NotFound: there is no such account.
        """
        ...

    async def set_status(self, account_id: str, status: str, reason: str | None) -> None:
        """Suspend, reactivate or delete.

        Raises:
            NotFound: there is no such account.
        """
        ...

    async def add_key(self, key: Key) -> None:
        """Add a token's record.

        Raises:
            NotFound: there is no such account.
            AlreadyExists: the key's ID is taken.
        """
        ...

    async def get_key(self, key_id: str) -> Key | None:
        """The record; None: there is none or it was revoked."""
        ...

    async def keys(self, account_id: str) -> list[Key]:
        """The account's records that were not revoked, oldest first."""
        ...

    async def revoke_key(self, account_id: str, key_id: str) -> bool:
        """Forget a token's record, so that the token is refused at once; False: the account has no such key."""
        ...

    async def outbox(self, limit: int) -> list[Change]:
        """The oldest changes that were not acknowledged, in order."""
        ...

    async def wait_outbox(self, timeout_s: float) -> bool:
        """Wait until there is a change that was not acknowledged, whichever process made it; False: not within `timeout_s` seconds.

        Cheap enough to be called for ever. What another process wrote may be noticed a second late.
        """
        ...

    async def acknowledge(self, sequence: int) -> None:
        """Changes up to and with `sequence` are in the log, durably: forget them."""
        ...
