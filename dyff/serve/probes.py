"""Serves `/health`, `/ready` and `/metrics` on a port of their own, for the probes of Kubernetes and for Prometheus."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio.abc
import msgspec
import uvicorn

from dyff.api import connections, probing, webserver
from dyff.entities import codecs
from dyff.kernel import errors, settings
from dyff.kernel.telemetry import metrics

MAX_CONNECTIONS = 64
"""Those of the probes at once."""

METRICS = "/metrics"
JSON = "application/json"

Report = Callable[[], dict[str, Any]]


async def run(report: Report, measured: metrics.Metrics, listener: socket.socket, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Serve until cancelled, with the same answers as the api's own probes. `report`: see `health.Health.report`."""
    limits = msgspec.structs.replace(connections.limits(settings.Api()), connections=MAX_CONNECTIONS)
    bounded = type("Protocol", (connections.Bounded,), {"limits": limits, "watch": connections.Watch()})
    config = uvicorn.Config(
        _application(report, measured), http=bounded, loop="none", lifespan="off", ws="none", log_config=None, access_log=False
    )
    with listener.dup() as bound:
        await webserver.serve(config, bound, task_status=task_status)


def answer(path: str, reported: dict[str, Any]) -> tuple[int, bytes]:
    """Status code and body of the response, of every path but that of the metrics."""
    known = {"/health": probing.health, "/ready": probing.ready}.get(path)
    if known is not None:
        return known(reported), codecs.encode(reported)
    return 404, codecs.encode({"detail": "here are /health, /ready and /metrics only; the API is served by the role api"})


async def scraped(measured: metrics.Metrics, accept: str | None) -> tuple[int, bytes, str]:
    """Status code, body and content type of the metrics."""
    try:
        content_type, body = await measured.scrape(accept)
    except errors.RetryLater as error:
        return 503, codecs.encode({"detail": error.message}), JSON
    return 200, body, content_type


def _application(report: Report, measured: metrics.Metrics) -> Any:
    async def application(
        scope: MutableMapping[str, Any], receive: Any, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ) -> None:
        if scope["path"] == METRICS and scope["method"] in ("GET", "HEAD"):
            status, body, content_type = await scraped(measured, _accept(scope))
        else:
            (status, body), content_type = answer(scope["path"], report()), JSON
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def _accept(scope: MutableMapping[str, Any]) -> str | None:
    found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"]
    return ",".join(found) or None
