"""Authenticates requests: issues, verifies and revokes tokens.

A verification is cheap if the token can be rejected early, and if it is repeated. The signature is checked first, so that a
forged token costs no look-up. The result of bcrypt, which takes a tenth of a second, is cached until the account's revision
changes, so that a change takes effect with the next request.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

import anyio
import anyio.to_thread
import bcrypt
import msgspec

from dyff.accounts import grants as granting
from dyff.accounts import inviting, port, tokens
from dyff.kernel import clock, errors, ids

_REMEMBERED = 10_000
_SECRET_AGE_S = 1.0
_COST = 10
"""bcrypt's cost: 60 ms. A higher cost would protect guessable secrets; these have 256 random bits."""


class Principal(msgspec.Struct, frozen=True):
    """The sender of a request, and its permissions.

    `claims`: the token's claims, without its secret. `account`: as it was at the check; None if the token's subject is something else, such
    as a session. `grants`: the token's, as far as the account's permissions (still) cover them. `invitation`: None if it is a token.
    """

    claims: tokens.Claims
    account: port.Account | None
    grants: tuple[granting.Grant, ...]
    invitation: inviting.Opened | None = None


class _Checked(msgspec.Struct, frozen=True):
    """A principal and what it depends on apart from the account's revision: the signing secret, and the record of the token's secret."""

    principal: Principal
    signing_secret: bytes
    key: port.Key | None


