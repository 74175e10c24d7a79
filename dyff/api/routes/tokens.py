"""The routes of accounts' permissions and tokens. They are strongly consistent, because they do not go through the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dyff.accounts import grants, port
from dyff.accounts.authority import Principal
from dyff.api import auth, bodies, checks, documents
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.api.services import Services
from dyff.entities import account as requests
from dyff.entities import answers, codecs, identity, registry
from dyff.kernel import clock, errors

RESOURCE = "accounts"
MAX_LOOKED_UP = 1000
MAX_NAMED = 5000
"""The most accounts and entities in all grants of a request: each grant is compared with each permission."""

_PERMISSIONS = msgspec.json.Decoder(requests.AccountPermissionsSetRequest)
_TOKEN = msgspec.json.Decoder(requests.AccountTokenCreateRequest)


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    group = Tokens(context)
    one = "/v0/accounts/{id:str}"
    common: dict[str, Any] = {"group": RESOURCE}
    return [
        Route(
            method="GET", path=f"{one}/permissions", answer=group.permissions, operation="permissions",
            summary="What its tokens may be granted", answers=list[answers.AccessGrant], returns="a list of grants", **common,
        ),
        Route(
            method="PUT", path=f"{one}/permissions", answer=group.set_permissions, operation="set_permissions",
            body=requests.AccountPermissionsSetRequest, summary="Replace its permissions", answers=list[answers.AccessGrant],
            returns="the new permissions", **common,
        ),
        Route(
            method="POST", path=f"{one}/tokens", answer=group.create_token, operation="create_token", status=201,
            body=requests.AccountTokenCreateRequest, summary="Make a token; it is shown once", answers=str,
            returns="the token, a JSON string", **common,
        ),
        Route(
            method="GET", path=f"{one}/tokens", answer=group.tokens, operation="list_tokens", summary="Its tokens, without their secrets",
            answers=list[answers.APIKey], returns="a list of tokens", **common,
        ),
        Route(
            method="DELETE", path=f"{one}/tokens", answer=group.revoke_all, operation="revoke_all_tokens",
            summary="Refuse all its tokens from now on", answers=type(None), returns="null", **common,
        ),
        Route(
            method="GET", path=f"{one}/tokens/{{token:str}}", answer=group.token, operation="get_token",
            summary="One token, without its secret", answers=answers.APIKey, returns="the token", **common,
        ),
        Route(
            method="DELETE", path=f"{one}/tokens/{{token:str}}", answer=group.revoke, operation="revoke_token",
            summary="Refuse a token from now on", answers=type(None), returns="null", **common,
        ),
    ]  # fmt: skip


class Tokens:
    """Permissions and tokens.

    An account may read its own record, make tokens that grant no more than the token of the request, and revoke such tokens.
    Everything else needs a grant on the resource `accounts`.
    """

    def __init__(self, context: Context) -> None:
        """The owner of an entity comes from the view, everything else from the accounts database."""
        self._services = context.services
        self._documents = context.documents
        self._quotas = context.quotas

    async def permissions(self, call: Call) -> Reply:
        """Return the account's permissions as a list of grants."""
        account = await self._account(call, "get", own=True)
        return json([published(grant) for grant in account.permissions])

    async def set_permissions(self, call: Call) -> Reply:
        """Replace the account's permissions. Callers cannot grant more than they have."""
        request = bodies.decode(_PERMISSIONS, await call.body())
        account = await self._account(call, "edit", own=False)
        wanted = _granted(request.permissions, "permissions")
        _require_covered(wanted, call.principal.grants, await self._owners(wanted, "permissions"), "the token that you use")
        await self._services.accounts.set_permissions(account.id, wanted, self._services.ids.new())
        return json([published(grant) for grant in wanted])

    async def create_token(self, call: Call) -> Reply:
        """Make a token within the account's permissions and, if the caller has no grant on `accounts`, within the caller's own."""
        request = bodies.decode(_TOKEN, await call.body())
        account = await self._account(call, "create", own=True)
        expires = identity.utc(request.expires)
        problems = list(checks.expiry(expires, self._services.clock.now(), ("body", "expires")))
        if problems:
            raise errors.InvalidFields(*problems)
        wanted = _granted(request.grants, "grants")
        owners = await self._owners(wanted, "grants")
        _require_covered(wanted, account.permissions, owners, f"the account {account.id}")
        if not _is_granted(call.principal, "create", account.id):
            _require_covered(wanted, call.principal.grants, owners, "the token that you use")
        async with self._quotas.token(account.id):
            return json(await self._services.authority.issue(account.id, wanted, expires, owners), status=201)

    async def tokens(self, call: Call) -> Reply:
        """Return all tokens that were not revoked."""
        account = await self._account(call, "get", own=True)
        return json([published_key(key) for key in await self._services.accounts.keys(account.id) if key.invitation is None])

    async def token(self, call: Call) -> Reply:
        """Return one token."""
        account = await self._account(call, "get", own=True)
        key = await self._services.accounts.get_key(call.path["token"])
        if key is None or key.account != account.id:
            raise _no_token(account.id, call.path["token"])
        return json(published_key(key))

    async def revoke(self, call: Call) -> Reply:
        """Revoke a token, effective immediately."""
        account = await self._account(call, "delete", own=True)
        key = await self._services.accounts.get_key(call.path["token"])
        if key is None or key.account != account.id:
            raise _no_token(account.id, call.path["token"])
        self._require_as_strong(call.principal, account, [key])
        if not await self._services.accounts.revoke_key(account.id, key.id):
            raise _no_token(account.id, key.id)
        return json(None)

    async def revoke_all(self, call: Call) -> Reply:
        """Revoke all tokens of the account, effective immediately, including the one that the caller uses."""
        account = await self._account(call, "delete", own=True)
        keys = await self._services.accounts.keys(account.id)
        self._require_as_strong(call.principal, account, keys)
        for key in keys:
            await self._services.accounts.revoke_key(account.id, key.id)
        return json(None)

    def _require_as_strong(self, principal: Principal, account: port.Account, keys: Iterable[port.Key]) -> None:
        """Without a grant on `accounts`, a token cannot revoke stronger ones: a leaked read-only token must not lock out its owner."""
        if _is_granted(principal, "delete", account.id):
            return
        for key in keys:
            effective = grants.narrowed(key.grants, account.permissions, key.owners)
            if not all(grants.is_covered(each, principal.grants, key.owners) for each in effective):
                raise errors.Forbidden(
                    f"the token {key.id} may do more than the token that you use; revoke it with one that may do as much"
                )

    async def _owners(self, wanted: Iterable[grants.Grant], field: str) -> dict[str, str]:
        """Return the owners of the entities that `wanted` names, by entity ID. Entities that do not exist are left out.

        Raises:
            InvalidFields: it names too many entities to look up.
            NotReady: the view is behind the log, so it is not known yet whether one exists.
        """
        asked = {
            (plural, entity)
            for grant in wanted
            for entity in grant.entities
            for plural in (registry.BY_PLURAL if grants.ANY in grant.resources else registry.BY_PLURAL.keys() & set(grant.resources))
        }
        if len(asked) > MAX_LOOKED_UP:
            fix = f"must not name more than {MAX_LOOKED_UP} entities altogether (one counts once for each of its grant's resources)"
            raise errors.InvalidFields(errors.Problem(("body", field), fix))
        found: dict[str, str] = {}
        for plural, entity in sorted(asked):
            document = await self._documents.find(registry.BY_PLURAL[plural], entity)
            if document is not None:
                found[entity] = documents.summary(document).account
        return found

    async def _account(self, call: Call, function: str, *, own: bool) -> port.Account:
        return await find(self._services, call, function, own=own)


