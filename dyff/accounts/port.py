"""The authorization database: strongly consistent, outside the log.

A change is visible to every reader when the call returns. Changes that can invalidate a verification raise the account's
`revision`, so that a verification can be cached until the revision changes. Every change is also written to an outbox in the same
transaction, without secrets, so that it reaches the log.
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
"""Permanent. Like a suspended account it has no valid tokens, and none of its workflows start."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account, which grants nothing itself. `permissions`: the most that its tokens can be granted.

    `identity`: user names of its owner by external provider.
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


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Uses of an invitation for the same thing. `action`: as in the audit log. `entity`: what it was done to; None for several."""

    action: str
    entity: str | None
    first: datetime
    last: datetime
    count: int = 1


MAX_USES = 200
"""The limit of different uses in the history of an invitation. Further ones are counted together, as `OTHER`."""

OTHER = "other"


class Invitation(msgspec.Struct, frozen=True):
    """What makes a key an invitation. `case`: the safety case that it opens. `note`: for whom it is. `uses`: its history so far."""

    case: str
    note: str = ""
    uses: tuple[Use, ...] = ()

    def used(self, uses: Sequence[Use]) -> Invitation:
        """With more uses. Those for the same thing are added up."""
        found = {(each.action, each.entity): each for each in self.uses}
        for each in uses:
            place = (each.action, each.entity)
            if place not in found and len(found) >= MAX_USES:
                place = (OTHER, None)
            before = found.get(place)
            first, last = (each.first, each.last) if before is None else (min(before.first, each.first), max(before.last, each.last))
            count = each.count + (0 if before is None else before.count)
            found[place] = Use(action=place[0], entity=place[1], first=first, last=last, count=count)
        return msgspec.structs.replace(self, uses=tuple(found.values()))


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a token, or of an invitation.

    `id`: the token's `jti`. `secret_hash`: bcrypt, of an invitation an HMAC; the secret itself is only in the token or the code.
    `invitation`: None of a token. `owners`: the owners of those entities
    in the grants that are covered because of their owner: entity to account.
    """

    id: str
    account: str
    grants: tuple[Grant, ...]
    created: datetime
    expires: datetime
    secret_hash: bytes
    owners: dict[str, str] = {}
    invitation: Invitation | None = None


class Change(msgspec.Struct, frozen=True):
    """An entry of the outbox: its sequence number, and the change.

    `account`: empty if the change concerns all accounts. `body`: JSON bytes without secrets and hashes, the object
    `{"schemaVersion", "change", "time", "account", "data"}`.
    """

    sequence: int
    account: str
    body: bytes

    @property
    def id(self) -> str:
        """Derived from the entry alone, so that duplicates are recognised, even if a restored backup reuses sequence numbers."""
        return ids.derived("account-change", str(self.sequence), self.body.decode())


class Accounts(Protocol):
    """The database. Every method can raise `Unavailable`.

    Changes of permissions or status, and the revocation of a key, raise the account's revision, as they can invalidate a cached
    verification. A new signing secret raises all revisions. A new key raises none: cached verifications stay valid.
    """

    async def signing_secret(self) -> bytes:
        """The key that tokens are signed with; created on the first call, then always the same."""
        ...

    async def rotate_signing_secret(self) -> None:
        """Create a new one: every token ever issued becomes invalid (after a backup was restored)."""
        ...

    async def create(self, account: Account) -> None:
        """Add an account.

        Raises:
            AlreadyExists: the ID or the name is taken.
        """
        ...

    async def get(self, account_id: str) -> Account | None:
        """The account; None if it does not exist."""
        ...

    async def find(self, *, name: str | None = None, limit: int | None = None) -> list[Account]:
        """Accounts in order of creation. `name`: only the account with this name. `limit`: None for no limit."""
        ...

    async def revision(self, account_id: str) -> int | None:
        """The account's revision, cheaply; None if the account does not exist."""
        ...

    async def set_permissions(self, account_id: str, permissions: Sequence[Grant], version: str) -> None:
        """Replace all permissions.

        Raises:
            NotFound: the account does not exist.
        """
        ...

    async def set_status(self, account_id: str, status: str, reason: str | None) -> None:
        """Suspend, reactivate or delete an account.

        Raises:
            NotFound: the account does not exist.
        """
        ...

    async def add_key(self, key: Key) -> None:
        """Add a token's record.

        Raises:
            NotFound: the account does not exist.
            AlreadyExists: the key's ID is taken.
        """
        ...

    async def get_key(self, key_id: str) -> Key | None:
        """The record; None if it does not exist or was revoked."""
        ...

    async def keys(self, account_id: str) -> list[Key]:
        """The account's records that were not revoked, oldest first."""
        ...

    async def use_key(self, account_id: str, key_id: str, uses: Sequence[Use]) -> bool:
        """Add uses to the history of an invitation, and record them as a change. False if there is no such invitation (any more)."""
        ...

    async def revoke_key(self, account_id: str, key_id: str) -> bool:
        """Delete a token's record, so that the token is rejected immediately. False if the account has no such key."""
        ...

    async def outbox(self, limit: int) -> list[Change]:
        """The oldest changes that were not acknowledged, in order."""
        ...

    async def wait_outbox(self, timeout_s: float) -> bool:
        """Wait for a change that was not acknowledged, made by any process. False if none comes within `timeout_s` seconds.

        Cheap enough to be called in an endless loop. Changes by another process may be noticed a second late.
        """
        ...

    async def acknowledge(self, sequence: int) -> None:
        """Remove the changes up to and including `sequence`, because they are durable in the log."""
        ...
