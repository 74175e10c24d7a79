"""Health checks and the documentation of the API, which need no token, and the metrics, which need one of an operator."""

from __future__ import annotations

from importlib import resources
from typing import Any

import anyio.to_thread

from dyff.api import auth, openapi, probing
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Other, Route
from dyff.entities import answers, codecs
from dyff.kernel import web_addresses

HTML = "text/html"
TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"


def routes(context: Context, documented: list[Route]) -> list[Route]:
    """Return the routes. `documented`: the other routes, to be described."""
    group = Probes(context)
    common: dict[str, Any] = {"method": "GET", "group": "server", "open": True}
    report: dict[str, Any] = {"answers": answers.Health, "returns": "yes; what each role does"}
    found = [
        Route(
            path="/health", answer=group.health, operation="health", summary="Whether this process works",
            others={503: Other("no: start a new one", answers.Health)}, **report, **common,
        ),
        Route(
            path="/ready", answer=group.ready, operation="ready", summary="Whether all its roles serve",
            others={503: Other("not now; the roles say why", answers.Health)}, **report, **common,
        ),
        Route(
            path="/v0/openapi.json", answer=group.openapi, operation="openapi", summary="This description, for programs",
            answers=dict[str, Any], returns="an OpenAPI document", **common,
        ),
        Route(
            path="/v0/docs", answer=group.docs, operation="docs", summary="This description, for people", media_type=HTML,
            returns="a page", **common,
        ),
    ]  # fmt: skip
    found.append(
        Route(
            method="GET",
            path="/metrics",
            answer=group.metrics,
            group="server",
            operation="metrics",
            summary="The metrics of this process, for Prometheus",
            media_type=TEXT,
            or_media_types=(OPENMETRICS,),
            returns="the text format of Prometheus, or OpenMetrics if the header Accept prefers it",
        )
    )
    group.describe([*documented, *found])
    return found


class Probes:
    """Health checks and documentation."""

    def __init__(self, context: Context) -> None:
        """The description of the API is empty until `describe`."""
        self._report = context.services.health
        self._metrics = context.services.metrics
        self._routes: list[Route] = []
        self._root = web_addresses.prefix(context.services.settings.public_url) or "/"
        self._openapi: bytes | None = None
        self._docs = resources.files("dyff.api").joinpath("docs.html").read_bytes()

    def describe(self, routes: list[Route]) -> None:
        """What the description is made from. It is made when it is first asked for: it takes longer than a start-up has."""
        self._routes = routes

    async def health(self, _: Call) -> Reply:
        """200 while this process can recover by itself (503: only a new one helps); what its roles do is in the body."""
        report = self._report()
        return json(report, status=probing.health(report))

    async def ready(self, _: Call) -> Reply:
        """Return 503 until every role serves, and while one makes no progress. The body says which and why, and what else does not work."""
        report = self._report()
        return json(report, status=probing.ready(report))

    async def metrics(self, call: Call) -> Reply:
        """The metrics of this process. They show what every account does, so they need a token that grants everything."""
        auth.require_operator(call.principal, "GET /metrics")
        content_type, body = await self._metrics.scrape(call.header(b"accept"))
        return Reply(200, body, media_type=content_type)

    async def openapi(self, _: Call) -> Reply:
        """OpenAPI 3.1."""
        if self._openapi is None:
            self._openapi = await anyio.to_thread.run_sync(self._made)
        return Reply(200, self._openapi)

    def _made(self) -> bytes:
        return codecs.encode(openapi.document(self._routes, self._root))

    async def docs(self, _: Call) -> Reply:
        """Return a page that renders the description, without resources from other sites."""
        return Reply(
            200,
            self._docs,
            (("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"),),
            f"{HTML}; charset=utf-8",
        )
