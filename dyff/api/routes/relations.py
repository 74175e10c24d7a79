"""The routes for the history of an entity, what it needs and what needs it (docs/console-data.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import history, queries, related
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Parameter, Route
from dyff.api.routes.entities import follow
from dyff.entities import codecs, kind, registry, relations
from dyff.kernel import errors

DEFAULT_HISTORY, DEFAULT_DEPENDENTS, MAX_LIMIT = 100, 50, 200
_AFTER = Parameter("`next` of the page before")
SYSTEM = "system"


def routes(context: Context) -> list[Route]:
    """Return the routes of all kinds."""
    return [route for row in registry.ROWS for route in Relations(context, row).routes()]


class Relations:
    """What surrounds the entities of one kind. It needs `get` on the entity."""

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: that of the kind."""
        self._context, self._row = context, row
        self._histories = history.Histories(context.services, context.positions)
        self._relating = related.Relating(context.services)

    def routes(self) -> list[Route]:
        """Return the routes."""
        one = f"/v0/{self._row.plural}/{{id:str}}"
        common: dict[str, Any] = {"method": "GET", "group": self._row.plural, "takes_position": True}
        return [
            Route(
                path=f"{one}/history", answer=self.history, operation="history", summary="The statuses that it has had",
                query={"limit": _limit_of(DEFAULT_HISTORY), "after": _AFTER}, answers=relations.History, returns="history, next", **common,
            ),
            Route(
                path=f"{one}/dependencies", answer=self.dependencies, operation="dependencies", summary="What it needs",
                answers=relations.Dependencies, returns="needs", **common,
            ),
            Route(
                path=f"{one}/dependents", answer=self.dependents, operation="dependents", summary="What needs it",
                query={"limit": _limit_of(DEFAULT_DEPENDENTS), "after": _AFTER}, answers=relations.Dependents, returns="dependents, next",
                **common,
            ),
        ]  # fmt: skip

    async def history(self, call: Call) -> Reply:
        """Return the statuses that the entity has had, the oldest first."""
        given = queries.once(call.query(), ["limit", "after"])
        limit, after = _limit(given, DEFAULT_HISTORY), given.get("after")
        cursor = None if after is None else history.Cursor.parse(after)
        entity = await self._entity(call)
        page = await self._histories.page(entity, cursor, limit)
        found = [msgspec.structs.replace(each.transition, by=_by(call.principal, entity, each.principal)) for each in page.entries]
        return json({"history": msgspec.to_builtins(found), "next": None if page.next is None else page.next.text()})

    async def dependencies(self, call: Call) -> Reply:
        """Return what the entity needs."""
        entity = await self._entity(call)
        return json({"needs": msgspec.to_builtins(await self._relating.needed(call.principal, self._row, entity))})

    async def dependents(self, call: Call) -> Reply:
        """Return what needs the entity, by kind and then the oldest first."""
        given = queries.once(call.query(), ["limit", "after"])
        limit = _limit(given, DEFAULT_DEPENDENTS)
        entity = await self._entity(call)
        found, following = await self._relating.dependents(call.principal, self._row, entity["id"], given.get("after"), limit)
        return json({"dependents": msgspec.to_builtins(found), "next": following})

    async def _entity(self, call: Call) -> codecs.Json:
        await follow(self._context, call)
        return await self._context.documents.entity(call.principal, self._row, call.path["id"], "get")


def _by(principal: Principal, entity: codecs.Json, subject: str) -> str | None:
    """Who asked for a status, as far as the caller may know that."""
    of, slash, name = subject.partition("/")
    if not slash:
        return SYSTEM if subject else None
    own = principal.account.id if principal.account is not None else None
    is_known = of == "Account" and name in (entity["account"], own)
    return name if is_known or all(grants.is_covered(each, principal.grants) for each in grants.ADMIN) else None


def _limit_of(default: int) -> Parameter:
    return Parameter("at most this many", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": default})


def _limit(given: dict[str, str], default: int) -> int:
    found = queries.limit(given.get("limit"))
    if found is not None and found > MAX_LIMIT:
        raise errors.InvalidFields(errors.Problem(("query", "limit"), f"must be a whole number from 1 to {MAX_LIMIT}"))
    return default if found is None else found
