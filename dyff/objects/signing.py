"""URLs that allow one operation on one object for a limited time: how the local store signs and how our API verifies. Pure.

    <base>/objects/<key>?method=PUT&expires=<seconds since 1970>&md5=<base64>&limit=<bytes>&signature=<HMAC-SHA256>

The signature covers everything else: method, key, expiry, digest and size limit. The base is a setting, never a Host
header, so that we cannot be made to sign a URL that leads elsewhere; it is not covered, so a server can have two names.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from dyff.kernel import errors
from dyff.kernel.clock import Clock
from dyff.objects import layout, port

PATH = "/objects/"
"""The part between the base URL and the key."""

_PURPOSE = "dyff signed object URL, version 1"
_MOST_FIELDS = 5
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Grant(msgspec.Struct, frozen=True):
    """The permission in a signed URL: only `method` on `key`, until `expires`.

    `md5` (base64): of the bytes that are uploaded, or downloaded. `limit_bytes`: of an upload. None for no such check.
    """

    method: Literal["GET", "PUT"]
    key: str
    expires: datetime
    md5: str | None = None
    limit_bytes: int | None = None


def sign(secret: bytes, grant: Grant) -> str:
    """The query of the URL that carries `grant`, which can be valid for up to a second longer than it says (whole seconds)."""
    fields = _fields(grant)
    return urlencode({**fields, "signature": _signature(secret, grant.key, fields)})


def verify(secret: bytes, method: str, key: str, query: str, now: datetime, leeway_s: float = 0.0) -> Grant:
    """The permission in the URL of a request. `key`: from the path, unquoted. `query`: unparsed. HEAD is allowed wherever GET is.

    `leeway_s`: the URL is valid for as many seconds longer than it says, since the clock may have been set since it was signed.

    Raises:
        Forbidden: it does not allow this request; the message says why.
    """
    pairs = parse_qsl(query, keep_blank_values=True) if query.count("&") < _MOST_FIELDS else []
    fields = dict(pairs)
    given = fields.pop("signature", "")
    if not given or len(fields) + 1 != len(pairs):
        raise errors.Forbidden("this is not a signed URL: ask for a new one")
    if not hmac.compare_digest(given.encode(), _signature(secret, key, fields).encode()):
        raise errors.Forbidden("the signature does not fit this URL: it was changed, or signed with a key that is no longer valid")
    grant = _grant(key, fields)
    if grant.method != ("GET" if method == "HEAD" else method):
        raise errors.Forbidden(f"this URL allows {grant.method} only")
    if now >= grant.expires + timedelta(seconds=leeway_s):
        raise errors.Forbidden(f"this URL expired at {grant.expires:%Y-%m-%d %H:%M:%S} UTC: ask for a new one")
    return grant


class Signer:
    """Signs and verifies with one secret. Changing the secret invalidates every URL signed before."""

    def __init__(self, secret: bytes, base_url: str, clock: Clock, leeway_s: float = 0.0) -> None:
        """`secret`: may be used for other purposes too, since the signed data has its own prefix.

        `base_url`: the URL under which clients reach the API, e.g. `https://dyff.example.org`.
        `leeway_s`: see `verify`.
        """
        self._secret = secret
        self._base = base_url.rstrip("/")
        self._clock, self._leeway_s = clock, leeway_s

    def url(
        self, method: Literal["GET", "PUT"], key: str, *, expires_s: float = 3600, md5: str | None = None, limit_bytes: int | None = None
    ) -> port.SignedURL:
        """An absolute URL; with `md5` its headers include `Content-MD5`.

        Raises:
            InvalidFields: the key is not allowed.
        """
        grant = Grant(method, layout.check_key(key), self._clock.now() + timedelta(seconds=expires_s), md5, limit_bytes)
        headers = {"Content-MD5": md5} if md5 is not None and method == "PUT" else {}
        return port.SignedURL(self._base + PATH + quote(key) + "?" + sign(self._secret, grant), method, headers)

    def moved(self, signed: port.SignedURL, base_url: str) -> port.SignedURL:
        """The same permission under another base URL of the same API."""
        return msgspec.structs.replace(signed, url=base_url + signed.url.removeprefix(self._base))

    def verify(self, method: str, key: str, query: str) -> Grant:
        """See `verify`."""
        return verify(self._secret, method, key, query, self._clock.now(), self._leeway_s)


def _fields(grant: Grant) -> dict[str, str]:
    values = {
        "method": grant.method,
        "expires": math.ceil((grant.expires - _EPOCH).total_seconds()),
        "md5": grant.md5,
        "limit": grant.limit_bytes,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _grant(key: str, fields: Mapping[str, str]) -> Grant:
    """The inverse of `_fields`. The signature has been verified, so the fields are ours."""
    limit = fields.get("limit")
    return msgspec.convert(
        {
            "method": fields["method"],
            "key": key,
            "expires": _EPOCH + timedelta(seconds=int(fields["expires"])),
            "md5": fields.get("md5"),
            "limit_bytes": None if limit is None else int(limit),
        },
        Grant,
    )


def _signature(secret: bytes, key: str, fields: Mapping[str, str]) -> str:
    """URL-safe base64. The signed parts are JSON (in ASCII, whatever the input), so that two requests never have the same bytes."""
    signed = json.dumps([_PURPOSE, key, sorted(fields.items())])
    digest = hmac.digest(secret, signed.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
