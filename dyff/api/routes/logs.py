"""The routes for the logs of a workflow's pods: the last lines, a stream of all lines, and for some kinds a file."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec

from dyff.api import artifacts, auth, documents, logstream, podnotes
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Parameter, Route, Send, Socket
from dyff.cluster import port as cluster
from dyff.cluster.instants import instant
from dyff.entities import answers, codecs, kind, registry, statuses
from dyff.kernel import clock, errors
from dyff.objects import layout

DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000

LAST_LINES = 100
"""Lines that the end of a stream does not repeat."""

_SINCE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_AGE = timedelta(weeks=5_000)
_PARAMETERS = {
    "since": Parameter(
        "only what is not older than this (30s, 15m, 1h, 2d), or than this time (RFC 3339)",
        {"anyOf": [{"type": "string", "pattern": f"^{_SINCE.pattern}$"}, {"type": "string", "format": "date-time"}]},
    ),
    "limit": Parameter("the last lines, at most", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
}


def routes(context: Context) -> list[Route]:
    """Return the routes of the kinds that have logs."""
    return [route for row in registry.ROWS if row.logs is not None for route in Logs(context, row).routes(row.logs)]


def streams(context: Context) -> list[Socket]:
    """Return the WebSocket routes of those whose pods write them."""
    return [Logs(context, row).stream() for row in registry.ROWS if row.logs is not None and row.logs.pods]


class Logs:
    """The logs of one kind."""

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: that of the kind."""
        self._context = context
        self._row = row
        self._path = f"/v0/{row.plural}/{{id:str}}/logs/workflow"

    def routes(self, logs: kind.Logs) -> list[Route]:
        """Return the routes for the log as a file and for the lines of pods, as far as the kind has them."""
        common: dict[str, Any] = {"method": "GET", "group": self._row.plural}
        file = Route(
            path=f"/v0/{self._row.plural}/{{id:str}}/logs", answer=self.stored, operation="logs",
            summary="A URL of its log as a file of text", answers=answers.Downlink, returns="artifact and signedURL", **common,
        )  # fmt: skip
        of_pods = [
            Route(
                path=self._path, answer=self.answer, operation="workflow_logs",
                summary="The last lines that its pods wrote. A WebSocket to the same path and /stream has all, as they come",
                query=_PARAMETERS, answers=answers.WorkflowLogs, returns="workflow, logs, totalLines", **common,
            ),
            Route(
                path=f"{self._path}/stream", answer=self.upgrade, operation="stream_workflow_logs",
                summary="All lines as they come, over a WebSocket", status=101,
                returns="one message a line: timestamp, message, labels",
                hidden=True, **common,
            ),
        ]  # fmt: skip
        return [*([file] if logs.stored else []), *(of_pods if logs.pods else [])]

    def stream(self) -> Socket:
        """Return the WebSocket at the path of the route `stream_workflow_logs`."""
        return Socket(path=f"{self._path}/stream", begin=self.begin)

    async def begin(self, call: Call) -> Callable[[Send], Awaitable[None]]:
        """Stream all existing and new lines until the workflow has ended, as long as the token is valid."""
        services = self._context.services
        await self._context.documents.seen(call.principal, self._row, call.path["id"], "data")

        async def continues() -> bool:
            try:
                principal = await auth.authenticate(services.authority, call.header(b"authorization"))
                known = await self._context.documents.seen(principal, self._row, call.path["id"], "data")
            except errors.RetryLater:
                return True
            return not statuses.is_terminal(documents.summary(known).status)

        async def run(send: Send) -> None:
            last: deque[str] = deque(maxlen=LAST_LINES)

            async def publish(entry: logstream.Entry) -> None:
                last.append(entry["message"])
                await send(codecs.encode(entry))

            await logstream.LogStream(services.cluster, call.path["id"], continues, publish).run()
            found = await self._context.documents.find(self._row, call.path["id"])
            for note in podnotes.of_end(codecs.decode_object(found), last) if found is not None else ():
                await send(codecs.encode(note))

        return run

    async def upgrade(self, call: Call) -> Reply:
        """Answer an authorized request that is not for a WebSocket with 426 and how to connect."""
        await self._context.documents.seen(call.principal, self._row, call.path["id"], "data")
        fix = "this is a stream of messages: ask for it with a WebSocket (ws:// or wss://)"
        return json({"detail": fix}, status=426, headers=[("connection", "upgrade"), ("upgrade", "websocket")])

    async def stored(self, call: Call) -> Reply:
        """Return a link to the log as a file: the current log while its pods exist, afterwards as of the last request while they did."""
        entity = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        objects, key = self._context.services.objects, layout.logs(self._row.plural, entity["id"])
        is_there = await objects.head(key) is not None
        is_whole = is_there and (self._row.run is None or self._row.run.results is not None)  # the run itself has stored it
        lines = await self._lines(entity, None, MAX_LIMIT) if self._row.run is not None and not is_whole else []
        if lines and (len(lines) > len(podnotes.of_end(entity, ())) or not is_there):
            await objects.put(key, "".join(f"{line['message']}\n" for line in lines).encode())
        elif not is_there:
            raise errors.NotFound(f"nothing was logged for the {self._row.name} {entity['id']}: no pod of it has run")
        url = await objects.sign("GET", key, expires_s=artifacts.URL_LIFE_S)
        url = self._context.services.reachable(url, call.base)
        return json({"artifact": {"kind": "text", "path": "logs.txt", "digest": {}}, "signedURL": msgspec.to_builtins(url)})

    async def answer(self, call: Call) -> Reply:
        """Return the last lines of all pods that are labelled with the entity's ID, and why they did not run, in order of time."""
        since, limit = self._parameters(call)
        entity = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        lines = await self._lines(entity, since, limit)
        workflow = {"kind": self._row.name, "id": entity["id"]}
        return json({"workflow": workflow, "logs": lines[-limit:], "totalLines": len(lines)})

    async def _lines(self, entity: codecs.Json, since: str | None, limit: int) -> list[codecs.Json]:
        """The last `limit` lines of each pod, and what the cluster and the entity say about its end, in order of time."""
        lines: list[codecs.Json] = []
        pods = (await self._context.services.cluster.list(cluster.POD, {"dyff.io/id": entity["id"]})).items
        for pod in pods:
            found = await self._context.services.cluster.logs(pod["metadata"]["name"], since=since, limit=limit)
            lines += [logstream.entry(pod, line) for line in found]
        notes = [*podnotes.of_pods(pods), *podnotes.of_end(entity, [line["message"] for line in lines])]
        lines += [note for note in notes if since is None or note["timestamp"] > instant(since)]
        lines.sort(key=lambda line: line["timestamp"])
        return lines

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
        if match is not None:
            age = min(timedelta(**{_UNITS[match[2]]: int(match[1])}), _MAX_AGE)
            return clock.iso(self._context.services.clock.now() - age)
        try:
            return clock.iso(clock.parse_iso(text))
        except (ValueError, OverflowError) as error:
            fix = "must be a number and a unit (30s, 15m, 1h, 2d, 1w), or a time such as 2026-01-31T12:00:00Z"
            raise errors.InvalidFields(errors.Problem(("query", "since"), fix)) from error
