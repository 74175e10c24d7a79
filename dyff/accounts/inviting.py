"""Invitations: codes with which one outsider reads one safety case, and what it rests on (ADR 47).

An invitation is stored like a token, as a key of the case's account: it counts for its quota, it ends with the account and with the
signing secret, and each change of it reaches the log. Its code is no token: it is opaque, carries no grants, and is no part of any token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

import msgspec

from dyff.accounts import grants as granting
from dyff.accounts import port
from dyff.kernel import clock, errors, ids

PREFIX = "dyff-invite-"
_CODE = re.compile(rf"{PREFIX}([0-9a-f]{{32}})-([A-Za-z0-9_-]{{43}})", re.ASCII)
_REMEMBERED = 1000

REFUSED = "the invitation is not valid: it may have expired or been revoked; ask the person who sent it for another one"
"""What is said of every code that opens nothing, whatever the reason."""


class Opened(msgspec.Struct, frozen=True):
    """An invitation that is valid now. `grants`: as far as the account's permissions (still) cover them."""

    key: port.Key
    invitation: port.Invitation
    grants: tuple[granting.Grant, ...]


class Inviting:
    """Makes and verifies invitations. Safe for concurrent use by the tasks of one event loop."""

    def __init__(self, accounts: port.Accounts, time: clock.Clock, names: ids.Ids) -> None:
        """Nothing is remembered yet."""
        self._accounts, self._clock, self._ids = accounts, time, names
        self._known: OrderedDict[bytes, tuple[int | None, Opened]] = OrderedDict()

    async def issue(
        self, account_id: str, case: str, note: str, wanted: Sequence[granting.Grant], expires: datetime, owners: granting.Owners
    ) -> tuple[port.Key, str]:
        """Make an invitation; returns its record, and its code, which is stored nowhere.

        Raises:
            NotFound: the account does not exist.
            Forbidden: it is suspended or deleted.
        """
        account = await self._accounts.get(account_id)
        if account is None:
            raise errors.NotFound(f"there is no account {account_id}; an invitation belongs to the account of its safety case")
        if account.status != port.ACTIVE:
            raise errors.Forbidden(f"account {account_id} is {account.status.lower()}; it invites nobody")
        secret = secrets.token_urlsafe(32)
        key = port.Key(
            id=self._ids.new(),
            account=account_id,
            grants=granting.narrowed(wanted, account.permissions, owners),
            created=self._clock.now(),
            expires=expires,
            secret_hash=_hashed(secret, await self._accounts.signing_secret()),
            owners=dict(owners),
            invitation=port.Invitation(case, note),
        )
        await self._accounts.add_key(key)
        return key, f"{PREFIX}{key.id}-{secret}"

    def remembers(self, code: str) -> bool:
        """Whether a code was valid when it was last used, so that looking it up again costs little."""
        return _name(code) in self._known

    async def opened(self, code: str) -> Opened:
        """The invitation with this code.

        Raises:
            Unauthenticated: it opens nothing (any more); the message is the same for every reason.
            Unavailable: the accounts database does not answer.
        """
        name = _name(code)
        known = self._known.get(name)
        if known is not None and known[0] == await self._accounts.revision(known[1].key.account):
            found = known[1]
        else:
            self._known.pop(name, None)
            found = await self._looked_up(code, name)
        if found.key.expires <= self._clock.now():
            raise errors.Unauthenticated(REFUSED)
        return found

    async def _looked_up(self, code: str, name: bytes) -> Opened:
        match = _CODE.fullmatch(code)
        key = None if match is None else await self._accounts.get_key(match[1])
        if match is None or key is None or key.invitation is None:
            raise errors.Unauthenticated(REFUSED)
        account = await self._accounts.get(key.account)  # before the secret: what changes later changes the revision again
        if account is None or account.status != port.ACTIVE:
            raise errors.Unauthenticated(REFUSED)
        if not hmac.compare_digest(_hashed(match[2], await self._accounts.signing_secret()), key.secret_hash):
            raise errors.Unauthenticated(REFUSED)
        found = Opened(key, key.invitation, granting.narrowed(key.grants, account.permissions, key.owners))
        if await self._accounts.get_key(key.id) is not None:  # it was not revoked while the account was read
            self._known[name] = (account.revision, found)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found


def _name(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "replace")).digest()


def _hashed(secret: str, signing_secret: bytes) -> bytes:
    """What is stored of a secret. It has 256 random bits, so a slow function would protect nothing; a new signing secret ends it."""
    return hmac.digest(signing_secret, f"invitation:{secret}".encode(), "sha256")
