"""One HTTP exchange with a server of a session, on a connection of its own, streamed both ways.

A general client costs more than all that the API does for an inference besides (benchmarks/proxy.py); what an exchange needs
beyond the parser is here. It lasts as long as the server likes; whoever leaves it early aborts it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httptools

from dyff.kernel import errors

Headers = list[tuple[bytes, bytes]]
BUFFER_BYTES = 256 * 1024
"""Of an answer that is not taken; then the server waits."""

HEAD_BYTES = 64 * 1024


class Exchange(asyncio.Protocol):
    """A request and its answer. `status` and `headers` (names in lower case) are there once `head` has returned."""

    def __init__(self) -> None:
        """Before the connection."""
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._head_bytes = self._unparsed = 0
        self._has_head = self._complete = self._delimited = False
        self._failure: str | None = None
        self._left = False
        self._changed: asyncio.Future[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._paused = False

    # What the connection tells.

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"it does not speak HTTP ({type(error).__name__})")
        if not self._has_head:
            self._unparsed += len(data)
            if self._unparsed > 2 * HEAD_BYTES:
                self._fail("its headers do not end")

    def connection_lost(self, error: Exception | None) -> None:
        if self._has_head and not self._delimited and error is None:
            self._complete = True  # an answer that ends with its connection
        if not self._complete:
            self._fail("it broke off")
        self._may_write.set()
        self._wake()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # What the parser tells.

    # What comes after the answer, though in the same packet, is none of it.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES:
            self._fail(f"its headers have more than {HEAD_BYTES} bytes")
        elif not self._has_head:  # else it is a trailer, or another answer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._has_head or self._failure is not None:
            return
        if status < 200:
            self.headers.clear()  # an interim answer
            if status == 101:
                self._fail("it changed the protocol, which nobody asked for")
            return
        named = dict(self.headers)
        length = named.get(b"content-length", b"")
        self.status, self._has_head = status, True
        if status >= 400:
            self._may_write.set()  # whoever waits to send the rest need not
        self.length = int(length) if length.isdigit() else None
        self._delimited = self.length is not None or b"chunked" in named.get(b"transfer-encoding", b"").lower()
        self._wake()

    def on_body(self, data: bytes) -> None:
        if self._complete:
            return
        self._pieces.append(bytes(data))
        self._held += len(data)
        if self._held > BUFFER_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True
            self._transport.close()
            self._wake()

    # What the caller does.

    async def send(self, start: bytes, pieces: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Send a request; ends early when it is refused before its end."""
        self._transport.write(start)
        async for piece in pieces:
            await self._may_write.wait()
            if self.status >= 400 or self._transport.is_closing():
                return
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")

    async def head(self) -> None:
        """Wait for the head of the answer.

        Raises:
            BadGateway: none comes.
        """
        while not self._has_head:
            self._check()
            await self._change()

    async def whole(self) -> bytes:
        """Wait for the whole body, which is short.

        Raises:
            BadGateway: it breaks off.
        """
        while not self._complete:
            self._check()
            await self._change()
        return b"".join(self._pieces)

    async def piece(self) -> bytes:
        """The next of the body; empty: there is no more.

        Raises:
            BadGateway: it breaks off.
        """
        while not self._pieces and not self._complete:
            self._check()
            await self._change()
        piece = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def leave(self) -> None:
        """The one for whom all this is has gone: whoever waits here is told."""
        self._left = True
        self._fail("nobody waits for it")

    def abort(self) -> None:
        """End it now, if it has not ended."""
        self._transport.abort()

    def _check(self) -> None:
        if self._left:
            raise errors.FixRequest("the client went away before there was an answer")
        if self._failure is not None:
            when = "in the middle of its answer" if self._has_head else "before it answered"
            raise errors.BadGateway(f"the session's server did not keep up the connection {when}: {self._failure}")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._transport.abort()
        self._wake()

    async def _change(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Body:
    """The body of an answer as it comes. Close it, even unread."""

    def __init__(self, exchange: Exchange) -> None:
        """After its head."""
        self._exchange = exchange

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._exchange.piece()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Abort the exchange, if it has not ended."""
        self._exchange.abort()


def start(method: str, target: str, host: str, headers: Iterable[tuple[bytes, bytes]], *, chunked: bool) -> bytes:
    """The head of a request.

    Raises:
        FixRequest: a header cannot be passed on.
    """
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n".encode("ascii")]
    for name, value in headers:
        if b"\r" in value or b"\n" in value:
            raise errors.FixRequest("a header has a line feed in it")
        lines.append(b"%b: %b\r\n" % (name, value))
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"".join([*lines, b"\r\n"])
