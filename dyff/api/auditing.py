"""Requests as entries of the audit log."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from dyff.accounts import tokens
from dyff.accounts.authority import Principal
from dyff.api.calls import Call, Reply
from dyff.api.route import Route, Socket
from dyff.entities import registry
from dyff.kernel import audit, clock, errors
from dyff.kernel.telemetry import log_fields
from dyff.objects import layout

MAX_NAME_CHARS = 128
MAX_FIXED = 5000
"""Accounts' requests whose fixed part is kept to be used again; then all of them are made again."""

MAX_UNKNOWN_PER_S = 50
"""Requests without a valid token that have an entry of their own, in a second. The others of that second are counted in one entry."""

_MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_READS_BY_POST = frozenset({"check_ready"})
_GIVES_TOKEN = frozenset({"create_token", "token", "default_token", "invite", "sign_in"})
_GIVES_SECRETS = frozenset({"list_tokens", "get_token", "invitations", "permissions", "downlinks", "file", "upload", *_GIVES_TOKEN})
"""Operations that only read, but tokens, permissions, or URLs that are credentials."""

PUBLIC = frozenset({"health", "ready", "openapi", "docs", "console", "kinds"})
"""Open operations that concern no account. They have neither an entry nor a span."""

_NAME = re.compile(rf"[\w.:/+=-]{{1,{MAX_NAME_CHARS}}}", re.ASCII)


_Key = tuple[str, int | None, type[Exception] | None, str, str, str]


class _What(msgspec.Struct, frozen=True):
    """What a route does: the constant part of its entries. `is_kept`: it has an entry even if it was not refused."""

    stream: str | None
    action: str
    method: str
    route: str
    kind: str | None
    gives_token: bool
    is_kept: bool


class Auditing:
    """Makes an entry of each answered request that has to have one."""

    def __init__(self, trail: audit.Trail | None, time_: clock.Clock) -> None:
        """`trail`: None for no entries."""
        self._trail, self._clock = trail, time_
        self._known: dict[int, _What] = {}
        self._fixed: dict[_Key, bytes] = {}
        self._second, self._refused, self._uncounted = 0, 0, 0

    def answered(self, route: Route, call: Call, reply: Reply, error: Exception | None, seconds: float) -> Reply:
        """Record a request when its answer is complete, which for a stream is later. Returns the reply to send.

        `seconds`: from the head of the request until now.
        """
        if self._trail is None:
            return reply
        what = self._known.get(id(route)) or self._learn(route)
        status, body = reply.status, reply.body
        principal = call.principal_or_none
        if not what.is_kept and status != 401 and status != 403 and not _is_invited(principal):
            return reply
        if isinstance(body, bytes):
            self._record(what, call, status, error, len(body), seconds, _made(reply) if what.gives_token else None)
            return reply
        return msgspec.structs.replace(reply, body=_Counted(body, lambda size: self._record(what, call, status, error, size, _since(call))))

    def aborted(self, route: Route, call: Call) -> None:
        """Record a request that got no answer."""
        what = self._known.get(id(route)) or self._learn(route)
        if self._trail is not None and what.stream == audit.AUDIT:
            self._record(what, call, None, None, 0, _since(call))

    def conversed(self, stream: Socket, call: Call, status: int, error: Exception | None) -> None:
        """Record a request for a WebSocket: that it began, or was refused."""
        if self._trail is None or not (status in (401, 403) or self._trail.reads):
            return
        plural = stream.path.split("/")[2]
        what = _What(audit.ACCESS, f"{plural}.stream", "GET", stream.path, _kind(plural), gives_token=False, is_kept=True)
        self._record(what, call, status, error, None, _since(call))

    def _learn(self, route: Route) -> _What:
        mutating = route.method in _MUTATING and route.operation not in _READS_BY_POST
        stream = audit.AUDIT if mutating or route.operation in _GIVES_SECRETS else audit.ACCESS
        public, reads = route.operation in PUBLIC and route.open, self._trail is not None and self._trail.reads
        what = _What(
            None if public else stream,
            f"{route.group}.{route.operation}",
            route.method,
            route.template,
            _kind(route.group),
            route.operation in _GIVES_TOKEN,
            not public and (stream == audit.AUDIT or reads),
        )
        return self._known.setdefault(id(route), what)

    def _record(
        self, what: _What, call: Call, status: int | None, error: Exception | None, bytes_out: int | None, seconds: float,
        target: str | None = None,
    ) -> None:  # fmt: skip
        """Hand over what an entry is made of. Making it takes longer than everything else here, so it is left to the trail's thread."""
        trail, principal, named = self._trail, call.principal_or_none, call.named()
        if trail is None or (principal is None and status in (401, 403) and not self._is_within_rate(trail)):
            return
        rest = _rest(call, status, target) if call.path or target is not None or principal is None else None
        request, trace = named.get(b"x-request-id"), named.get(b"traceparent")
        noted = (
            what, self._clock.now(), status, None if error is None else type(error), principal, call.about, call.received, bytes_out,
            seconds, None if request is None else _cut(request), None if trace is None else _cut(trace), rest,
        )  # fmt: skip
        trail.note(self._entry, noted)

    def _entry(self, noted: _Noted) -> audit.Made:
        """The entry, made in another thread. What is the same for many requests is made once."""
        what, now, status, error, principal, about, bytes_in, bytes_out, seconds, request, trace, rest = noted
        hundredths = int(seconds * 1e5 + 0.5)  # `round` to two digits takes longer than encoding all of this
        varying = audit.Varying(
            time=clock.iso(now), entity=about.entity, request=_text(request), client=about.client, bytes_in=bytes_in, bytes_out=bytes_out,
            trace=about.trace.parent if trace is None and about.trace is not None else _text(trace), duration_ms=hundredths / 100,
        )  # fmt: skip
        if rest is not None or principal is None:
            return _whole(noted, varying, rest or _Rest())
        account = principal.account
        owner, name = ("", "") if account is None else (account.id, account.name)
        key = (what.action, status, error, principal.claims.id, owner, name)
        fixed = self._fixed.get(key)
        if fixed is None:
            if len(self._fixed) >= MAX_FIXED:
                self._fixed.clear()
            fixed = self._fixed[key] = audit.fixed_part(_whole(noted, varying, _Rest()))
        return varying, fixed

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


