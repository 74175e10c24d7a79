"""Answers with a tag of their content: a cache may keep them if it compares the tag each time, and then gets no body."""

from __future__ import annotations

import hashlib

from dyff.api import preconditions
from dyff.api.calls import JSON, Call, Reply

CACHED = {"Cache-Control": "a copy has to be compared each time", "Vary": "it depends on the token, or the cookie of an invitation"}
TAGGED = {"ETag": "changes if the content does", **CACHED}
"""The headers of such answers, in words."""


def reply(call: Call, body: bytes, headers: tuple[tuple[str, str], ...] = (), media_type: str | None = None) -> Reply:
    """The answer with a tag of its content, or without a body if the caller has it. `media_type`: None for JSON."""
    tag = f'"{hashlib.sha256(body).hexdigest()}"'
    headers = (*headers, ("etag", tag), *caching(call))
    status = preconditions.status(tag, call.joined(b"if-match"), call.joined(b"if-none-match"))
    if status is not None:
        return Reply(status, b"", headers)
    return Reply(200, body, headers, JSON if media_type is None else f"{media_type}; charset=utf-8")


def caching(call: Call) -> tuple[tuple[str, str], ...]:
    """A copy may be kept, but has to be compared each time; by the reader only, if it depends on who that is."""
    return (("cache-control", "no-cache" if call.principal_or_none is None else "private, no-cache"), ("vary", "authorization, cookie"))
