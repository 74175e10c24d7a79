"""Local administration of accounts and tokens. Uses only the accounts database, and works while servers are running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
import yaml

from dyff.accounts import authority, grants, port
from dyff.entities import codecs
from dyff.kernel import clock, errors, ids, settings
from dyff.query import usage
from dyff.serve import directory, migrating, opening

T = TypeVar("T")


@asynccontextmanager
async def _accounts(loaded: settings.Settings) -> AsyncIterator[port.Accounts]:
    place = directory.DataDirectory(loaded.data_dir)
    if "accounts" in opening.embedded(loaded):
        place.require_finished()
        place.create()
    # A server of the previous release can be running here, so only the compatible `pre` steps are done.
    await migrating.prepare(loaded, place, clock.SystemClock(), {"accounts"}, None, phases=("pre",), report=lambda _: None)
    async with opening.open_accounts(loaded, place) as accounts:
        yield accounts


def _with_accounts(loaded: settings.Settings, act: Callable[[port.Accounts], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _accounts(loaded) as accounts:
            return await act(accounts)

    return anyio.run(run)


def create_account(loaded: settings.Settings, name: str) -> str:
    """Create an account; returns its ID.

    Raises:
        AlreadyExists: the name is taken.
        Misconfigured: the name is empty.
    """
    if not name.strip():
        raise errors.Misconfigured("--name is empty; give the account a name that people know it by")
    now, account_id = clock.SystemClock().now(), ids.RandomIds().new()
    _with_accounts(loaded, lambda accounts: accounts.create(port.Account(id=account_id, name=name, created=now)))
    return account_id


def list_accounts(loaded: settings.Settings) -> list[port.Account]:
    """All accounts, in order of creation."""
    return _with_accounts(loaded, lambda accounts: accounts.find())


def show_account(loaded: settings.Settings, account_id: str) -> codecs.Json:
    """An account with what it keeps and its limits. An account that is only a name in entities has a usage and no tokens.

    Raises:
        NotFound: there is no such account, and no entity of it.
        Misconfigured: the data directory has no query store yet.
        Unavailable: an engine does not answer.
    """

    async def act(accounts: port.Accounts) -> codecs.Json:
        account, keys = await accounts.get(account_id), await accounts.keys(account_id)
        place = directory.DataDirectory(loaded.data_dir)
        async with opening.open_query_for_maintenance(loaded, place) as view:
            used = await view.usage(account_id)
        if account is None and not used.entities:
            raise errors.NotFound(f"there is no account {account_id}; 'dyff account list' shows those that are there")
        known = {"name": account.name, "status": account.status} if account else {}
        return {"id": account_id, **known, **usage.published(used, len(keys), loaded.quotas)}

    return _with_accounts(loaded, act)


def set_suspended(loaded: settings.Settings, account_id: str, *, suspended: bool) -> None:
    """Suspend or reactivate an account.

    Raises:
        NotFound: the account does not exist.
        WrongStatus: the account was deleted.
    """
    status, reason = (port.SUSPENDED, "SuspendCommand") if suspended else (port.ACTIVE, "ReactivateCommand")

    async def change(accounts: port.Accounts) -> None:
        account = await accounts.get(account_id)
        if account is not None and account.status == port.DELETED:
            raise errors.WrongStatus(f"the account {account_id} was deleted, for good")
        await accounts.set_status(account_id, status, reason)

    _with_accounts(loaded, change)


def grants_for(account_id: str, role: str | None, file: str | None) -> tuple[grants.Grant, ...]:
    """The grants that the command-line flags specify.

    Raises:
        Misconfigured: the file is not a list of grants.
    """
    if role == "Admin":
        return grants.ADMIN
    if file is None:
        own = grants.Grant((grants.ANY,), (grants.ANY,), (account_id,))
        public = grants.Grant((grants.ANY,), ("get", "query", "consume"), ("public",))
        return (own, public)
    try:
        tree = yaml.safe_load(Path(file).read_text())
        listed = tree.get("grants") if isinstance(tree, dict) else tree
        return msgspec.convert(listed, tuple[grants.Grant, ...])
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise errors.Misconfigured(f"{file} is not a list of grants (resources, functions, accounts, entities): {error}") from error


def create_token(loaded: settings.Settings, account_id: str, wanted: Sequence[grants.Grant], lifetime: timedelta) -> str:
    """Issue a token. Anyone who can open the database can grant anything, so missing permissions are added to the account.

    Raises:
        NotFound: the account does not exist.
    """
    time, names = clock.SystemClock(), ids.RandomIds()

    async def act(accounts: port.Accounts) -> str:
        account = await accounts.get(account_id)
        if account is None:
            raise errors.NotFound(f"there is no account {account_id}; 'dyff account list' shows those that are there")
        missing = [grant for grant in wanted if not grants.is_covered(grant, account.permissions)]
        if missing:
            await accounts.set_permissions(account_id, (*account.permissions, *missing), account.permissions_version or names.new())
        return await authority.Authority(accounts, time, names).issue(account_id, tuple(wanted), time.now() + lifetime)

    return _with_accounts(loaded, act)


def invalidate_tokens(loaded: settings.Settings) -> None:
    """Make all tokens of all accounts invalid, and all signed URLs of the local object store: create a new signing key."""
    _with_accounts(loaded, lambda accounts: accounts.rotate_signing_secret())


def revoke_token(loaded: settings.Settings, account_id: str, token_id: str) -> None:
    """Revoke a token: it is refused from now on.

    Raises:
        NotFound: the account has no such token.
    """
    if not _with_accounts(loaded, lambda accounts: accounts.revoke_key(account_id, token_id)):
        raise errors.NotFound(f"account {account_id} has no token {token_id}")