class _Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What few entries have. `named`: the entity in the path. `place`: kind and entity of a signed URL."""

    named: str | None = None
    target: str | None = None
    claimed: dict[str, str] | None = None
    place: tuple[str | None, str | None] | None = None


_Noted = tuple[
    _What, datetime, int | None, type[Exception] | None, Principal | None, log_fields.About, int, int | None,
    float, bytes | None, bytes | None, _Rest | None,
]  # fmt: skip
"""What an entry is made of; nothing of it is large, and nothing changes."""


def _rest(call: Call, status: int | None, target: str | None) -> _Rest:
    path = call.path
    token = call.header(b"authorization") if status == 401 and call.principal_or_none is None else None
    return _Rest(
        named=_name(path.get("id")),
        target=_name(path.get("token")) if target is None else target,
        claimed=_claimed(token) if token is not None else None,
        place=_place(path["key"]) if "key" in path else None,
    )


def _is_invited(principal: Principal | None) -> bool:
    """Whether a caller has an invitation: each use of one has an entry."""
    return principal is not None and principal.invitation is not None


def _since(call: Call) -> float:
    return time.perf_counter() - call.began


def _whole(noted: _Noted, varying: audit.Varying, rest: _Rest) -> audit.Entry:
    what, _, status, error, principal, *_ = noted
    entry = audit.Entry(
        stream=audit.AUDIT if status in (401, 403) or _is_invited(principal) else what.stream or audit.ACCESS,
        time=varying.time,
        action=what.action,
        outcome=_outcome(status, error),
        method=what.method,
        route=what.route,
        kind=what.kind,
        entity=rest.named if varying.entity is None else varying.entity,
        target=rest.target,
        status=status,
        error=None if error is None else error.__name__,
        request=varying.request,
        trace=varying.trace,
        client=varying.client,
        bytes_in=varying.bytes_in,
        bytes_out=varying.bytes_out,
        duration_ms=varying.duration_ms,
        claimed=rest.claimed,
    )
    if principal is not None:
        account, entry.token = principal.account, principal.claims.id
        if account is None:
            entry.subject = principal.claims.subject
        else:
            entry.account, entry.account_name = account.id, account.name
    if rest.place is not None:
        entry.kind, entry.entity = rest.place
    return entry


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


def _outcome(status: int | None, error: type[Exception] | None) -> str:
    if status is None:
        return audit.ABORTED
    if status < 400:
        return audit.OK
    if status in (401, 403):
        return audit.REFUSED
    if status < 500:
        return audit.REJECTED
    return audit.UNKNOWN if error is not None and issubclass(error, errors.OutcomeUnknown) else audit.FAILED


def _kind(group: str) -> str | None:
    row = registry.BY_PLURAL.get(group)
    return row.name if row is not None else {"accounts": "Account"}.get(group)


def _name(text: str | None) -> str | None:
    """A name as the caller wrote it, cut; None if it is none."""
    if text is None:
        return None
    return text if _NAME.fullmatch(text) else ascii(text[:MAX_NAME_CHARS])


def _cut(value: bytes) -> bytes:
    """As much of a header as shows whether it is a name."""
    return value[: MAX_NAME_CHARS + 1]


def _text(value: bytes | None) -> str | None:
    return None if value is None else _name(value.decode("latin-1"))


def _made(reply: Reply) -> str | None:
    """The ID of the token in an answer, which is a JSON string, or of the invitation."""
    if reply.status >= 300 or not isinstance(reply.body, bytes):
        return None
    made = msgspec.json.decode(reply.body, type=str | dict[str, Any])
    if isinstance(made, dict):
        return _name(str(made.get("id")))
    claims = tokens.unverified(made)
    return claims[0] if claims else None


def _claimed(header: str) -> dict[str, str] | None:
    claims = tokens.unverified(header.partition(" ")[2].strip())
    return {"token": str(_name(claims[0])), "subject": str(_name(claims[1]))} if claims else None


def _place(key: str) -> tuple[str | None, str | None]:
    """Whose file is behind a signed URL: kind and entity. The rest of the path is not kept: it may be long."""
    key = key.lstrip("/")
    parts = (layout.staged(key) or (*key.split("/", 2), "", ""))[:2]
    return _kind(parts[0]) or _name(parts[0]), _name(parts[1])
