"""The role `api`: the web server inside our own event loop, without its habits of owning the process."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import uvicorn

from dyff.api import app, arrow, express
from dyff.api.services import Services
from dyff.kernel import errors

BACKLOG = 2048
WS_MAX_BYTES = 4096
"""Of a message from a client, which has nothing to say on any of our WebSockets."""

GRACE_S = 8
"""How long a request may take to end once the role is to stop; then it is cancelled."""


def listener(host: str, port: int) -> socket.socket:
    """A socket that is bound to `host` and `port` (0: a free one) and listens.

    Raises:
        Misconfigured: it cannot be bound; the message says why and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise errors.Misconfigured(f"the API cannot listen on {host}:{port}: {reason}; choose another with --host and --port") from error
    bound.setblocking(False)
    return bound


async def run(services: Services, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled, then let requests end.

    Raises:
        Misconfigured: the address is taken.
        DyffError: the web server ended by itself.
    """
    chosen = services.settings
    bound = services.listener.dup() if services.listener is not None else listener(chosen.host, chosen.port)
    with bound:
        server = _Server(_config(services), task_status)
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_when_cancelled, server)
            group.start_soon(anyio.to_thread.run_sync, arrow.warm)
            with anyio.CancelScope(shield=True):
                await server.serve(sockets=[bound])
            if not server.was_stopped:
                raise errors.DyffError("the web server ended without being asked to")
            group.cancel_scope.cancel()


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


async def _stop_when_cancelled(server: _Server) -> None:
    """The web server is never cancelled: it is asked to stop, and what it has begun is ended in good order."""
    try:
        await anyio.sleep_forever()
    finally:
        server.was_stopped = True
        server.should_exit = True


class _Server(uvicorn.Server):
    """Installs no signal handlers, says when it serves, and raises instead of ending the process."""

    def __init__(self, config: uvicorn.Config, task_status: anyio.abc.TaskStatus[None]) -> None:
        super().__init__(config)
        self.was_stopped = False
        self._task_status = task_status

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await self._serve(sockets)
        except SystemExit as error:
            raise errors.DyffError("the web server could not start") from error

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._task_status.started()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Signals are the supervisor's."""
