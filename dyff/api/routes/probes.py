"""Health checks and the documentation of the API. They need no token."""

from __future__ import annotations

from importlib import resources
from typing import Any

from dyff.api import openapi, probing
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.entities import codecs


def routes(context: Context, documented: list[Route]) -> list[Route]:
    """Return the routes. `documented`: the other routes, to be described."""
    group = Probes(context)
    common: dict[str, Any] = {"method": "GET", "group": "server", "open": True}
    found = [
        Route(
            path="/health", answer=group.health, operation="health", summary="Whether this process works (503: start a new one)", **common
        ),
        Route(
            path="/ready",
            answer=group.ready,
            operation="ready",
            summary="Whether all its roles serve (503: not now, with the reasons)",
            **common,
        ),
        Route(
            path="/v0/openapi.json",
            answer=group.openapi,
            operation="openapi",
            summary="This description, for programs",
            hidden=True,
            **common,
        ),
        Route(path="/v0/docs", answer=group.docs, operation="docs", summary="This description, for people", hidden=True, **common),
    ]
    group.describe([*documented, *found])
    return found


class Probes:
    """Health checks and documentation."""

    def __init__(self, context: Context) -> None:
        """The description of the API is empty until `describe`."""
        self._report = context.services.health
        self._openapi = b"{}"
        self._docs = resources.files("dyff.api").joinpath("docs.html").read_bytes()

    def describe(self, routes: list[Route]) -> None:
        """Build the description of the API, once."""
        self._openapi = codecs.encode(openapi.document(routes))

    async def health(self, _: Call) -> Reply:
        """Return 200 as long as this process can recover, 503 when only a restart helps. The body has the state of its roles."""
        report = self._report()
        return json(report, status=probing.health(report))

    async def ready(self, _: Call) -> Reply:
        """Return 503 until every role serves, and while one makes no progress. The body says which and why, and what else does not work."""
        report = self._report()
        return json(report, status=probing.ready(report))

    async def openapi(self, _: Call) -> Reply:
        """Return the description in OpenAPI 3.1."""
        return Reply(200, self._openapi)

    async def docs(self, _: Call) -> Reply:
        """Return a page that renders the description, without resources from other sites."""
        return Reply(
            200,
            self._docs,
            (("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"),),
            "text/html; charset=utf-8",
        )
