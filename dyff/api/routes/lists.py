"""The routes for lists and for the overview: rows with some fields of each entity, and counts (docs/console-data.md)."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import auth, queries, rows
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.api.routes.entities import follow
from dyff.entities import codecs, consoles, kind, registry, statuses
from dyff.query import columns, filters, port

MAX_COUNTED = 100
"""No more entities of a kind and a group are counted."""
MAX_ROWS = 10
"""Rows of each group: those that changed last."""


def routes(context: Context) -> list[Route]:
    """Return the routes: rows of each kind, and the overview."""
    group = Lists(context)
    common: dict[str, Any] = {"method": "GET", "takes_position": True}
    return [
        *(
            Route(
                path=f"/v0/{row.plural}/rows", answer=functools.partial(group.rows, row), group=row.plural, operation="query_rows",
                summary=f"Some fields of all {row.plural} that match", query=rows.parameters(row), answers=list[dict[str, Any]],
                returns="a list of objects, nested as the entities are; what an entity does not have is absent", **common,
            )
            for row in registry.ROWS
        ),
        Route(
            path="/v0/overview", answer=group.overview, group="server", operation="overview", answers=consoles.Overview,
            summary="What runs, waits, has failed and is done, of all kinds that the token may query",
            returns="counts up to a bound, and what changed last", **common,
        ),
    ]  # fmt: skip


class Lists:
    """Entities, many at a time and only in part."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._context, self._query = context, context.services.query

    async def rows(self, row: kind.Kind, call: Call) -> Reply:
        """Return some fields of all entities of a kind that match and that the caller may see, as a plain array."""
        auth.require_any(call.principal, row.plural, "query")
        find = rows.find(row, call.query(), grants.scope(call.principal.grants, row.plural))
        await follow(self._context, call)
        return await self._context.large.array(call, functools.partial(self._query.find, find))

    async def overview(self, call: Call) -> Reply:
        """Return the groups of statuses, each with counts and with what changed last."""
        queries.once(call.query(), [])
        await follow(self._context, call)
        groups = [await self._group(call.principal, name, found) for name, found in statuses.GROUPS.items()]
        return json(msgspec.to_builtins(consoles.Overview(most=MAX_COUNTED, groups=groups)))

    async def _group(self, principal: Principal, name: str, wanted: tuple[str, ...]) -> consoles.Group:
        # What was not touched since its creation has no time of a change.
        by = columns.CREATED if statuses.CREATED in wanted else columns.CHANGED
        counts: list[consoles.Count] = []
        last: list[codecs.Json] = []
        for row in registry.ROWS:
            if (row.run is None and row.upload is None) or not grants.allows_some(principal.grants, row.plural, "query"):
                continue
            where = filters.AllOf((queries.visible(grants.scope(principal.grants, row.plural)), filters.OneOf(columns.STATUS, wanted)))
            asked = filters.Find(collection=row.plural, where=where, order_by=by, order="descending", limit=MAX_COUNTED + 1)
            if count := await self._query.count(asked):
                counts.append(consoles.Count(plural=row.plural, count=min(count, MAX_COUNTED), more=count > MAX_COUNTED))
                some = msgspec.structs.replace(asked, limit=MAX_ROWS, fields=rows.listed(row))
                last += map(codecs.decode_object, await port.found(self._query.find(some)))
        last.sort(key=_changed, reverse=True)
        return consoles.Group(name=name, statuses=list(wanted), counts=counts, rows=last[:MAX_ROWS])


def _changed(row: codecs.Json) -> str:
    return row.get("lastTransitionTime") or row.get("creationTime") or ""
