"""Small HTTP servers in the process of a test."""

from __future__ import annotations

import contextlib
import http.server
import socket
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """Its end also ends the connections that clients keep open, so that the threads that serve them end."""

    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args, **kwargs)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for each in list(self._open):
            with contextlib.suppress(OSError):  # it has just ended
                each.shutdown(socket.SHUT_RDWR)
