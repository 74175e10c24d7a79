"""What an invitation may do, and the record of each use (ADR 47). Everything that is not listed here is refused."""

from __future__ import annotations

from collections import OrderedDict
from http import cookies

import structlog

from dyff.accounts import inviting, port
from dyff.accounts.authority import Principal, invited
from dyff.api.calls import Call
from dyff.api.route import Route
from dyff.api.services import Services
from dyff.entities import codecs, registry, statuses
from dyff.kernel import errors

log = structlog.get_logger()

OPERATIONS = frozenset(
    {
        "get", "documentation", "scores", "curves", "downlinks", "manifest", "file", "croissant", "provenance", "eee", "dossier", "page",
        "document",
    }
)  # fmt: skip
"""What is read with an invitation: single entities and their data. No lists, no writes, no logs."""

BY_COOKIE = frozenset({"dossier", "provenance", "eee", "page", "document"})
"""What a browser reads with the cookie of an invitation. None of it changes anything."""

COOKIE = "dyff-invitation"

OPEN = "invitations.open"

MAX_PER_MINUTE = 600
"""The requests with one invitation in a minute. More are a 503."""

MAX_WRONG_PER_MINUTE = 30
"""The codes of one address in a minute that open nothing. Further codes of it are not looked up."""

WRITE_S = 10.0
"""Uses of one invitation are written to its history at most so often, in seconds; the audit log has each at once."""

_REMEMBERED = 10_000


class _TooManyWrong(errors.RetryLater):
    """Too many wrong codes came from an address."""


class Invited:
    """The use of invitations at one server."""

    def __init__(self, services: Services) -> None:
        """Nothing was used yet."""
        self._services = services
        self._rates = _Rates()
        self._pending: OrderedDict[tuple[str, str], list[port.Use]] = OrderedDict()
        self._written: dict[str, float] = {}

    async def verified(self, call: Call, code: str) -> Principal:
        """The principal with this code.

        Raises:
            Unauthenticated: it opens nothing (any more), or its safety case was deleted.
            RetryLater: too many wrong codes came from this address.
        """
        now, address = self._services.clock.monotonic(), f"wrong {call.client}"
        known = self._services.authority.invitations
        if self._rates.count(address, now) >= MAX_WRONG_PER_MINUTE and not known.remembers(code):
            raise _TooManyWrong("too many codes from this address open nothing; try again in a minute", retry_after_s=60.0)
        try:
            opened = await known.opened(code)
            await self._require_case(opened.invitation.case)
        except errors.Unauthenticated:
            self._rates.add(address, now)
            raise
        return invited(opened)

    async def by_cookie(self, call: Call, route: Route) -> Principal | None:
        """The principal with the invitation in a cookie; None if there is none that is valid: then the caller is like anybody."""
        text = call.joined(b"cookie")
        if text is None or route.method != "GET" or route.operation not in BY_COOKIE:
            return None
        try:
            found = cookies.SimpleCookie(text).get(COOKIE)
        except cookies.CookieError:
            return None
        if found is None:
            return None
        try:
            principal = await self.verified(call, found.value)
        except (errors.Unauthenticated, _TooManyWrong):
            return None
        opened = principal.invitation
        return principal if opened is not None and opened.invitation.case == call.path.get("id") else None

    async def use(self, call: Call, route: Route | None, principal: Principal) -> None:
        """Check that an invitation may call a route, and record the use. `route`: None for a stream.

        Raises:
            Forbidden: it may not.
            RetryLater: it is used too often.
            Unavailable: the use cannot be recorded, so there is none.
        """
        opened = principal.invitation
        assert opened is not None
        if route is None or route.method != "GET" or route.operation not in OPERATIONS or route.group not in registry.BY_PLURAL:
            raise errors.Forbidden("an invitation lets you read one safety case and what it rests on, and nothing else")
        now = self._services.clock.monotonic()
        if self._rates.count(opened.key.id, now) >= MAX_PER_MINUTE:
            raise errors.RetryLater("this invitation was used too often within a minute; try again later", retry_after_s=10.0)
        self._rates.add(opened.key.id, now)
        entity = call.path.get("id")
        known = entity if any(entity in each.entities for each in opened.grants) else None
        await self.record(opened, f"{route.group}.{route.operation}", known)

    async def record(self, opened: inviting.Opened, action: str, entity: str | None, *, at_once: bool = False) -> None:
        """Add a use to the history.

        Raises:
            Unavailable: it cannot be written.
        """
        now, place = self._services.clock.now(), (opened.key.account, opened.key.id)
        self._pending.setdefault(place, []).append(port.Use(action=action, entity=entity, first=now, last=now))
        before = self._written.get(opened.key.id)
        if at_once or before is None or self._services.clock.monotonic() - before >= WRITE_S:
            await self._write(place)

    async def flush(self) -> None:
        """Write all that is not written yet."""
        for place in list(self._pending):
            await self._write(place)

    async def end(self) -> None:
        """Write all that is not written yet, if that is possible: the server stops in any case."""
        try:
            await self.flush()
        except errors.DyffError as error:
            log.warning("uses-of-invitations-not-written", **errors.details(error))

    async def _write(self, place: tuple[str, str]) -> None:
        account, key = place
        pending = self._pending.pop(place, [])
        if len(self._written) >= _REMEMBERED:
            self._written.clear()
        self._written[key] = self._services.clock.monotonic()
        if not pending:
            return
        try:
            await self._services.accounts.use_key(account, key, port.Invitation("").used(pending).uses)
        except BaseException:  # of whatever kind, also if the request is given up: they are written with the next use
            self._pending[place] = [*port.Invitation("").used([*pending, *self._pending.get(place, [])]).uses]
            self._written.pop(key, None)
            raise

    async def _require_case(self, case: str) -> None:
        documents = [await self._services.query.get(row.plural, case) for row in registry.ROWS if row.page is not None]
        found = [codecs.decode_object(each) for each in documents if each is not None]
        if not found or found[0].get("status") == statuses.DELETED:
            raise errors.Unauthenticated(inviting.REFUSED)


class _Rates:
    """How often something happened in the present minute."""

    def __init__(self) -> None:
        self._minute, self._counts = 0, dict[str, int]()

    def count(self, name: str, now_s: float) -> int:
        minute = int(now_s // 60)
        if minute != self._minute or len(self._counts) >= _REMEMBERED:
            self._minute, self._counts = minute, {}
        return self._counts.get(name, 0)

    def add(self, name: str, now_s: float) -> None:
        self._counts[name] = self.count(name, now_s) + 1
