"""The role `api`: the application on a web server."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import uvicorn

from dyff.api import app, arrow, express, webserver
from dyff.api.services import Services
from dyff.kernel import listening

WS_MAX_BYTES = 4096
"""Of a message from a client, which has nothing to say on any of our WebSockets."""

GRACE_S = 8
"""How long a request may take to end once the role is to stop; then it is cancelled."""


def listener(host: str, port: int) -> socket.socket:
    """A socket for the API, see `listening.bound`.

    Raises:
        Misconfigured: it cannot be bound.
    """
    return listening.bound(host, port, who="the API", advice="choose another with --host and --port")


async def run(services: Services, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled, then let requests end.

    Raises:
        Misconfigured: the address is taken.
        DyffError: the web server ended by itself.
    """
    chosen = services.settings
    with services.listener.dup() if services.listener is not None else listener(chosen.host, chosen.port) as bound:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, arrow.warm)
            await webserver.serve(_config(services), bound, task_status=task_status)


def _config(services: Services) -> uvicorn.Config:
    application = app.build(services)
    return uvicorn.Config(
        application,
        http=express.protocol(application.express, application.lane.answer_express),
        loop="none",
        lifespan="on",
        ws=_websocket,  # type: ignore[arg-type]  # whatever makes a protocol will do
        ws_max_size=WS_MAX_BYTES,
        ws_ping_timeout=None,  # a reader may be slow, and then it does not answer in time
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )


def _websocket(**options: Any) -> asyncio.Protocol:
    """A connection that was upgraded. What it needs is imported by the first: most servers have none for hours."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**options)
