"""Local administration of accounts and tokens. Uses only the accounts database, and works while servers are running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec

from dyff.accounts import authority, grants, port, tokens
from dyff.entities import codecs, statuses
from dyff.kernel import audit, clock, errors, ids, settings, suggestions
from dyff.query import usage
from dyff.serve import directory, migrating, opening, protection
from dyff.serve.audit.output import recorded

T = TypeVar("T")

KIND = "Account"
MAX_NAME_CHARS = 128
"""The most of what a person typed that the audit log has."""


@asynccontextmanager
async def _accounts(loaded: settings.Settings) -> AsyncIterator[port.Accounts]:
    place = directory.DataDirectory(loaded.data_dir)
    if "accounts" in opening.embedded(loaded):
        place.require_finished()
        place.require(place.accounts)
        protection.protect(place.root)
    # A server of the previous release can be running here, so only the compatible `pre` steps are done.
    await migrating.prepare(loaded, place, clock.SystemClock(), {"accounts"}, None, phases=("pre",), report=lambda _: None)
    async with opening.open_accounts(loaded, place) as accounts:
        yield accounts


def _with_accounts(loaded: settings.Settings, act: Callable[[port.Accounts], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _accounts(loaded) as accounts:
            return await act(accounts)

    return anyio.run(run)


async def _found(accounts: port.Accounts, named: str) -> port.Account | None:
    """The account with this ID, or else with this name; None if there is none."""
    account = await accounts.get(named)
    if account is None:
        account = next(iter(await accounts.find(name=named)), None)
    return account


async def _required(accounts: port.Accounts, named: str, entry: audit.Entry) -> port.Account:
    """The account; the entry of the audit log has its ID from now on."""
    account = await _found(accounts, named)
    if account is None:
        raise await _unknown(accounts, named)
    entry.entity = account.id
    return account


async def _unknown(accounts: port.Accounts, named: str) -> errors.NotFound:
    near = suggestions.nearest(named, (each.name for each in await accounts.find(limit=suggestions.MAX_CANDIDATES)))
    hint = f"did you mean {near!r}? " if near else ""
    return errors.NotFound(f"there is no account {suggestions.shown(named)!r}; {hint}'dyff account list' shows the names and IDs of all")


def create_account(loaded: settings.Settings, name: str) -> str:
    """Create an account; returns its ID.

    Raises:
        AlreadyExists: the name is taken; the message has the account's ID.
        Misconfigured: the name is empty.
    """
    if not name.strip():
        raise errors.Misconfigured("--name is empty; give the account a name that people know it by")
    now, account_id = clock.SystemClock().now(), ids.RandomIds().new()
    with recorded(loaded, "account.create", kind=KIND, entity=account_id, name=name[:MAX_NAME_CHARS]):
        _with_accounts(loaded, lambda accounts: _create(accounts, port.Account(id=account_id, name=name, created=now)))
    return account_id


async def _create(accounts: port.Accounts, account: port.Account) -> None:
    try:
        await accounts.create(account)
    except errors.AlreadyExists as error:
        found = await _found(accounts, account.name)
        if found is None or found.name != account.name:
            raise
        raise errors.AlreadyExists(
            f"there is an account {suggestions.shown(account.name)!r} already, with the ID {found.id}; use it, or choose another --name"
        ) from error


def list_accounts(loaded: settings.Settings) -> list[port.Account]:
    """All accounts, in order of creation."""
    with recorded(loaded, "account.list", kind=KIND):
        return _with_accounts(loaded, lambda accounts: accounts.find())


def show_account(loaded: settings.Settings, named: str) -> codecs.Json:
    """An account with what it keeps and its limits. `named`: its ID or its name, here and below.

    An account that is only a name in entities has a usage and no tokens.

    Raises:
        NotFound: there is no such account, and no entity of it.
        Misconfigured: the data directory has no query store yet.
        Unavailable: an engine does not answer.
    """

    async def act(accounts: port.Accounts) -> codecs.Json:
        account = await _found(accounts, named)
        account_id = account.id if account else named
        entry.entity = account_id[:MAX_NAME_CHARS]
        keys = await accounts.keys(account_id)
        place = directory.DataDirectory(loaded.data_dir)
        async with opening.open_query_for_maintenance(loaded, place) as view:
            used = await view.usage(account_id)
        if account is None and not used.entities:
            raise await _unknown(accounts, named)
        known = {"name": account.name, "status": account.status} if account else {}
        return {"id": account_id, **known, **usage.published(used, len(keys), loaded.quotas)}

    with recorded(loaded, "account.show", kind=KIND, entity=named[:MAX_NAME_CHARS]) as entry:
        return _with_accounts(loaded, act)


def set_suspended(loaded: settings.Settings, named: str, *, suspended: bool) -> None:
    """Suspend or reactivate an account.

    Raises:
        NotFound: the account does not exist.
        WrongStatus: the account was deleted.
    """
    status, reason = (port.SUSPENDED, "SuspendCommand") if suspended else (port.ACTIVE, "ReactivateCommand")

    async def change(accounts: port.Accounts) -> None:
        account = await _required(accounts, named, entry)
        if account.status == port.DELETED:
            raise errors.WrongStatus(f"the account {account.id} was deleted, for good")
        await accounts.set_status(account.id, status, reason)

    with recorded(loaded, "account.suspend" if suspended else "account.reactivate", kind=KIND, entity=named[:MAX_NAME_CHARS]) as entry:
        _with_accounts(loaded, change)


def grants_for(role: str | None, file: str | None) -> Callable[[str], tuple[grants.Grant, ...]]:
    """The grants that the command-line flags specify, for the ID of the token's account.

    Raises:
        Misconfigured: the file is not a list of grants.
    """
    if role == "Admin":
        return lambda _: grants.ADMIN
    if file is None:
        public = grants.Grant((grants.ANY,), ("get", "query", "consume"), ("public",))
        return lambda account_id: (grants.Grant((grants.ANY,), (grants.ANY,), (account_id,)), public)
    import yaml  # only here: no other command should wait for its import

    try:
        tree = yaml.safe_load(Path(file).read_text())
        listed = tree.get("grants") if isinstance(tree, dict) else tree
        wanted = msgspec.convert(listed, tuple[grants.Grant, ...])
    except (OSError, yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise errors.Misconfigured(f"{file} is not a list of grants (resources, functions, accounts, entities): {error}") from error
    return lambda _: wanted


def create_token(loaded: settings.Settings, named: str, wanted_for: Callable[[str], Sequence[grants.Grant]], lifetime: timedelta) -> str:
    """Issue a token. Anyone who can open the database can grant anything, so missing permissions are added to the account.

    `wanted_for`: see `grants_for`.

    Raises:
        NotFound: the account does not exist.
    """
    time, names = clock.SystemClock(), ids.RandomIds()

    async def act(accounts: port.Accounts) -> str:
        account = await _required(accounts, named, entry)
        wanted = tuple(wanted_for(account.id))
        entry.details = {**(entry.details or {}), "grants": "everything" if wanted == grants.ADMIN else f"{len(wanted)} grants"}
        missing = [grant for grant in wanted if not grants.is_covered(grant, account.permissions)]
        if missing:
            await accounts.set_permissions(account.id, (*account.permissions, *missing), account.permissions_version or names.new())
        return await authority.Authority(accounts, time, names).issue(account.id, wanted, time.now() + lifetime)

    with recorded(loaded, "token.create", kind=KIND, entity=named[:MAX_NAME_CHARS], days=f"{lifetime.days}") as entry:
        token = _with_accounts(loaded, act)
        made = tokens.unverified(token)
        entry.target = made[0] if made else None
    return token


def invalidate_tokens(loaded: settings.Settings) -> None:
    """Make all tokens of all accounts invalid, and all signed URLs of the local object store: create a new signing key."""
    with recorded(loaded, "token.invalidate-all"):
        _with_accounts(loaded, lambda accounts: accounts.rotate_signing_secret())


def list_tokens(loaded: settings.Settings, named: str | None = None, *, valid: bool = False) -> list[codecs.Json]:
    """The tokens and invitations that were not revoked, without their secrets. `named`: of this account; None for all accounts.

    `valid`: only those that have not expired.

    Raises:
        NotFound: there is no such account.
    """

    async def act(accounts: port.Accounts) -> list[codecs.Json]:
        owners = await accounts.find() if named is None else [await _required(accounts, named, entry)]
        now = clock.SystemClock().now()
        keys = [(owner, key) for owner in owners for key in await accounts.keys(owner.id)]
        return [_listed(owner, key, now) for owner, key in keys if not valid or key.expires > now]

    with recorded(loaded, "token.list", kind=KIND, entity=None if named is None else named[:MAX_NAME_CHARS]) as entry:
        return _with_accounts(loaded, act)


def _listed(owner: port.Account, key: port.Key, now: datetime) -> codecs.Json:
    allowed = "everything" if key.grants == grants.ADMIN else f"{len(key.grants)} grants"
    state = owner.status if owner.status != port.ACTIVE else "Expired" if key.expires <= now else "Valid"
    return {
        "id": key.id,
        "status": state,
        "name": owner.name,
        "account": owner.id,
        "grants": allowed if key.invitation is None else f"an invitation to {key.invitation.case}",
        "created": clock.iso(key.created),
        "expires": clock.iso(key.expires),
    }


def delete_account(loaded: settings.Settings, named: str, *, keep_entities: bool) -> None:
    """Delete an account, for good. Its entities stay. Deleting it again changes nothing.

    Raises:
        NotFound: there is no such account.
        WrongStatus: it owns entities, and `keep_entities` is False.
    """

    async def act(accounts: port.Accounts) -> None:
        account = await _required(accounts, named, entry)
        async with opening.open_query_for_maintenance(loaded, directory.DataDirectory(loaded.data_dir)) as view:
            owned = (await view.usage(account.id)).entities
        entry.details = {**(entry.details or {}), "entities": str(owned)}
        if owned and not keep_entities:
            raise errors.WrongStatus(f"the account {account.id} owns entities ({owned}); keep them, or delete them first")
        if account.status != port.DELETED:
            await accounts.set_status(account.id, port.DELETED, statuses.DELETE_COMMAND)

    with recorded(loaded, "account.delete", kind=KIND, entity=named[:MAX_NAME_CHARS]) as entry:
        _with_accounts(loaded, act)


def revoke_token(loaded: settings.Settings, named: str | None, token_id: str) -> None:
    """Revoke a token: it is refused from now on. `named`: the account that it must be of; None for whichever it is.

    Raises:
        NotFound: there is no such account, or it has no such token.
    """

    async def act(accounts: port.Accounts) -> None:
        if named is None:
            key = await accounts.get_key(token_id)
            if key is None:
                raise errors.NotFound(f"there is no token {suggestions.shown(token_id)}; 'dyff token list' shows the IDs of all")
            entry.entity = account_id = key.account
        else:
            account_id = (await _required(accounts, named, entry)).id
        if not await accounts.revoke_key(account_id, token_id):
            raise errors.NotFound(f"account {account_id} has no token {token_id}")

    with recorded(loaded, "token.revoke", kind=KIND, entity=None if named is None else named[:MAX_NAME_CHARS]) as entry:
        entry.target = token_id[:MAX_NAME_CHARS]
        _with_accounts(loaded, act)
