"""The role `api`: runs the application on a web server."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import anyio.abc
import uvicorn

from dyff.api import app, connections, express, forwarded, webserver
from dyff.api.services import Services
from dyff.kernel import listening, settings, web_addresses

WS_MAX_BYTES = 4096
"""The limit for a message from a client. Clients have nothing to send on our WebSockets."""

GRACE_S = 8
"""How long requests in progress may take to finish once the role is stopping; after that they are cancelled."""


def listener(host: str, port: int) -> socket.socket:
    """Return a bound socket for the API; see `listening.bound`.

    Raises:
        Misconfigured: it cannot be bound.
    """
    return listening.bound(host, port, who="the API", advice="choose another with --host and --port")


async def run(services: Services, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled, then let requests in progress finish.

    Raises:
        Misconfigured: the address cannot be bound.
        DyffError: the web server could not start, or ended without being asked to.
    """
    chosen = services.settings
    with services.listener.dup() if services.listener is not None else listener(chosen.host, chosen.port) as bound:
        application = app.build(services)
        with services.metrics.reading("connections", application.lane.metering.read):
            async with anyio.create_task_group() as group:
                group.start_soon(application.schemas.warm)
                group.start_soon(application.samples.warm)
                group.start_soon(application.watching.run)
                group.start_soon(_stop_streams_when_cancelled, application)
                await webserver.serve(_config(application, chosen), bound, task_status=task_status)


async def _stop_streams_when_cancelled(application: app.Application) -> None:
    """Streams of changes never end by themselves, and requests in progress hold up the end."""
    try:
        await anyio.sleep_forever()
    finally:
        application.changes.stop()


def _config(application: app.Application, chosen: settings.Api) -> uvicorn.Config:
    prefix = web_addresses.prefix(chosen.public_url).encode()
    limits, proxies = connections.limits(chosen), forwarded.Proxies(chosen)
    return uvicorn.Config(
        application,
        http=express.protocol(
            application.express, application.lane.answer_express, limits, proxies, prefix, application.lane.metering.watch
        ),
        loop="none",
        lifespan="on",
        ws=_websocket,  # type: ignore[arg-type]  # any factory of a protocol works
        ws_max_size=WS_MAX_BYTES,
        ws_ping_timeout=None,  # a slow reader would not answer pings in time
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )


def _websocket(**options: Any) -> asyncio.Protocol:
    """Make the protocol of an upgraded connection. It is imported on first use, because most servers have none for hours."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**options)
