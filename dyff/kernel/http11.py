"""The client side of an HTTP/1.1 connection: the core that the API's proxy and the evaluation client share.

It holds the rules for responses: which ones are valid, how large a head may be, where a body ends, what may follow it, and how much
of it is buffered. A general-purpose client costs several times as much per call (benchmarks/client.py, benchmarks/proxy.py). What is
specific to one user (connection pools, TLS, deadlines, streamed request bodies) is in that user. This module raises no Dyff errors:
each user maps `Lost` to its own.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools

Headers = list[tuple[bytes, bytes]]

HEAD_BYTES = 64 * 1024
"""The most bytes that the names and values of a response's headers may have, including interim responses and trailers."""

HELD_BYTES = 256 * 1024
"""If more than this much of a body is buffered, reading is paused, so that the server has to wait."""

_NO_BODY_BYTES = 2 * HEAD_BYTES
"""The most bytes in a row that belong to no body: the head with reason phrases and line ends, or trailers."""


class Lost(Exception):
    """No complete response will come. The message says why; it does not say whether the server saw the request."""


class Connection(asyncio.Protocol):
    """A connection that carries one exchange after another: `start`, then `head` and `piece`, or `whole`.

    Not for HEAD and CONNECT, whose responses end differently. Only one task at a time may wait for a response.

    `status` and `headers` (names in lower case): those of the final response, once `head` or `whole` has returned. `length`: the
    size in bytes that the response declares; None if it declares none. `heard`: whether any bytes of a response have arrived since
    `start`. `usable`: whether the next exchange may begin.
    """

    def __init__(self, *, closes: bool) -> None:
        """`closes`: close the connection as soon as a response is complete, so that it serves one exchange only."""
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.heard = self.usable = False
        self._closes = closes
        self._receiving = self._has_head = self._delimited = self._paused = False
        self._failure: Exception | None = None
        self._whole_bytes: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._blocked = False
        self._sender: asyncio.Future[None] | None = None

    # What the user calls.

    def start(self, request: bytes) -> None:
        """Begin an exchange: send a request, or the beginning of one on a connection that `closes`.

        If the connection is not `usable`, nothing is sent and waiting for the response raises `Lost`.
        """
        usable, self.usable = self.usable, False
        self.status, self.headers, self.length, self.heard = 0, [], None, False
        self._parser: Any = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._head_bytes = self._no_body_bytes = self._held = 0
        self._has_head = self._delimited = False
        self._failure = self._whole_bytes = None
        self._receiving = True
        self._resume()
        if usable:
            self._transport.write(request)
        else:
            self.end(Lost("the server closed the connection, or sent what it was not asked for"))

    def send(self, data: bytes) -> None:
        """Send more of the request, if the connection is still open."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def wanted(self) -> bool:
        """Wait until more of the request can be sent. False if the server does not want it: it has refused, answered or gone away."""
        while self._blocked:
            self._sender = asyncio.get_running_loop().create_future()
            await self._sender
        return self._receiving and self.status < 400 and not self._transport.is_closing()

    async def head(self) -> None:
        """Wait for `status` and `headers`.

        Raises:
            Lost: no response comes. Or the error that was passed to `end`.
        """
        while not self._has_head:
            await self._change()

    async def piece(self) -> bytes:
        """The part of the body that has arrived, after `head`; waits until there is some. Empty once the body has ended.

        Raises:
            Lost: the response is incomplete and no more of it will come. Or the error that was passed to `end`.
        """
        while not self._pieces and (self._receiving or self._failure is not None):
            await self._change()
        piece = self._taken()
        self._resume()
        return piece

    async def whole(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            Lost: no complete response comes, or its body has more than `limit_bytes`. Or the error that was passed to `end`.
        """
        self._whole_bytes = limit_bytes
        self._resume()
        if self._held > limit_bytes:
            self._too_large()
        while self._receiving or self._failure is not None:
            await self._change()
        return self._taken()

    def end(self, error: Exception) -> None:
        """Abort the connection. If the response is incomplete, the task that waits for it, now or later, gets `error`."""
        self.usable = False
        if self._receiving:
            self._receiving, self._failure = False, error
            self._wake()
        self._transport.abort()

    def abort(self) -> None:
        """Abort the connection when no task waits for a response any more."""
        self.end(Lost("the connection was aborted"))

    # Called by the user.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.usable = cast(asyncio.Transport, transport), True  # uvloop's class does not derive from asyncio's

    def data_received(self, data: bytes) -> None:
        if not self._receiving:  # unsolicited, so it could only be taken for the response to the next request
            self.abort()
            return
        self.heard = True
        self._no_body_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.end(Lost(f"the answer is not HTTP: {error}"))
        except httptools.HttpParserUpgrade:
            self._changed_protocol()
        if self._no_body_bytes > _NO_BODY_BYTES:
            self.end(Lost(f"the answer's headers have more than {_NO_BODY_BYTES} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self.resume_writing()
        if self._receiving and self._has_head and not self._delimited and error is None:
            self._receiving = False  # a response that ends with its connection
            self._wake()
        elif self._receiving:
            self.end(Lost(f"the connection was lost: {error or 'the server closed it'}"))

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        _set(self._sender)

    # Called by the parser, which continues to the end of a packet regardless of what was found in it.

    def on_message_begin(self) -> None:
        if not self._receiving:  # the beginning of something after the response
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES:
            self.end(Lost(f"the answer's headers have more than {HEAD_BYTES} bytes"))
        elif not self._has_head:  # otherwise it is a trailer, or belongs to another response
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if not self._receiving:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = []  # an interim response
            if status == 101:
                self._changed_protocol()
            return
        if not 200 <= status < 600:
            self.end(Lost(f"the answer has the status {status:03}, which HTTP does not have"))
            return
        if not self._read_framing():
            self.end(Lost("the answer has a transfer coding other than chunked, which was not asked for"))
            return
        self.status, self._has_head = status, True
        if status >= 400:
            self.resume_writing()  # the rest of the request is not wanted
        if self._whole_bytes is None:
            self._wake()

    def on_body(self, data: bytes) -> None:
        if not self._receiving:
            return
        self._pieces.append(data)
        self._held += len(data)
        self._no_body_bytes = 0
        if self._whole_bytes is None:
            if self._held > HELD_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            self._wake()
        elif self._held > self._whole_bytes:
            self._too_large()

    def on_message_complete(self) -> None:
        if not self._receiving or not self._has_head:
            return
        self._receiving = False
        if self._closes:
            self._leave()
        else:
            self.usable = bool(self._parser.should_keep_alive())
        self._wake()

    # Private.

    def _read_framing(self) -> bool:
        """Find out where the body will end. False if it could not be decoded."""
        for name, value in self.headers:
            if name == b"content-length":  # the parser has checked it
                self.length, self._delimited = int(value), True
            elif name == b"transfer-encoding":
                self._delimited = True
                if value.strip().lower() != b"chunked":
                    return False
        return True

    def _leave(self) -> None:
        """Close the connection. Data that is still unsent is not wanted, and might never be accepted."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _changed_protocol(self) -> None:
        self.end(Lost("the server changed the protocol, which was not asked for"))

    def _too_large(self) -> None:
        self.end(Lost(f"the answer is larger than {self._whole_bytes} bytes"))

    def _taken(self) -> bytes:
        """Take everything that is buffered; the caller owns it from now on."""
        pieces, self._pieces, self._held = self._pieces, [], 0
        return b"".join(pieces)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _change(self) -> asyncio.Future[None]:
        """A future to wait on until `_wake` is called."""
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def _wake(self) -> None:
        _set(self._waiter)


def _set(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
