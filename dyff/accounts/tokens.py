"""Tokens: JWTs, HS256, with the published claims. Pure except for the signature."""

from __future__ import annotations

import calendar
import math
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec

from dyff.accounts.grants import Grant
from dyff.kernel import errors

ALGORITHM = "HS256"
_REQUIRED = ["jti", "sub", "iat", "nbf", "exp"]


class Claims(msgspec.Struct, frozen=True):
    """The claims of a token. `subject`: `<Kind>/<id>`. `secret`: only in account keys; a token without it cannot be revoked."""

    id: str
    subject: str
    issued: datetime
    expires: datetime
    grants: tuple[Grant, ...] = ()
    secret: str | None = None

    @property
    def account(self) -> str | None:
        """The account's ID; None if the subject is something else (a session)."""
        kind, _, subject_id = self.subject.partition("/")
        return subject_id if kind == "Account" else None


def sign(claims: Claims, signing_secret: bytes) -> str:
    """Encode and sign `claims` as a token."""
    issued = calendar.timegm(claims.issued.utctimetuple())
    payload: dict[str, Any] = {
        "jti": claims.id,
        "sub": claims.subject,
        "iat": issued,
        "nbf": issued,
        "exp": calendar.timegm(claims.expires.utctimetuple()),
        # All four lists, as published, although `Grant` leaves empty ones out where it is stored.
        "grants": [msgspec.structs.asdict(grant) for grant in claims.grants],
    }
    if claims.secret is not None:
        payload["secret"] = claims.secret
    return jwt.encode(payload, signing_secret, algorithm=ALGORITHM)


def unverified(token: str) -> tuple[str, str] | None:
    """The ID and the subject that a token claims to have, which proves nothing; None if it is no token. For reports about tokens."""
    try:
        payload = jwt.decode(token, options={"verify_signature": False})
        return str(payload["jti"]), str(payload["sub"])
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError):
        return None


def verify(token: str, signing_secret: bytes, now: datetime, leeway_s: float = 0.0) -> Claims:
    """The claims of a token, if its signature and times are valid; nothing is looked up.

    `leeway_s`: a token from a clock that is ahead of ours by up to as many seconds is valid already. It does not prolong a token's life.

    Raises:
        Unauthenticated: they are not valid, or a claim is missing or malformed. The message does not contain the token.
    """
    options: Any = {"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    try:
        payload = jwt.decode(token, signing_secret, algorithms=[ALGORITHM], options=options)
        begins = max(_instant(payload, "nbf"), _instant(payload, "iat"))  # either is ahead if the issuer's clock is
        claims = Claims(
            id=str(payload["jti"]),
            subject=str(payload["sub"]),
            issued=begins,
            expires=_instant(payload, "exp"),
            grants=msgspec.convert(payload.get("grants", []), tuple[Grant, ...]),
            secret=msgspec.convert(payload.get("secret"), str | None),
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError) as error:
        raise errors.Unauthenticated("the bearer token is not valid here: it is malformed or was signed with another key") from error
    if claims.expires <= now:
        fix = "make a new one with 'dyff token create'" if claims.account else "ask for a new one with an account's token"
        raise errors.Unauthenticated(f"the bearer token of {claims.subject} has expired; {fix}")
    ahead_s = (claims.issued - now.replace(microsecond=999_999)).total_seconds()
    if ahead_s > leeway_s:
        raise errors.Unauthenticated(
            f"the bearer token of {claims.subject} is not valid yet: the clock of its issuer is {math.ceil(ahead_s)} s ahead of this "
            f"server's, and {leeway_s:g} s are allowed (setting api.clock_leeway_s); set the clocks"
        )
    return claims


def _instant(payload: dict[str, Any], name: str) -> datetime:
    """The claim's instant.

    Raises:
        ValueError: it is no number of seconds, or of a year that no date has. `OverflowError` and `OSError` likewise.
    """
    seconds = payload[name]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f"{name} is no number")
    return datetime.fromtimestamp(seconds, UTC)
