"""Signed URLs of S3 (AWS Signature Version 4 in the query), with headers that the signature covers. Pure.

The vendor's library can sign URLs too, but no headers: with such a URL any bytes could be uploaded. Here `Content-MD5` is signed,
so S3 refuses a request without it or with another value, and bytes that do not match it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, unquote, urlsplit

import msgspec

from dyff.kernel import web_addresses

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(msgspec.Struct, frozen=True):
    """The credentials to sign with. `session_token`: set for temporary credentials; URLs expire with them."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, ...)"


def presign(
    credentials: Credentials, method: str, base: str, key: str, *, region: str, now: datetime, expires_s: float, headers: Mapping[str, str]
) -> str:
    """The URL that allows `method` on `key` below `base` (such as `https://host/bucket`), with exactly these `headers`.

    `now`: in UTC. S3 refuses an `expires_s` of more than a week. The URL and what is signed have the form of the host and of the path that
    every client sends: see `web_addresses.normal`.

    Raises:
        ValueError: `base` is no URL of a server.
    """
    parts = urlsplit(web_addresses.normal(base))
    path = quote(f"{unquote(parts.path)}/{key}", safe="/~")
    covered = {"host": parts.netloc, **{name.lower(): value.strip() for name, value in headers.items()}}
    names = ";".join(sorted(covered))
    moment, scope = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}/{region}/s3/aws4_request"
    fields = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(max(1, round(expires_s))),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token is not None:
        fields["X-Amz-Security-Token"] = credentials.session_token
    query = "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(fields.items()))
    lines = "".join(f"{name}:{covered[name]}\n" for name in sorted(covered))
    request = "\n".join([method, path, query, lines, names, "UNSIGNED-PAYLOAD"])
    signed = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.new(_signing_key(credentials.secret_access_key, scope), signed.encode(), "sha256").hexdigest()
    return f"{parts.scheme}://{parts.netloc}{path}?{query}&X-Amz-Signature={signature}"


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
