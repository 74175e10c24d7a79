"""HTTP/1.1 requests to one service, with little overhead, because the cost of a call limits the rate of an evaluation.

Measured with 64 calls in flight to a server that takes 20 ms: httpx makes 160 calls/s, this about 2,400, bare sockets about
2,600. The rules for answers are in `dyff.kernel.http11`.

A connection carries one request at a time. With one replica it is best to keep connections open and reuse them. Several replicas
behind one address get an even load only if each call opens a connection of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec

from dyff.kernel import http11

JSON = "application/json"
MAX_ANSWER_BYTES = 2**28
_LARGE_BYTES = 2**18
"""A larger body is sent on its own, because joining it with the head would copy it."""

_NO_LINGER = struct.pack("ii", 1, 0)
_NEW = partial(http11.Connection, closes=False)
_HEAD = """\
{method} {path} HTTP/1.1\r
Host: {netloc}\r
Accept: application/json\r
Accept-Encoding: identity\r
User-Agent: dyff-evaluation-client\r
{more}"""


class Broken(Exception):
    """The exchange did not end with a complete answer. It is not known whether the service saw the request."""

    def __init__(self, message: str, *, heard: bool = False) -> None:
        """`heard`: whether a part of an answer arrived, which then was incomplete or not HTTP."""
        super().__init__(message)
        self.heard = heard


class Answer(msgspec.Struct, frozen=True):
    """The answer of a service. `headers`: with names in lower case."""

    status: int
    body: bytes
    headers: http11.Headers = []

    def header(self, name: bytes) -> str | None:
        """Return the value of the last header with this name (in lower case); None if there is none."""
        found = None
        for each, value in self.headers:
            if each == name:
                found = value
        return None if found is None else found.decode("latin-1")

    @property
    def encoding(self) -> str | None:
        """The content codings, in their order: several headers are one list. None if there are none."""
        found = [value.decode("latin-1") for name, value in self.headers if name == b"content-encoding"]
        return ", ".join(found) if found else None


class Service:
    """Sends requests to the service at a base URL. An async context manager that closes open connections."""

    def __init__(self, url: str, *, keep_open: bool) -> None:
        """`url`: such as `http://host:port/base`. `keep_open` False: every request opens a connection of its own.

        Raises:
            ValueError: it is not a valid URL.
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
        self._idle: list[http11.Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def head(self, method: str, path: str, media_type: str = JSON) -> bytes:
        """Return the part of a request that is the same for all bodies, for `exchange`. `media_type`: that of a POST's body.

        Raises:
            ValueError: the path has spaces or characters outside ASCII.
        """
        path = f"{self._prefix}/{path.lstrip('/')}"
        if not path.isascii() or any(char <= " " for char in path):
            raise ValueError(f"the path {path!r} must have no spaces and only ASCII characters: percent-encode the others")
        more = ("" if self._keep_open else "Connection: close\r\n") + (f"Content-Type: {media_type}\r\n" if method == "POST" else "")
        return _HEAD.format(method=method, path=path, netloc=self._netloc, more=more).encode()

    async def exchange(self, head: bytes, body: bytes, timeout_s: float | None) -> Answer:
        """Send one request and wait for the complete answer.

        If a reused connection turns out to be closed before any byte of the answer has arrived, the request is sent once more
        on a new one, because services close idle connections at any time.

        Raises:
            Broken: the connection could not be opened, or was lost before the answer was complete, or the answer is not HTTP, or is a
                stream of events that did not end within `timeout_s`.
            TimeoutError: `timeout_s` has passed (None for no limit).
        """
        request = [b"%bContent-Length: %d\r\n\r\n" % (head, len(body)), body]
        if len(body) < _LARGE_BYTES:
            request = [b"".join(request)]
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

    async def _on(self, connection: http11.Connection, request: list[bytes], deadline: float | None) -> Answer:
        connection.start(request[0])
        for more in request[1:]:
            connection.send(more)
        # A timer of its own, because `asyncio.timeout` costs a tenth of a call.
        timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, connection.end, TimeoutError())
        try:
            body = await connection.whole(MAX_ANSWER_BYTES)
        except http11.Lost as lost:
            raise Broken(str(lost), heard=connection.heard) from lost
        except TimeoutError:
            if any(name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in connection.headers):
                raise Broken("the answer is a stream of events, which did not end in time", heard=True) from None
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if self._keep_open and connection.usable:
                self._idle.append(connection)
            else:
                connection.abort()
        return Answer(connection.status, body, connection.headers)

    def _kept(self) -> http11.Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> http11.Connection:
        try:
            transport, connection = await asyncio.get_running_loop().create_connection(_NEW, self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise Broken(f"no connection to {self._host}:{self._port}: {error.strerror or error}") from error
        if not self._keep_open:  # leave no port in TIME_WAIT: many calls would use up all ports
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        return connection
