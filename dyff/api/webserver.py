"""Runs the web server inside our own event loop, without letting it take over the process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, cast

import anyio
import anyio.abc
import uvicorn

from dyff.api import connections
from dyff.kernel import errors, listening

LEAVE_S = 0.5
"""For this long after a stop was requested, connections without a request in progress stay open: a request may be on its way."""

_LOOK_S = 0.02


async def serve(config: uvicorn.Config, listener: socket.socket, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Serve on a socket until cancelled, then let requests in progress finish. The server closes the socket: pass it one of its own.

    `config`: its `http` is a class derived from `connections.Bounded`.

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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Like the parent's, but first answer those who cannot know of the stop: proxies send requests on connections that they kept."""
        waiting = [each.dup() for each in sockets or ()]
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        watch = self._protocol.watch
        watch.leave()
        await self._take(waiting)
        end = asyncio.get_running_loop().time() + LEAVE_S
        while watch.waiting and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        await super().shutdown(sockets)

    async def _take(self, listeners: Sequence[socket.socket]) -> None:
        """Serve the connections that the kernel has accepted for us. It would reset them when the socket is closed."""
        for listener in listeners:
            with listener:
                for _ in range(listening.BACKLOG):
                    try:
                        connection, _ = listener.accept()
                    except OSError:  # there is none any more, or no file descriptor for it
                        break
                    connection.setblocking(False)
                    await asyncio.get_running_loop().connect_accepted_socket(self._connected, connection)

    @property
    def _protocol(self) -> type[connections.Bounded]:
        return cast(type[connections.Bounded], self.config.http)

    def _connected(self) -> connections.Bounded:
        return self._protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Do nothing: the supervisor handles signals."""
