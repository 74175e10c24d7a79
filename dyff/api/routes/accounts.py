"""The routes of accounts: create, get, query, delete. Their permissions and tokens are in `tokens`."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.accounts import grants, port
from dyff.api import auth, bodies
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Parameter, Route
from dyff.api.routes import tokens
from dyff.entities import account as requests
from dyff.entities import answers, codecs, statuses
from dyff.kernel import clock, errors, suggestions
from dyff.query import usage

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

_CREATE = msgspec.json.Decoder(requests.AccountCreateRequest)
_PARAMETERS = {
    "query": Parameter("a part of the name or of an identity, in upper or lower case"),
    "hasAPIKey": Parameter("only accounts that have, or do not have, a token that is still good", {"type": "boolean"}),
    "limit": Parameter("at most this many", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
}


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    group = Accounts(context)
    common: dict[str, Any] = {"group": tokens.RESOURCE}
    return [
        Route(
            method="POST", path="/v0/accounts", answer=group.create, operation="create", body=requests.AccountCreateRequest, status=201,
            answers=answers.Account, returns="the new account",
            conflict="the name is taken", summary="Create an account, which may do nothing yet", **common,
        ),
        Route(
            method="GET", path="/v0/accounts", answer=group.query, operation="query", query=_PARAMETERS,
            summary="Accounts that match, oldest first", answers=list[answers.AccountSummary], returns="a list of AccountSummary", **common,
        ),
        Route(
            method="GET", path="/v0/accounts/{id:str}", answer=group.get, operation="get", summary="Get one account",
            answers=answers.Account, returns="the account", **common,
        ),
        Route(
            method="GET", path="/v0/accounts/{id:str}/usage", answer=group.usage, operation="usage", answers=answers.AccountUsage,
            returns="what it keeps, and its limits", summary="How much it keeps, and how much it may", **common,
        ),
        Route(
            method="PUT", path="/v0/accounts/{id:str}/delete", answer=group.delete, operation="delete", answers=answers.Status,
            returns="its status", summary="Delete it: its tokens are refused from now on, and nothing of it starts", **common,
        ),
    ]  # fmt: skip


class Accounts:
    """The records of accounts, without secrets. An account can see itself; everything else needs a grant on `accounts`."""

    def __init__(self, context: Context) -> None:
        """Reads are strongly consistent: they do not use the view, except for the usage."""
        self._services, self._quotas = context.services, context.quotas

    async def create(self, call: Call) -> Reply:
        """Create an account. Needs `create` on all accounts, because a new one has no owner yet."""
        auth.require(call.principal, tokens.RESOURCE, "create")
        request = bodies.decode(_CREATE, await call.body())
        if not request.name.strip():
            raise errors.InvalidFields(errors.Problem(("body", "name"), "must not be blank"))
        named = {provider: name for provider, name in msgspec.structs.asdict(request.identity).items() if name is not None}
        account = port.Account(id=self._services.ids.new(), name=request.name, created=self._services.clock.now(), identity=named)
        call.entity = account.id
        await self._services.accounts.create(account)
        return json(_published(account, []), status=201)

    async def get(self, call: Call) -> Reply:
        """Return the account with its permissions, and with its tokens but not their secrets."""
        account = await tokens.find(self._services, call, "get", own=True)
        return json(_published(account, await self._services.accounts.keys(account.id)))

    async def usage(self, call: Call) -> Reply:
        """Return what the account keeps, at most a second old."""
        account = await tokens.find(self._services, call, "get", own=True)
        keys = len(await self._services.accounts.keys(account.id))
        return json(usage.published(await self._quotas.used(account.id), keys, self._services.quotas))

    async def query(self, call: Call) -> Reply:
        """Return the matching accounts that the caller may see: itself, and those that its grants on `accounts` name."""
        if call.principal.account is None:
            auth.require_any(call.principal, tokens.RESOURCE, "query")
        words, wanted, limit = _parameters(call.query())
        scope = grants.scope(call.principal.grants, tokens.RESOURCE)
        seen = {*scope.accounts, *scope.entities, *([call.principal.account.id] if call.principal.account else [])}
        found: list[codecs.Json] = []
        for account in await self._services.accounts.find():
            if len(found) == limit:
                break
            if (scope.everything or account.id in seen) and _matches(account, words):
                count = await self._good_keys(account.id)
                if wanted in (None, count > 0):
                    found.append(_summary(account, count))
        return json(found)

    async def delete(self, call: Call) -> Reply:
        """Delete the account for good. Deleting it again returns its status. The account's own tokens do not allow this."""
        account = await tokens.find(self._services, call, "delete", own=False)
        if account.status != port.DELETED:
            await self._services.accounts.set_status(account.id, port.DELETED, statuses.DELETE_COMMAND)
        return json({"status": port.DELETED, "reason": statuses.DELETE_COMMAND})

    async def _good_keys(self, account_id: str) -> int:
        now = self._services.clock.now()
        return sum(key.expires > now for key in await self._services.accounts.keys(account_id))


def _parameters(pairs: list[tuple[str, str]]) -> tuple[str, bool | None, int]:
    given = dict(pairs)
    for name in given:
        if name not in _PARAMETERS:
            text = f"the parameter is not known; {suggestions.hint(name, _PARAMETERS)}"
            raise errors.InvalidFields(errors.Problem(("query", name), text, "extra_forbidden"))
    wanted = given.get("hasAPIKey")
    if wanted not in (None, "true", "false"):
        raise errors.InvalidFields(errors.Problem(("query", "hasAPIKey"), "must be true or false"))
    limit = given.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MAX_LIMIT):
        raise errors.InvalidFields(errors.Problem(("query", "limit"), f"must be a whole number from 1 to {MAX_LIMIT}"))
    return given.get("query", "").lower(), None if wanted is None else wanted == "true", int(limit)


def _matches(account: port.Account, words: str) -> bool:
    return any(words in each.lower() for each in (account.name, *account.identity.values()))


def _published(account: port.Account, keys: list[port.Key]) -> codecs.Json:
    """The published Account, without secrets."""
    auth_config: codecs.Json = {"permissions": [tokens.published(grant) for grant in account.permissions]}
    if account.permissions_version:
        auth_config["permissionsVersion"] = account.permissions_version
    return {
        "id": account.id,
        "name": account.name,
        "status": account.status,
        "reason": account.reason,
        "creationTime": clock.iso(account.created),
        "identity": account.identity,
        "apiKeys": [tokens.published_key(key) for key in keys],
        "auth": auth_config,
    }


def _summary(account: port.Account, keys: int) -> codecs.Json:
    """The published AccountSummary."""
    return {
        "id": account.id,
        "name": account.name,
        "apiKeyCount": keys,
        "creationTime": clock.iso(account.created),
        "status": account.status,
    }
