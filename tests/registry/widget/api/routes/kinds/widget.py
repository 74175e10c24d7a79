"""The route that only widgets have."""

from __future__ import annotations

from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.entities.kinds import widget


def routes(context: Context) -> list[Route]:
    """The list."""

    async def color(call: Call) -> Reply:
        found = await context.documents.entity(call.principal, widget.KIND, call.path["id"], "get")
        return json(found["color"])

    path = f"/v0/{widget.KIND.plural}/{{id:str}}/color"
    summary = "Its color"
    return [Route(method="GET", path=path, answer=color, group=widget.KIND.plural, operation="color", summary=summary, answers=str)]
