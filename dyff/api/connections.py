"""What a client may cost before it is known: limits on request heads, time and connections, for uvicorn's protocol.

Bytes that belong to no body are counted as they arrive, because the parser holds an unfinished header, however long it is. Nothing here
needs a timer for each connection: one look a second finds those that are late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dyff.api import heads
from dyff.entities import codecs
from dyff.kernel import descriptors, settings

LOOK_S = 1.0
LINGER_S = 2.0
"""After a refusal, what the client still sends is read and dropped for this long, or the refusal might never reach it."""

LINGER_BYTES = 4 * 2**20
MAX_PIPELINED = 64
"""The most requests of one connection that wait for the answer to an earlier one."""

STALL_BYTES = 1024
"""A body must bring this much within the time that it may stall. A byte now and then is no progress."""

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a connection, and `connections`: how many there may be. See the settings of the same names, `api.*`."""

    url_bytes: int
    headers: int
    headers_bytes: int
    head_s: float
    idle_s: float
    keep_alive_s: float
    stall_s: float
    connections: int


def limits(chosen: settings.Api) -> Limits:
    """The limits that the settings choose. Connections leave a quarter of the file descriptors to everything else."""
    return Limits(
        url_bytes=chosen.max_url_bytes,
        headers=chosen.max_headers,
        headers_bytes=chosen.max_headers_bytes,
        head_s=chosen.head_timeout_s,
        idle_s=chosen.idle_timeout_s,
        keep_alive_s=chosen.keep_alive_s,
        stall_s=chosen.stall_timeout_s,
        connections=max(1, min(chosen.max_connections, descriptors.limit() * 3 // 4)),
    )


class Watch:
    """The connections of one server.

    `waiting`: those without a request in progress, the longest waiting first. `is_leaving`: whether each ends with its next answer.
    """

    def __init__(self, refused: Callable[[int, str | None], object] = lambda status, limit: None) -> None:
        """No connection yet; the look is repeated only while there are some.

        `refused`: called with the status of each refusal that a connection writes itself, and the limit that it comes from.
        """
        self.refused = refused
        self.connections: set[Bounded] = set()
        self.waiting: dict[Bounded, None] = {}
        self.is_leaving = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Bounded) -> None:
        """Watch a new connection."""
        self.connections.add(connection)
        self.waiting[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_later(LOOK_S, self._look, connection.loop)

    def remove(self, connection: Bounded) -> None:
        """Forget a connection that is lost, or speaks another protocol from now on."""
        self.connections.discard(connection)
        self.waiting.pop(connection, None)

    def leave(self) -> None:
        """From now on, end each connection with the answer to the request in progress, or else to the next one."""
        self.is_leaving = True
        for each in self.connections:
            if each.cycle is not None:
                each.cycle.keep_alive = False

    def make_room(self, newest: Bounded) -> bool:
        """Close the connection that has waited longest for a request; False if all have one in progress."""
        for each in self.waiting:
            if each is not newest:
                del self.waiting[each]
                each.transport.abort()
                return True
        return False

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for each in list(self.connections):
            each.look(now)
        self._timer = loop.call_later(LOOK_S, self._look, loop) if self.connections else None


class Bounded(HttpToolsProtocol):
    """A connection with limits. A class is derived for each server, with its `limits` and its `watch`."""

    limits: Limits
    watch: Watch

    _in_head = False
    _refusal: tuple[int, str, str | None] | None = None
    _lingers_since: float | None = None
    _outside = _fields = _head_bytes = _body_bytes = _seen_bytes = _unsent = _dropped = 0
    _heard = _waits_since = _head_since = _body_since = _sent_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._heard = self._waits_since = self._sent_at = self.loop.time()
        self.watch.add(self)
        if len(self.connections) > self.limits.connections and not self.watch.make_room(self):
            self._refuse(503, "all connections are in use; try again", "api.max_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.remove(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self.watch.remove(self)
        super().handle_websocket_upgrade()

    def eof_received(self) -> None:
        if self._lingers_since is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Replaces the parent's: the same, but with limits, and without a timer."""
        if self._lingers_since is not None:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.transport.abort()
            return
        self._heard = self.loop.time()
        self._outside += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(*(self._refusal or (400, f"the request is not valid HTTP/1.1: {error}", None)))
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        else:
            if self._outside > self.limits.headers_bytes + self.limits.url_bytes:
                self._refuse(*self._too_many_bytes())

    # Called by the parser. An exception ends its work on what has arrived.

    def on_message_begin(self) -> None:
        self.begin_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.url_bytes:
            self._stop(414, f"the URL is longer than {self.limits.url_bytes} bytes (setting api.max_url_bytes)", "api.max_url_bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self.limits.headers_bytes:
            self._stop(*self._too_many_bytes())
        if self._fields > self.limits.headers:
            self._stop(431, f"the request has more than {self.limits.headers} headers (setting api.max_headers)", "api.max_headers")
        if self._in_head:  # otherwise it is a trailer, which must not be taken for a header
            super().on_header(name, value.rstrip(b" \t"))  # the parser removes only what is before it

    def on_headers_complete(self) -> None:
        self.end_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._outside = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._outside = 0
        super().on_message_complete()

    def begin_head(self) -> None:
        """A request begins."""
        self._in_head, self._fields, self._head_bytes, self._head_since = True, 0, 0, self._heard

    def end_head(self) -> None:
        """Its headers are complete."""
        if refused := heads.refusal(self.parser.get_http_version(), self.headers):
            self._stop(*refused, None)  # still in its head: an earlier request without an answer must not get this one
        self._in_head, self._outside, self._body_since, self._seen_bytes = False, 0, self._heard, self._body_bytes
        self.watch.waiting.pop(self, None)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(400, f"more than {MAX_PIPELINED} requests wait for an earlier one on this connection", "pipelined_requests")

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.keep_alive = cycle.keep_alive and not self.watch.is_leaving
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Replaces the parent's: the same, but without a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._lingers_since is not None:
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            self._body_since, self._seen_bytes = self.loop.time(), self._body_bytes
        else:
            self._waits_since = self._head_since = self.loop.time()
            self.watch.waiting[self] = None

    def look(self, now: float) -> None:
        """End the connection, or its request, if it is late. Called once a second."""
        if self._lingers_since is not None:
            if now - self._lingers_since > LINGER_S:
                self.transport.abort()
        elif self._is_stuck(now):
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._is_answered():
            self._look_at_idle(now)
        elif not self._is_progressing(now):
            text = f"the body brought nothing for {self.limits.stall_s:g} s (setting api.stall_timeout_s)"
            self._refuse(408, text, "api.stall_timeout_s")

    def _look_at_idle(self, now: float) -> None:
        if self._in_head:
            if now - self._head_since > self.limits.head_s:
                text = f"the request's head did not arrive within {self.limits.head_s:g} s (setting api.head_timeout_s)"
                self._refuse(408, text, "api.head_timeout_s")
            return
        # A body that was not wanted may still be coming.
        unread = self.cycle is not None and self.cycle.more_body and now - self._heard <= self.limits.idle_s
        between = self.limits.idle_s if self.cycle is None else self.limits.keep_alive_s
        if now - self._waits_since > (max(self.limits.stall_s, between) if unread else between):
            self.transport.close()

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has taken nothing of what was sent to it for too long."""
        unsent, before = self.transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if unsent == 0 or unsent < before:
            self._sent_at = now
        return now - self._sent_at > self.limits.stall_s

    def _is_progressing(self, now: float) -> bool:
        """Whether the body of the request in progress arrives, or need not."""
        cycle: Any = self.cycle
        is_open = cycle.more_body and not self.pipeline and not self._in_head and not getattr(cycle, "response_started", False)
        if not is_open or self.flow.read_paused or self._body_bytes - self._seen_bytes >= STALL_BYTES:
            self._body_since, self._seen_bytes = now, self._body_bytes
        return now - self._body_since <= self.limits.stall_s

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _too_many_bytes(self) -> tuple[int, str, str]:
        text = f"the headers have more than {self.limits.headers_bytes} bytes (setting api.max_headers_bytes)"
        return 431, text, "api.max_headers_bytes"

    def _stop(self, status: int, text: str, limit: str | None) -> None:
        """Refuse the request from within the parser."""
        self._refusal = (status, text, limit)
        raise ValueError(text)

    def _refuse(self, status: int, text: str, limit: str | None) -> None:
        """Answer the request that breaks a limit, if no other answer is due before it, and end the connection."""
        self.watch.refused(status, limit)
        cycle: Any = self.cycle
        answered = self._is_answered()
        is_its_own = not answered and not self._in_head and not self.pipeline and not getattr(cycle, "response_started", False)
        if not answered:
            cycle.disconnected = True
            cycle.message_event.set()
        self.pipeline.clear()
        self.watch.waiting.setdefault(self)
        if self.transport.is_closing():
            return
        if not answered and not is_its_own:
            self.transport.abort()
            return
        self._lingers_since = self.loop.time()
        self.transport.write(_answer(status, text, self.server_state.default_headers))
        self.transport.write_eof()
        self.flow.resume_reading()


def _answer(status: int, text: str, defaults: list[tuple[bytes, bytes]]) -> bytes:
    body = codecs.encode({"detail": text})
    lines = [b"HTTP/1.1 %d %b" % (status, _PHRASES[status]), *(b"%b: %b" % header for header in defaults)]
    lines += [b"content-type: application/json", b"content-length: %d" % len(body), b"connection: close", b"", body]
    return b"\r\n".join(lines)
