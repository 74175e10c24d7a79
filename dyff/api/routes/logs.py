"""The route to what the pods of a workflow wrote."""

from __future__ import annotations

import re
from datetime import timedelta

from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.cluster import port as cluster
from dyff.entities import codecs, kinds
from dyff.kernel import clock, errors

DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000

_KINDS = ("Evaluation", "InferenceSession", "Model")
_SINCE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PARAMETERS = {
    "since": "only so long ago, e.g. 30s, 15m, 1h or 2d",
    "limit": f"the last lines, at most {MAX_LIMIT} (default {DEFAULT_LIMIT})",
}


def routes(context: Context) -> list[Route]:
    """For the kinds that run pods."""
    return [
        Route(
            method="GET", path=f"/v0/{row.plural}/{{id:str}}/logs/workflow", answer=Logs(context, row).answer, group=row.plural,
            summary="The last lines that its pods wrote", query=_PARAMETERS, returns="workflow, logs, totalLines",
        )
        for row in (kinds.BY_KIND[kind] for kind in _KINDS)
    ]  # fmt: skip


class Logs:
    """One kind's logs."""

    def __init__(self, context: Context, row: kinds.EntityKind) -> None:
        """`row`: the kind."""
        self._context = context
        self._row = row

    async def answer(self, call: Call) -> Reply:
        """The lines of all pods that carry the entity's ID, in order of time."""
        since, limit = self._parameters(call)
        entity = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        lines: list[codecs.Json] = []
        pods = await self._context.services.cluster.list(cluster.POD, {"dyff.io/id": entity["id"]})
        for pod in pods.items:
            lines += await self._lines(pod, since, limit)
        lines.sort(key=lambda line: line["timestamp"])
        workflow = {"kind": self._row.kind, "id": entity["id"]}
        return json({"workflow": workflow, "logs": lines[-limit:], "totalLines": len(lines)})

    async def _lines(self, pod: cluster.Object, since: str | None, limit: int) -> list[codecs.Json]:
        metadata = pod["metadata"]
        own = {key: value for key, value in (metadata.get("labels") or {}).items() if key.startswith("dyff.io/")}
        labels = {**own, "pod": metadata["name"]}
        found = await self._context.services.cluster.logs(metadata["name"], since=since, limit=limit)
        return [{"timestamp": line.timestamp, "message": line.message, "labels": labels} for line in found]

    def _parameters(self, call: Call) -> tuple[str | None, int]:
        given = dict(call.query())
        for name in given:
            if name not in _PARAMETERS:
                raise errors.InvalidFields(
                    errors.Problem(("query", name), "the parameter is not known; known are since and limit", "extra_forbidden")
                )
        limit = given.get("limit", str(DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MAX_LIMIT):
            raise errors.InvalidFields(errors.Problem(("query", "limit"), f"must be a whole number from 1 to {MAX_LIMIT}"))
        return self._since(given.get("since")), int(limit)

    def _since(self, text: str | None) -> str | None:
        if text is None:
            return None
        match = _SINCE.fullmatch(text)
        if match is None:
            raise errors.InvalidFields(errors.Problem(("query", "since"), "must be a number and a unit, e.g. 30s, 15m, 1h, 2d or 1w"))
        age = timedelta(**{_UNITS[match[2]]: min(int(match[1]), 5_000)})
        return clock.iso(self._context.services.clock.now() - age)
