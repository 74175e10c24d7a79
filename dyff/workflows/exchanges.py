"""HTTP/1.1 requests to one service, lean: what one call costs is what bounds an evaluation's rate.

Measured with 64 in flight on a server that takes 20 ms: httpx 160 calls/s, this some 2,400, bare sockets some 2,600.

A connection carries one request at a time. Kept open it is used again, which is best for one replica; several replicas
behind one address are reached evenly only when each call opens its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from functools import partial
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import msgspec

JSON = "application/json"
MAX_ANSWER_BYTES = 2**28
_NO_LINGER = struct.pack("ii", 1, 0)
_HEAD = """\
{method} {path} HTTP/1.1\r
Host: {netloc}\r
Accept: application/json\r
Accept-Encoding: identity\r
User-Agent: dyff-evaluation-client\r
{more}"""


class Broken(Exception):
    """The exchange did not end with a whole answer; whether the service saw the request is not known."""


class Answer(msgspec.Struct, frozen=True):
    """What a service said. `retry_after`: that header as it is; None: absent."""

    status: int
    body: bytes
    retry_after: str | None = None


class Service:
    """Requests to the service at a base URL; an async context manager that closes what is open."""

    def __init__(self, url: str, *, keep_open: bool) -> None:
        """`url`: such as `http://host:port/base`. `keep_open` False: every request opens a connection of its own.

        Raises:
            ValueError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not a URL such as http://host:8000")
        self.url = url
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._netloc = parts.netloc.rpartition("@")[2]
        self._keep_open = keep_open
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def head(self, method: str, path: str, media_type: str = JSON) -> bytes:
        """The part of a request that is the same for all bodies, for `exchange`. `media_type`: of a POST's body.

        Raises:
            ValueError: the path cannot be sent as it is.
        """
        path = f"{self._prefix}/{path.lstrip('/')}"
        if not path.isascii() or any(char <= " " for char in path):
            raise ValueError(f"the path {path!r} must have no spaces and only ASCII characters: percent-encode the others")
        more = ("" if self._keep_open else "Connection: close\r\n") + (f"Content-Type: {media_type}\r\n" if method == "POST" else "")
        return _HEAD.format(method=method, path=path, netloc=self._netloc, more=more).encode()

    async def exchange(self, head: bytes, body: bytes, timeout_s: float | None) -> Answer:
        """Send one request and wait for its whole answer.

        Where a kept connection is found closed before a byte of the answer came, the request goes out once more on a
        new one, because services close idle connections as they please.

        Raises:
            Broken: no connection, or it was lost before the answer was whole.
            TimeoutError: `timeout_s` passed (None: no limit).
        """
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        kept = self._kept()
        if kept is not None:
            try:
                return await self._on(kept, request, deadline)
            except Broken:
                if kept.heard:
                    raise
        async with asyncio.timeout_at(deadline):
            new = await self._connect()
        return await self._on(new, request, deadline)

    async def _on(self, connection: _Connection, request: bytes, deadline: float | None) -> Answer:
        try:
            answer = await connection.exchange(request, deadline)
        except BaseException:
            connection.close()
            raise
        if self._keep_open and connection.usable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop, made = asyncio.get_running_loop(), partial(_Connection, once=not self._keep_open)
        try:
            _, connection = await loop.create_connection(made, self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise Broken(f"no connection to {self._host}:{self._port}: {error.strerror or error}") from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time. The `on_` methods are called by the parser.

    `usable`: the next exchange may begin. `heard`: bytes of the answer have come.
    """

    def __init__(self, *, once: bool) -> None:
        """`once`: for one exchange."""
        self.usable = self.heard = False
        self._once = once
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.usable = cast(asyncio.Transport, transport), True  # uvloop's class is none of asyncio's
        if self._once:  # closing leaves no port that waits for stragglers: many calls would use all ports up
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

    async def exchange(self, request: bytes, deadline: float | None) -> Answer:
        """`deadline`: by the event loop's clock. A timer of its own, because `asyncio.timeout` costs a tenth of a call."""
        self.heard = False
        if self._transport is None or not self.usable:
            raise Broken("the service closed the connection")
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._retry_after: str | None = None
        self._in_body, self._ends_with_connection = False, True
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if deadline is None else loop.call_at(deadline, self._expire)
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # bytes that nobody asked for: what follows could not be told apart
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the answer is not HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._waiter is None or self._waiter.done():
            return
        if error is None and self._in_body and self._ends_with_connection:
            self._succeed()
        else:
            self._fail(f"the connection was lost: {error or 'the service closed it'}")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"retry-after":
            self._retry_after = value.decode("latin-1")
        elif name in (b"content-length", b"transfer-encoding"):
            self._ends_with_connection = False

    def on_headers_complete(self) -> None:
        self._in_body = True

    def on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_ANSWER_BYTES:
            self._fail(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # it announces the real answer
            self._in_body, self._ends_with_connection = False, True
        else:
            self.usable = self.usable and bool(self._parser.should_keep_alive())
            self._succeed()

    def _succeed(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Answer(self._parser.get_status_code(), bytes(self._body), self._retry_after))

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())
        self.close()

    def _fail(self, reason: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Broken(reason))
        self.close()
