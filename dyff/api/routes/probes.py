"""Health, and what documents the API: open to all."""

from __future__ import annotations

from importlib import resources
from typing import Any

from dyff.api import openapi, probing
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.entities import codecs


def routes(context: Context, documented: list[Route]) -> list[Route]:
    """`documented`: the other routes."""
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
    """Answers that need no token."""

    def __init__(self, context: Context) -> None:
        """Without a description yet."""
        self._report = context.services.health
        self._openapi = b"{}"
        self._docs = resources.files("dyff.api").joinpath("docs.html").read_bytes()

    def describe(self, routes: list[Route]) -> None:
        """Make the description, once."""
        self._openapi = codecs.encode(openapi.document(routes))

    async def health(self, _: Call) -> Reply:
        """200 as long as this process can mend itself (503: only a new one helps); what its roles do is in the body."""
        report = self._report()
        return json(report, status=probing.health(report))

    async def ready(self, _: Call) -> Reply:
        """503 until every role serves, and while one does not get on; the body says which, and why."""
        report = self._report()
        return json(report, status=probing.ready(report))

    async def openapi(self, _: Call) -> Reply:
        """OpenAPI 3.1."""
        return Reply(200, self._openapi)

    async def docs(self, _: Call) -> Reply:
        """A page that renders it, with nothing from elsewhere."""
        return Reply(
            200,
            self._docs,
            (("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"),),
            "text/html; charset=utf-8",
        )
