"""Runs the web server inside our own event loop, without letting it take over the process."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import anyio.abc
import uvicorn

from dyff.kernel import errors


async def serve(config: uvicorn.Config, listener: socket.socket, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Serve on a socket until cancelled, then let requests in progress finish. The server closes the socket: pass it one of its own.

    Raises:
        DyffError: the web server could not start, or ended without being asked to.
    """
    server = _Server(config, task_status)
    async with anyio.create_task_group() as group:
        group.start_soon(_stop_when_cancelled, server)
        with anyio.CancelScope(shield=True):
            await server.serve(sockets=[listener])
        if not server.was_stopped:
            raise errors.DyffError("the web server ended without being asked to")
        group.cancel_scope.cancel()


async def _stop_when_cancelled(server: _Server) -> None:
    """Ask the web server to stop. It is never cancelled, so requests in progress finish in an orderly way."""
    try:
        await anyio.sleep_forever()
    finally:
        server.was_stopped = True
        server.should_exit = True


class _Server(uvicorn.Server):
    """A uvicorn server that installs no signal handlers, reports when it serves, and raises instead of ending the process."""

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
        """Do nothing: the supervisor handles signals."""
