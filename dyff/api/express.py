"""The express lane: the busiest routes are answered straight from the parser, without ASGI in between.

According to benchmarks/api.py, ASGI's scope, events and messages cost more than everything else that a create does. The
web server's protocol needs nothing of a request in progress except what `_Exchange` has, so its pipelining, keep-alive,
flow control and graceful shutdown still apply. Requests for other routes take the usual path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dyff.api import connections, forwarded
from dyff.api.calls import Receive, Reply
from dyff.api.route import Route

Headers = list[tuple[bytes, bytes]]
Client = tuple[str, int] | None
Answer = Callable[[Route, Headers, Receive, Client], Awaitable[Reply]]
"""Answers a call of a route from a client's address. Raises nothing except what ends the process."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def protocol(
    routes: Iterable[Route],
    reply: Answer,
    limits: connections.Limits,
    proxies: forwarded.Proxies,
    prefix: bytes = b"",
    watch: connections.Watch | None = None,
) -> type[HttpToolsProtocol]:
    """Return the class of one web server's connections. `routes`: the express routes; their paths have no parameters.

    `prefix`: of the paths by which clients reach the API, such as `/dyff/`; empty for none. A proxy may remove it or keep it; then it is
    removed here. `watch`: of the server's connections; None for a new one.
    """
    by_target = {(route.method.encode(), route.path.encode()): route for route in routes}
    own = {"express": by_target, "answer": staticmethod(reply), "limits": limits, "watch": watch or connections.Watch()}
    own |= {"proxies": proxies, "prefix": prefix}
    return type("Protocol", (_Protocol,), own)


class _Protocol(connections.Bounded):
    express: dict[tuple[bytes, bytes], Route]
    """Routes by method and full request target. A target with a query string never matches."""

    answer: Answer
    proxies: forwarded.Proxies
    prefix: bytes

    _proxy: str | None = None
    """The address of the trusted proxy at the other end; None if there is none."""

    _base: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None and self.proxies.trusts(self.client[0]):
            self._proxy = self.client[0]

    def on_message_begin(self) -> None:
        """Like the parent's, but without the scope, which only ASGI needs."""
        self.begin_head()
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self.end_head()
        if self._proxy is not None:
            origin = self.proxies.origin(self._proxy, self.headers)
            self.client, self._base = (origin.client, 0), origin.base
        if self.prefix and self.url.startswith(self.prefix):
            self.url = self.url[len(self.prefix) - 1 :]
        parser = self.parser
        route = self.express.get((parser.get_method(), self.url))
        if route is None or self.expect_100_continue or parser.should_upgrade() or parser.get_http_version() != "1.1":
            self._as_usual()
            return
        before, exchange = self.cycle, _Exchange(self, route)
        self.cycle = exchange  # type: ignore[assignment]
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]

    def _as_usual(self) -> None:
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        if self._base is not None:
            self.scope[forwarded.BASE] = self._base  # type: ignore[literal-required]
        HttpToolsProtocol.on_headers_complete(self)


class _Exchange:
    """A request and its response, with the interface that the parent's methods expect."""

    __slots__ = (
        "_client", "_connection", "_headers", "_route", "_waiter",
        "body", "disconnected", "keep_alive", "more_body", "response_complete",
    )  # fmt: skip

    def __init__(self, connection: _Protocol, route: Route) -> None:
        """Called when the headers are complete; the body is still to come."""
        self._connection, self._route, self._headers, self._client = connection, route, connection.headers, connection.client
        self._waiter: asyncio.Future[None] | None = None
        self.keep_alive = connection.parser.should_keep_alive()
        self.disconnected = False
        self.body: bytes | bytearray = b""
        self.more_body = True
        self.response_complete = False

    @property
    def message_event(self) -> _Exchange:
        """The event that the parent sets when a part of the body, its end, or the end of the connection has arrived."""
        return self

    def set(self) -> None:
        """See `message_event`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def run_asgi(self, _: Any) -> None:
        """Answer the request, in a task of its own. The parent discards any rest of the body that still arrives."""
        connection = self._connection
        reply = await connection.answer(self._route, self._headers, self._receive, self._client)
        if connection.flow.write_paused and not self.disconnected:
            await connection.flow.drain()
        self.response_complete = True
        if self.disconnected:
            return
        connection.transport.write(_response(reply, connection.server_state.default_headers, self.keep_alive))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    async def _receive(self) -> Any:
        """ASGI's receive: return the part of the body that has arrived since the last call."""
        while self.more_body and not self.body and not self.disconnected:
            self._connection.flow.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.disconnected:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}


def _response(reply: Reply, defaults: Headers, keep_alive: bool) -> bytes:
    assert isinstance(reply.body, bytes)
    parts = [_STATUS_LINES[reply.status]]
    parts += [b"%b: %b\r\n" % header for header in defaults]
    parts += [f"{name}: {value}\r\n".encode("latin-1") for name, value in reply.headers]
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    parts.append(b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (reply.media_type.encode(), len(reply.body)))
    parts.append(reply.body)
    return b"".join(parts)