class Authority:
    """Tokens on top of an accounts database. Safe for concurrent use by the tasks of one event loop."""

    def __init__(
        self,
        accounts: port.Accounts,
        clock: clock.Clock,
        ids: ids.Ids,
        *,
        cost: int = _COST,
        remembered: int = _REMEMBERED,
        leeway_s: float = 0.0,
    ) -> None:
        """`cost`: of bcrypt, for new secrets. `remembered`: how many verified tokens are cached; the least recently used are evicted.

        `leeway_s`: how far the clock of a token's issuer may be ahead of ours.
        """
        self._accounts, self._clock, self._ids = accounts, clock, ids
        self._cost, self._capacity, self._leeway_s = cost, remembered, leeway_s
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()
        self._checking: dict[bytes, anyio.Lock] = {}
        self._signing_secret, self._secret_read = b"", 0.0
        self.invitations = inviting.Inviting(accounts, clock, ids)

    async def issue(
        self, account_id: str, grants: Sequence[granting.Grant], expires: datetime, owners: granting.Owners = granting.NO_OWNERS
    ) -> str:
        """Issue a new token of an account, which can be revoked by its `jti`. It is returned only here and never stored.

        `owners`: owners of entities that the grants name, as far as they are known.

        Raises:
            NotFound: the account does not exist.
            Forbidden: the account is suspended or deleted, or its permissions do not cover a grant; the message names it.
            InvalidFields: `expires` has passed.
        """
        account = await self._accounts.get(account_id)
        if account is None:
            raise errors.NotFound(f"there is no account {account_id}")
        if account.status != port.ACTIVE:
            raise errors.Forbidden(f"account {account_id} is {account.status.lower()}; it gets no new tokens")
        for grant in grants:
            if not granting.is_covered(grant, account.permissions, owners):
                raise errors.Forbidden(f"the permissions of account {account_id} do not cover the grant {_text(grant)}")
        now = self._future(expires)
        secret = secrets.token_urlsafe(32)
        hashed = await anyio.to_thread.run_sync(bcrypt.hashpw, secret.encode(), bcrypt.gensalt(self._cost))
        claims = tokens.Claims(self._ids.new(), f"Account/{account_id}", now, expires, tuple(grants), secret)
        await self._accounts.add_key(
            port.Key(
                id=claims.id,
                account=account_id,
                grants=claims.grants,
                created=now,
                expires=expires,
                secret_hash=hashed,
                owners=dict(owners),
            )
        )
        return tokens.sign(claims, await self._secret(0.0))

    async def verify(self, token: str) -> Principal:
        """The principal that presents `token`.

        Raises:
            Unauthenticated: it is forged, malformed, expired or revoked, or its account is suspended or deleted.
            Unavailable: the accounts database does not answer.
        """
        name = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = await self._still_true(name)
        if known is not None:
            return known
        lock = self._checking.setdefault(name, anyio.Lock())
        try:
            async with lock:
                return await self._still_true(name) or await self._check(name, token)
        finally:
            if not lock.statistics().tasks_waiting:
                self._checking.pop(name, None)

    async def require_active(self, account_id: str) -> None:
        """Check the owner for a token without an account of its own (a session's): it must be neither suspended nor deleted.

        An owner that is only a label and not an account (as the published API allows) passes.

        Raises:
            Unauthenticated: the owner is suspended or deleted.
        """
        account = await self._accounts.get(account_id)
        if account is not None and account.status != port.ACTIVE:
            raise errors.Unauthenticated(f"the account of the owner is {account.status.lower()}; an administrator knows more")

    async def revoke(self, account_id: str, key_id: str) -> None:
        """Reject a token from now on.

        Raises:
            NotFound: the account has no such token.
        """
        if not await self._accounts.revoke_key(account_id, key_id):
            raise errors.NotFound(f"account {account_id} has no token {key_id}")

    async def revoke_all(self, account_id: str) -> int:
        """Reject all existing tokens of an account; returns how many there were."""
        return sum([await self._accounts.revoke_key(account_id, key.id) for key in await self._accounts.keys(account_id)])

    async def _still_true(self, name: bytes) -> Principal | None:
        """The cached result, if nothing that it depends on has changed (a new signing secret changes the revision of every account)."""
        checked = self._checked.get(name)
        if checked is None or checked.principal.claims.expires <= self._clock.now():
            return None
        account = checked.principal.account
        if account is None:
            same = await self._secret(0.0) == checked.signing_secret
        else:
            same = await self._accounts.revision(account.id) == account.revision
        if same and name in self._checked:
            self._checked.move_to_end(name)
        return checked.principal if same else None

    async def _check(self, name: bytes, token: str) -> Principal:
        """The order matters: what is read later is at least as new as the revision under which the result is cached."""
        claims, signing_secret = await self._signed(token)
        before = self._checked.pop(name, None)
        account, key = None, None
        if claims.account is not None:
            account = await self._active(claims.account)
            key = await self._confirm(claims, before.key if before else None)
        if await self._secret(0.0) != signing_secret:
            claims, signing_secret = await self._signed(token)
        owners = key.owners if key else granting.NO_OWNERS
        effective = claims.grants if account is None else granting.narrowed(claims.grants, account.permissions, owners)
        principal = Principal(msgspec.structs.replace(claims, secret=None), account, effective)
        self._checked[name] = _Checked(principal, signing_secret, key)
        while len(self._checked) > self._capacity:
            self._checked.popitem(last=False)
        return principal

    async def _signed(self, token: str) -> tuple[tokens.Claims, bytes]:
        """The claims of the token, and the signing secret that it was signed with, from memory.

        A wrong signature can mean that the secret was rotated. That is looked up at most once per second, so that forged
        tokens do not reach the database.
        """
        secret = await self._secret(float("inf"))
        try:
            return tokens.verify(token, secret, self._clock.now(), self._leeway_s), secret
        except errors.Unauthenticated:
            newer = await self._secret(_SECRET_AGE_S)
            if newer == secret:
                raise
            return tokens.verify(token, newer, self._clock.now(), self._leeway_s), newer

    async def _active(self, account_id: str) -> port.Account:
        account = await self._accounts.get(account_id)
        if account is None:
            raise errors.Unauthenticated("the account of the bearer token does not exist")
        if account.status != port.ACTIVE:
            raise _inactive(account)
        return account

    async def _confirm(self, claims: tokens.Claims, fitted: port.Key | None) -> port.Key | None:
        """The record that matches the token's secret; None if it has no secret. `fitted`: a record that is known to match."""
        if claims.secret is None:
            return None
        key = await self._accounts.get_key(claims.id)
        if key is None or key.account != claims.account or key.invitation is not None:
            raise errors.Unauthenticated("the bearer token was revoked; make a new one with 'dyff token create'")
        if fitted is not None and fitted.secret_hash == key.secret_hash:
            return key
        if not await anyio.to_thread.run_sync(bcrypt.checkpw, claims.secret.encode(), key.secret_hash):
            raise errors.Unauthenticated("the bearer token's secret is wrong")
        return key

    async def _secret(self, age_s: float) -> bytes:
        """The signing secret, at most `age_s` old."""
        now = self._clock.monotonic()
        if not self._signing_secret or now - self._secret_read >= age_s:
            self._signing_secret = await self._accounts.signing_secret()
            self._secret_read = now
        return self._signing_secret

    def _future(self, expires: datetime) -> datetime:
        """The current time, if `expires` is later.

        Raises:
            InvalidFields: it is not.
        """
        now = self._clock.now()
        if expires <= now:
            raise errors.InvalidFields(errors.Problem(("body", "expires"), "must be in the future"))
        return now


def invited(opened: inviting.Opened) -> Principal:
    """The principal with an invitation. It acts for no account, so nothing that an account may do with itself is allowed."""
    key = opened.key
    return Principal(tokens.Claims(key.id, f"Invitation/{key.id}", key.created, key.expires, key.grants), None, opened.grants, opened)


def _inactive(account: port.Account) -> errors.Unauthenticated:
    if account.status == port.DELETED:
        return errors.Unauthenticated(f"account {account.id} was deleted")
    return errors.Unauthenticated(f"account {account.id} is suspended; an administrator can reactivate it")


def _text(grant: granting.Grant) -> str:
    return msgspec.json.encode(grant).decode()
