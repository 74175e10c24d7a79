"""Who calls, and whether they may."""

from __future__ import annotations

from dyff.accounts import authority, grants
from dyff.accounts.authority import Principal
from dyff.kernel import errors


async def authenticate(known: authority.Authority, header: str | None) -> Principal:
    """Who the `Authorization` header speaks for.

    Raises:
        Unauthenticated: nobody, or somebody who is not believed.
        Unavailable: the accounts database does not answer.
    """
    if header is None:
        raise errors.Unauthenticated("the header 'Authorization: Bearer <token>' is missing; make a token with 'dyff token create'")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.Unauthenticated("the header Authorization must be 'Bearer <token>'")
    return await known.verify(token.strip())


def require(principal: Principal, resource: str, function: str, *, account: str | None = None, entity: str | None = None) -> None:
    """Check one function on one thing.

    Raises:
        Forbidden: the token does not grant it; the message says what would. It does not say whose `entity` is: the caller may
            not see that.
    """
    if not grants.allows(principal.grants, resource, function, account=account, entity=entity):
        raise errors.Forbidden(f"the token does not grant {function!r} on {resource}{_of(account, entity)}; use a token that does")


def require_any(principal: Principal, resource: str, function: str) -> None:
    """Check, before anything is looked up, that the function is granted on anything at all of the resource.

    Raises:
        Forbidden: it is not.
    """
    if not grants.allows_some(principal.grants, resource, function):
        raise errors.Forbidden(f"the token does not grant {function!r} on any {resource}")


def require_entity(principal: Principal, resource: str, function: str, entity: str) -> None:
    """Check a grant that names the entity itself; one for the whole account is not enough, as published.

    Raises:
        Forbidden: there is none.
    """
    if not grants.allows_entity(principal.grants, resource, function, entity):
        raise errors.Forbidden(f"{function!r} on {resource} needs a token for {entity} itself, which POST .../{entity}/token gives")


def _of(account: str | None, entity: str | None) -> str:
    if entity is not None:
        return f" with the ID {entity[:64]}"
    return f" of the account {account!r}, which the request names" if account is not None else ""
