"""Requests as entries of the audit log."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from dyff.accounts import tokens
from dyff.api.calls import Call, Reply
from dyff.api.route import Route, Socket
from dyff.entities import registry
from dyff.kernel import audit, clock, errors
from dyff.objects import layout

MAX_NAME_CHARS = 128
MAX_UNKNOWN_PER_S = 50
"""Requests without a valid token that have an entry of their own, in a second. The others of that second are counted in one entry."""

_MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_READS_BY_POST = frozenset({"check_ready"})
_GIVES_TOKEN = frozenset({"create_token", "token", "default_token"})
_GIVES_SECRETS = frozenset({"list_tokens", "get_token", "permissions", "downlinks", "upload", *_GIVES_TOKEN})
"""Operations that only read, but tokens, permissions, or URLs that are credentials."""

PUBLIC = frozenset({"health", "ready", "openapi", "docs"})
"""Open operations that concern no account. They have neither an entry nor a span."""

_NAME = re.compile(rf"[\w.:/+=-]{{1,{MAX_NAME_CHARS}}}", re.ASCII)


class _What(msgspec.Struct, frozen=True):
    """What a route does: the constant part of its entries."""

    stream: str | None
    action: str
    method: str
    route: str
    kind: str | None
    gives_token: bool


class Auditing:
    """Makes an entry of each answered request that has to have one."""

    def __init__(self, trail: audit.Trail | None, time_: clock.Clock) -> None:
        """`trail`: None for no entries."""
        self._trail, self._clock = trail, time_
        self._known: dict[int, _What] = {}
        self._second, self._refused, self._uncounted = 0, 0, 0

    def answered(self, route: Route, call: Call, reply: Reply, error: Exception | None) -> Reply:
        """Record a request when its answer is complete, which for a stream is later. Returns the reply to send."""
        if self._trail is None:
            return reply
        what = self._known.get(id(route)) or self._learn(route)
        refused = reply.status in (401, 403)
        if not refused and (what.stream is None or (what.stream == audit.ACCESS and not self._trail.reads)):
            return reply
        if isinstance(reply.body, bytes):
            self._record(what, call, reply.status, error, len(reply.body), _made(reply) if what.gives_token else None)
            return reply
        return msgspec.structs.replace(reply, body=_Counted(reply.body, lambda size: self._record(what, call, reply.status, error, size)))

    def aborted(self, route: Route, call: Call) -> None:
        """Record a request that got no answer."""
        what = self._known.get(id(route)) or self._learn(route)
        if self._trail is not None and what.stream == audit.AUDIT:
            self._record(what, call, None, None, 0)

    def conversed(self, stream: Socket, call: Call, status: int, error: Exception | None) -> None:
        """Record a request for a WebSocket: that it began, or was refused."""
        if self._trail is None or not (status in (401, 403) or self._trail.reads):
            return
        plural = stream.path.split("/")[2]
        what = _What(audit.ACCESS, f"{plural}.stream", "GET", stream.path, _kind(plural), gives_token=False)
        self._record(what, call, status, error, None)

    def _learn(self, route: Route) -> _What:
        mutating = route.method in _MUTATING and route.operation not in _READS_BY_POST
        stream = audit.AUDIT if mutating or route.operation in _GIVES_SECRETS else audit.ACCESS
        what = _What(
            None if route.operation in PUBLIC and route.open else stream,
            f"{route.group}.{route.operation}",
            route.method,
            route.template,
            _kind(route.group),
            route.operation in _GIVES_TOKEN,
        )
        return self._known.setdefault(id(route), what)

    def _record(
        self, what: _What, call: Call, status: int | None, error: Exception | None, bytes_out: int | None, target: str | None = None
    ) -> None:
        trail, principal = self._trail, call.principal_or_none
        if trail is None or (principal is None and status in (401, 403) and not self._is_within_rate(trail)):
            return
        entry = audit.Entry(
            stream=audit.AUDIT if status in (401, 403) else what.stream or audit.ACCESS,
            time=clock.iso(self._clock.now()),
            action=what.action,
            outcome=_outcome(status, error),
            method=what.method,
            route=what.route,
            kind=what.kind,
            entity=call.entity or _name(call.path.get("id")),
            target=target or (_name(call.path["token"]) if "token" in call.path else None),
            status=status,
            error=None if error is None else type(error).__name__,
            request=_name(call.header(b"x-request-id")),
            trace=_name(call.header(b"traceparent")) or _parent(call),
            client=call.client,
            bytes_in=call.received,
            bytes_out=bytes_out,
            duration_ms=round((time.perf_counter() - call.began) * 1e3, 2),
        )
        if principal is not None:
            account, entry.token = principal.account, principal.claims.id
            if account is None:
                entry.subject = principal.claims.subject
            else:
                entry.account, entry.account_name = account.id, account.name
        elif status == 401:
            entry.claimed = _claimed(call.header(b"authorization"))
        if "key" in call.path:
            _place(entry, call.path["key"])
        trail.record(entry)

    def _is_within_rate(self, trail: audit.Trail) -> bool:
        """Whether one more request without a valid token can have an entry. Those that had none are reported when a new second begins."""
        second = int(time.monotonic())
        if second != self._second:
            left, self._second, self._refused, self._uncounted = self._uncounted, second, 0, 0
            if left:
                now = clock.iso(self._clock.now())
                trail.record(audit.Entry(stream=audit.AUDIT, time=now, action="requests.refused", outcome=audit.REFUSED, count=left))
        self._refused += 1
        if self._refused > MAX_UNKNOWN_PER_S:
            self._uncounted += 1
            return False
        return True


class _Counted:
    """A streamed body that reports its size when it is closed, however it ends."""

    def __init__(self, body: AsyncIterator[bytes], done: Any) -> None:
        self._body, self._done, self._size = body, done, 0

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._body)
        self._size += len(piece)
        return piece

    async def aclose(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self._size)
        close = getattr(self._body, "aclose", None)
        if close is not None:
            await close()


def _outcome(status: int | None, error: Exception | None) -> str:
    if status is None:
        return audit.ABORTED
    if status < 400:
        return audit.OK
    if status in (401, 403):
        return audit.REFUSED
    if status < 500:
        return audit.REJECTED
    return audit.UNKNOWN if isinstance(error, errors.OutcomeUnknown) else audit.FAILED


def _parent(call: Call) -> str | None:
    """The trace that a request got here, in the same form."""
    return None if call.about.trace is None else call.about.trace.parent


def _kind(group: str) -> str | None:
    row = registry.BY_PLURAL.get(group)
    return row.name if row is not None else {"accounts": "Account"}.get(group)


def _name(text: str | None) -> str | None:
    """A name as the caller wrote it, cut; None if it is none."""
    if text is None:
        return None
    return text if _NAME.fullmatch(text) else ascii(text[:MAX_NAME_CHARS])


def _made(reply: Reply) -> str | None:
    """The ID of the token in an answer, which is a JSON string."""
    if reply.status >= 300 or not isinstance(reply.body, bytes):
        return None
    claims = tokens.unverified(msgspec.json.decode(reply.body, type=str))
    return claims[0] if claims else None


def _claimed(header: str | None) -> dict[str, str] | None:
    claims = tokens.unverified((header or "").partition(" ")[2].strip())
    return {"token": str(_name(claims[0])), "subject": str(_name(claims[1]))} if claims else None


def _place(entry: audit.Entry, key: str) -> None:
    """Whose file is behind a signed URL. The rest of the path is not kept: it may be long."""
    key = key.lstrip("/")
    parts = (layout.staged(key) or (*key.split("/", 2), "", ""))[:2]
    entry.kind, entry.entity = _kind(parts[0]) or _name(parts[0]), _name(parts[1])
