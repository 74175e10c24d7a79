"""The stream of changes (docs/console-data.md)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dyff.accounts.authority import Principal
from dyff.api import auth, queries
from dyff.api.calls import Call, Reply
from dyff.api.changes import stream, tail
from dyff.api.context import Context
from dyff.api.positions import PATTERN
from dyff.api.route import EVENTS, Other, Parameter, Route
from dyff.entities import answers, registry
from dyff.kernel import errors, suggestions

MAX_STREAMS = 1000
"""Streams of one server at the same time."""

MAX_STREAMS_OF_ACCOUNT = 200
MAX_IDS = 100
RETRY_S = 10.0

_POSITION = re.compile(PATTERN)
_HEADERS = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
_PARAMETERS = {
    "since": Parameter("the last `id` of an earlier stream; this one begins after it", {"type": "string", "pattern": PATTERN}),
    "kind": Parameter("only these plural names, with commas"),
    "account": Parameter("only entities of these accounts, with commas"),
    "id": Parameter(f"only these entities, with commas, at most {MAX_IDS}"),
}


def routes(context: Context) -> list[Route]:
    """Return the route."""
    return [
        Route(
            method="GET", path="/v0/changes", answer=Changes(context).answer, group="changes", operation="stream",
            summary="Changes of entities as they come, as server-sent events", query=_PARAMETERS, media_type=EVENTS,
            returns="events without an end",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no, so that proxies pass each event on"},
            others={410: Other("the position is too old, or of another log: reload, and begin without it", answers.Problem)},
        )
    ]  # fmt: skip


class Changes:
    """Streams of changes."""

    def __init__(self, context: Context) -> None:
        """No stream yet."""
        self._context, self._tail = context, context.changes
        self._open: Counter[str] = Counter()

    async def answer(self, call: Call) -> Reply:
        """Begin a stream."""
        given = queries.once(call.query(), list(_PARAMETERS))
        wanted = _wanted(given)
        await self._tail.ready()
        ends = self._begin(given.get("since"))
        if call.method == "HEAD":
            return Reply(200, b"", _HEADERS, EVENTS)
        account = call.principal.account.id if call.principal.account is not None else call.principal.claims.subject
        if self._open.total() >= MAX_STREAMS or self._open[account] >= MAX_STREAMS_OF_ACCOUNT:
            many = f"at most {MAX_STREAMS_OF_ACCOUNT} of an account, and {MAX_STREAMS} in all"
            raise errors.Unavailable(f"too many streams of changes are open: {many}; close some, or try again", retry_after_s=RETRY_S)
        header, authority = call.header(b"authorization"), self._context.services.authority

        async def check() -> Principal:
            return await auth.authenticate(authority, header)

        return Reply(200, self._counted(account, stream.Stream(self._tail, call.principal, check, wanted, ends)), _HEADERS, EVENTS)

    async def _counted(self, account: str, opened: stream.Stream) -> AsyncGenerator[bytes, None]:
        self._open[account] += 1
        try:
            async with aclosing(opened.events()) as events:
                async for each in events:
                    yield each
        finally:
            self._open[account] -= 1
            self._open += Counter()  # without those of zero

    def _begin(self, since: str | None) -> dict[int, int]:
        if since is None:
            return dict(self._tail.reached)
        if not _POSITION.fullmatch(since):
            raise errors.InvalidFields(errors.Problem(("query", "since"), "must be the `id` of an event of an earlier stream"))
        try:
            return self._tail.begin(since)
        except tail.TooOld as error:
            raise errors.Gone("not all changes since this position are known any more: reload, and begin without `since`") from error


def _wanted(given: dict[str, str]) -> stream.Wanted:
    plurals, accounts, ids = (_listed(given, name) for name in ("kind", "account", "id"))
    known = [row.plural for row in registry.ROWS]
    for each in plurals or ():
        if each not in known:
            hint = suggestions.hint(each, known)
            raise errors.InvalidFields(
                errors.Problem(("query", "kind"), f"{suggestions.shown(each)!r} is no plural name of a kind; {hint}")
            )
    for name, several in (("account", accounts), ("id", ids)):
        if several is not None and len(several) > MAX_IDS:
            raise errors.InvalidFields(errors.Problem(("query", name), f"can have at most {MAX_IDS} values"))
    return stream.Wanted(plurals, accounts, ids)


def _listed(given: dict[str, str], name: str) -> frozenset[str] | None:
    if name not in given:
        return None
    return frozenset(filter(None, map(str.strip, given[name].split(","))))
