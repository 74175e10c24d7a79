"""A small HTTP/1.1 server for services that answer at once. It starts in a fraction of the time that a web framework needs.

One thread serves all connections; an answer is computed while the others wait. Requests of a connection are answered in their order.
It imports little on purpose: what the mock service imports is most of what a session on it costs.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable

import httptools

MAX_BODY_BYTES = 64 * 2**20
"""The largest body of a request."""
MAX_HEAD_BYTES = 64 * 1024
"""The most bytes of a request's URL and headers."""
MAX_CONNECTIONS = 1024
"""The most connections at a time. Others wait until one is closed."""
IDLE_S = 60.0
"""How long a connection may be silent."""
_HELD_BYTES = 256 * 1024
"""If more than this is waiting to be sent to a client, nothing more is read from it."""
_READ_BYTES = 64 * 1024
_BACKLOG = 2048
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    503: "Service Unavailable",
}

Reply = tuple[int, bytes]
"""The status and the body, which is JSON."""


def serve(host: str, port: int, reply: Callable[[str, str, bytes], Reply]) -> int:
    """Serve until SIGTERM, which ends the process at once with code 0. Returns 1 if the address cannot be used.

    `reply`: called with a request's method, its path without the query and decoded, and its body.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {host}:{port}: {error.strerror or error}\n")
        return 1
    sys.stdout.write(f"listening on {host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    _Server(listener, reply).run()
    return 0


class _Server:
    def __init__(self, listener: socket.socket, reply: Callable[[str, str, bytes], Reply]) -> None:
        self._listener, self._reply = listener, reply
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        listener.setblocking(False)
        self._accepting = False

    def run(self) -> None:
        swept = time.monotonic()
        while True:
            self._accept_while_there_is_room()
            for key, events in self._selector.select(IDLE_S if self._connections else None):
                if key.data is None:
                    self._accept()
                else:
                    self._handle(key.data, events)
            now = time.monotonic()
            if now - swept >= IDLE_S / 2:
                swept = now
                for each in [each for each in self._connections if now - each.active > IDLE_S]:
                    self._close(each)

    def _accept_while_there_is_room(self) -> None:
        room = len(self._connections) < MAX_CONNECTIONS
        if room and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._accepting and not room:
            self._selector.unregister(self._listener)
        self._accepting = room

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # it went away meanwhile, or there are no descriptors left
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(accepted, self._reply)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _handle(self, connection: _Connection, events: int) -> None:
        try:
            wanted = connection.proceed(events)
        except OSError:
            wanted = 0
        if wanted:
            self._selector.modify(connection.socket, wanted, connection)
        else:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


class _Connection:
    """One client. The methods `on_...` are called by the parser. `active`: when it last sent or took something."""

    def __init__(self, accepted: socket.socket, reply: Callable[[str, str, bytes], Reply]) -> None:
        self.socket, self._reply = accepted, reply
        self.active = time.monotonic()
        self._parser = httptools.HttpRequestParser(self)
        self._out = bytearray()
        self._closing = False
        self.on_message_begin()

    def proceed(self, events: int) -> int:
        """Read and write what is possible. Returns the events to wait for; 0 if the connection has ended.

        Raises:
            OSError: the client is gone.
        """
        self.active = time.monotonic()
        if events & selectors.EVENT_READ and not self._read():
            return 0
        self._write()
        if self._closing and not self._out:
            return 0
        reading = selectors.EVENT_READ if len(self._out) < _HELD_BYTES and not self._closing else 0
        return reading | (selectors.EVENT_WRITE if self._out else 0)

    def _read(self) -> bool:
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._closing = True  # the request was answered as an ordinary one; what follows it is of unknown form
        except httptools.HttpParserError:
            if not self._closing:
                self._answer(400, b"Invalid HTTP request received.", b"text/plain; charset=utf-8")
                self._closing = True
        return bool(data)

    def _write(self) -> None:
        try:
            while self._out and (sent := self.socket.send(self._out)):
                del self._out[:sent]
        except BlockingIOError:
            return

    def on_message_begin(self) -> None:
        self._url, self._body, self._head_bytes, self._expects = b"", bytearray(), 0, False

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        self._expects = self._expects or (name.lower() == b"expect" and value.lower() == b"100-continue")

    def on_headers_complete(self) -> None:
        if self._expects and not self._closing:
            self._out += b"HTTP/1.1 100 Continue\r\n\r\n"

    def on_body(self, data: bytes) -> None:
        if self._closing:
            return
        self._body += data
        if len(self._body) > MAX_BODY_BYTES:
            self._refuse(b'{"error": {"message": "the body is larger than %d bytes"}}' % MAX_BODY_BYTES)

    def on_message_complete(self) -> None:
        if self._closing:
            return
        if not self._parser.should_keep_alive():
            self._closing = True
        method = self._parser.get_method().decode()
        status, body = self._reply(method, _path(self._url), bytes(self._body))
        self._answer(status, body)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES and not self._closing:
            self._refuse(b'{"error": {"message": "the head is larger than %d bytes"}}' % MAX_HEAD_BYTES)

    def _refuse(self, body: bytes) -> None:
        self._closing = True
        self._answer(413, body)

    def _answer(self, status: int, body: bytes, media_type: bytes = b"application/json") -> None:
        connection = b"connection: close\r\n" if self._closing else b""
        head = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n"
        self._out += head % (status, _PHRASES.get(status, "").encode(), media_type, len(body), connection)
        if self._parser.get_method() != b"HEAD":
            self._out += body


def _path(url: bytes) -> str:
    """The decoded path of a request's URL; empty if it has none."""
    try:
        path = httptools.parse_url(url).path or b""
    except httptools.HttpParserInvalidURLError:
        return ""
    if b"%" not in path:
        return path.decode("latin-1")
    from urllib.parse import unquote_to_bytes  # only now, since it costs as much as everything else here

    return unquote_to_bytes(path).decode(errors="replace")
