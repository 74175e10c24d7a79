"""Authentication and authorization of requests."""

from __future__ import annotations

import base64

from dyff.accounts import authority, grants, inviting
from dyff.accounts.authority import Principal
from dyff.kernel import errors, ids


async def authenticate(known: authority.Authority, header: str | None, *, basic: bool = False) -> Principal:
    """Return the principal whose token is in the `Authorization` header.

    `basic`: whether the token may also be the password of the scheme Basic, for programs that know no other; any user name will do.

    Raises:
        Unauthenticated: there is no valid token.
        Unavailable: the accounts database does not answer.
    """
    if header is None:
        raise errors.Unauthenticated("the header 'Authorization: Bearer <token>' is missing; make a token with 'dyff token create'")
    scheme, _, token = header.partition(" ")
    if basic and scheme.lower() == "basic":
        return await known.verify(_password(token.strip()))
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.Unauthenticated("the header Authorization must be 'Bearer <token>'")
    return await known.verify(token.strip())


def code(header: str | None, *, basic: bool = False) -> str | None:
    """The code of an invitation in the `Authorization` header; None if there is none. `basic`: as for `authenticate`."""
    scheme, _, text = (header or "").partition(" ")
    text = text.strip()
    if basic and scheme.lower() == "basic":
        scheme, text = "bearer", _password(text)
    return text if scheme.lower() == "bearer" and text.startswith(inviting.PREFIX) else None


def _password(credentials: str) -> str:
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        colon, password = "", ""
    if not colon or not password.strip():
        raise errors.Unauthenticated("the header Authorization has no password: with the scheme Basic, the password is the token")
    return password.strip()


def require(principal: Principal, resource: str, function: str, *, account: str | None = None, entity: str | None = None) -> None:
    """Check that the token grants a function on a resource that belongs to `account` and is `entity`.

    Raises:
        Forbidden: the token does not grant it; the message says what would. It does not say who owns `entity`, because the caller
            may not be allowed to see that.
    """
    if not grants.allows(principal.grants, resource, function, account=account, entity=entity):
        raise errors.Forbidden(f"the token does not grant {function!r} on {resource}{_of(account, entity)}; use a token that does")


def require_any(principal: Principal, resource: str, function: str) -> None:
    """Check, before anything is looked up, that the function is granted on at least something of the resource.

    Raises:
        Forbidden: it is not.
    """
    if not grants.allows_some(principal.grants, resource, function):
        raise errors.Forbidden(f"the token does not grant {function!r} on any {resource}")


def require_entity(principal: Principal, resource: str, function: str, entity: str) -> None:
    """Check for a grant that names the entity itself. A grant for the whole account is not enough, as in the published API.

    Raises:
        Forbidden: the token has no such grant.
    """
    if not grants.allows_entity(principal.grants, resource, function, entity):
        raise errors.Forbidden(f"{function!r} on {resource} needs a token for {entity} itself, which POST .../{entity}/token gives")


def require_operator(principal: Principal, what: str) -> None:
    """Check that the token grants everything: what concerns all accounts is for operators only. `what`: for the message.

    Raises:
        Forbidden: it does not.
    """
    if not all(grants.is_covered(each, principal.grants) for each in grants.ADMIN):
        advice = "use one that 'dyff token create --role Admin' has made"
        raise errors.Forbidden(f"{what} needs an operator's token, which grants everything on everything; {advice}")


def _of(account: str | None, entity: str | None) -> str:
    if entity is not None:
        return f" with the ID {entity[:64]}"
    if account is None:
        return ""
    name = "" if ids.is_id(account) else " (accounts are named by their IDs, which `dyff account list` prints)"
    return f" of the account {account!r}, which the request names{name}"