async def find(services: Services, call: Call, function: str, *, own: bool) -> port.Account:
    """Return the account that the path names, if the caller may use `function` on it. `own`: an account may do so on itself.

    Raises:
        Forbidden: the token does not grant it.
        NotFound: the account does not exist.
    """
    account_id = call.path["id"]
    if not (own and _is_own(call.principal, account_id)):
        auth.require(call.principal, RESOURCE, function, account=account_id, entity=account_id)
    account = await services.accounts.get(account_id)
    if account is None:
        raise errors.NotFound(f"there is no account with the ID {account_id[:64]}")
    return account


def _is_own(principal: Principal, account_id: str) -> bool:
    return principal.account is not None and principal.account.id == account_id


def _is_granted(principal: Principal, function: str, account_id: str) -> bool:
    return grants.allows(principal.grants, RESOURCE, function, account=account_id, entity=account_id)


def _require_covered(wanted: Iterable[grants.Grant], have: Iterable[grants.Grant], owners: grants.Owners, whose: str) -> None:
    known = tuple(have)
    for n, grant in enumerate(wanted):
        if not grants.is_covered(grant, known, owners):
            raise errors.Forbidden(f"grant {n} is more than {whose} has: {codecs.encode(published(grant)).decode()}")


def _granted(wanted: Sequence[requests.AccessGrant], field: str) -> tuple[grants.Grant, ...]:
    """The grants of a request.

    Raises:
        InvalidFields: they name too many accounts and entities.
    """
    named = sum(len(each.accounts) + len(each.entities) for each in wanted)
    if named > MAX_NAMED:
        fix = f"must not name more than {MAX_NAMED} accounts and entities altogether; these name {named}"
        raise errors.InvalidFields(errors.Problem(("body", field), fix))
    return tuple(grants.Grant(tuple(each.resources), tuple(each.functions), each.accounts, each.entities) for each in wanted)


def published(grant: grants.Grant) -> codecs.Json:
    """Return the published AccessGrant."""
    return {
        "resources": list(grant.resources),
        "functions": list(grant.functions),
        "accounts": list(grant.accounts),
        "entities": list(grant.entities),
    }


def published_key(key: port.Key) -> codecs.Json:
    """Return the published APIKey, without the secret."""
    return {
        "id": key.id,
        "subject": f"Account/{key.account}",
        "grants": [published(grant) for grant in key.grants],
        "created": clock.iso(key.created),
        "expires": clock.iso(key.expires),
    }


def _no_token(account_id: str, token_id: str) -> errors.NotFound:
    return errors.NotFound(f"the account {account_id} has no token with the ID {token_id[:64]}")
