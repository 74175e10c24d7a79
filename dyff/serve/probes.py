"""Serves `/health` and `/ready` on a port of their own, for the probes of Kubernetes."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio.abc
import msgspec
import uvicorn

from dyff.api import connections, probing, webserver
from dyff.entities import codecs
from dyff.kernel import settings

MAX_CONNECTIONS = 64
"""Those of the probes at once."""

Report = Callable[[], dict[str, Any]]


async def run(report: Report, listener: socket.socket, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Serve until cancelled, with the same answers as the api's own probes. `report`: see `health.Health.report`."""
    limits = msgspec.structs.replace(connections.limits(settings.Api()), connections=MAX_CONNECTIONS)
    bounded = type("Protocol", (connections.Bounded,), {"limits": limits, "watch": connections.Watch()})
    config = uvicorn.Config(_application(report), http=bounded, loop="none", lifespan="off", ws="none", log_config=None, access_log=False)
    with listener.dup() as bound:
        await webserver.serve(config, bound, task_status=task_status)


def answer(path: str, reported: dict[str, Any]) -> tuple[int, bytes]:
    """Status code and body of the response."""
    known = {"/health": probing.health, "/ready": probing.ready}.get(path)
    if known is not None:
        return known(reported), codecs.encode(reported)
    return 404, codecs.encode({"detail": "here are /health and /ready only; the API is served by the role api"})


def _application(report: Report) -> Any:
    async def application(
        scope: MutableMapping[str, Any], receive: Any, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ) -> None:
        status, body = answer(scope["path"], report())
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application
