"""The client's group for accounts: their permissions and tokens."""

from __future__ import annotations

from dyff.sdk import arguments, calls, listing, models, requests, sent, transport
from dyff.sdk.calls import S, operation


class Accounts(calls.Bound[S]):
    """Tokens and permissions of accounts."""

    def __init__(self, http: transport.Transport, *, is_blocking: bool) -> None:
        """Created by the client."""
        self._http, self._is_blocking = http, is_blocking

    @operation
    async def get_permissions(self, id: str) -> list[models.AccessGrant]:  # noqa: A002
        """Return the account's permissions: the most that its tokens can be granted.

        Example:
            `client.accounts.get_permissions(account)`
        """
        return listing.read(await self._http.call("GET", _of(id, "permissions")), models.AccessGrant)

    @operation
    async def set_permissions(self, id: str, request: requests.AccountPermissionsSetRequest | sent.Other) -> None:  # noqa: A002
        """Replace the account's permissions: `{"permissions": [grants]}`. Needs a grant on `accounts`.

        Example:
            `client.accounts.set_permissions(account, {"permissions": client.accounts.get_permissions(other)})`
        """
        await self._http.call("PUT", _of(id, "permissions"), body=sent.plain(request))

    @operation
    async def get_usage(self, id: str) -> models.AccountUsage:  # noqa: A002
        """Return what the account keeps and how much it may: entities, bytes of their documents and of their files, and tokens.

        Example:
            `client.accounts.get_usage(account).entities.used`
        """
        return models.read(await self._http.call("GET", _of(id, "usage")), models.AccountUsage)

    @operation
    async def get_quotas(self, id: str) -> models.QuotasInUse:  # noqa: A002
        """Return what the account uses of what it may use at the same time: workflows, cores, memory and accelerators.

        Example:
            `client.accounts.get_quotas(account).admitted.used`
        """
        return models.read(await self._http.call("GET", _of(id, "quotas")), models.QuotasInUse)

    @operation
    async def create_token(self, id: str, request: requests.AccountTokenCreateRequest | sent.Other) -> str:  # noqa: A002
        """Create a token with `grants` that expires at `expires` (a datetime). The token is shown only once.

        Example:
            `client.accounts.create_token(account, {"grants": client.accounts.get_permissions(account), "expires": expires})`
        """
        answer = await self._http.call("POST", _of(id, "tokens"), body=sent.plain(request), repeatable=False)
        return listing.Token(models.read(answer, str))

    @operation
    async def get_token(self, account_id: str, token_id: str) -> models.APIKey:
        """Return one of the account's tokens, without its secret.

        Example:
            `client.accounts.get_token(account, token_id).expires`
        """
        path = _of(account_id, "tokens", arguments.identifier(token_id, "token_id"))
        return models.read(await self._http.call("GET", path), models.APIKey)

    @operation
    async def list_tokens(self, account_id: str) -> list[models.APIKey]:
        """Return the account's tokens, without their secrets.

        Example:
            `[token.id for token in client.accounts.list_tokens(account)]`
        """
        return listing.read(await self._http.call("GET", _of(account_id, "tokens")), models.APIKey)

    @operation
    async def revoke_token(self, account_id: str, token_id: str) -> None:
        """Revoke a token, effective immediately.

        Example:
            `client.accounts.revoke_token(account, token_id)`
        """
        await self._http.call("DELETE", _of(account_id, "tokens", arguments.identifier(token_id, "token_id")))

    @operation
    async def revoke_all_tokens(self, account_id: str) -> None:
        """Revoke all tokens of the account, effective immediately, including the one that this client uses.

        Example:
            `client.accounts.revoke_all_tokens(account)`
        """
        await self._http.call("DELETE", _of(account_id, "tokens"))


def _of(account: str, *rest: str) -> str:
    """The path of one account, followed by `rest`."""
    return transport.path("accounts", arguments.identifier(account, "account"), *rest)
