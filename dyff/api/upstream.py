"""One HTTP exchange with the server of a session, on a connection of its own, streamed in both directions.

It has no time limit. A caller that stops early must abort it. The rules for answers are in `dyff.kernel.http11`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from functools import partial

from dyff.kernel import errors, http11

CONNECT_TIMEOUT_S = 5.0


class Exchange:
    """A request and its answer. `status`, `headers` (names in lower case) and `length` are set once `head` has returned."""

    def __init__(self, connection: http11.Connection) -> None:
        """Use `connect` to make one."""
        self._connection = connection

    @property
    def status(self) -> int:
        """The status code of the answer."""
        return self._connection.status

    @property
    def headers(self) -> http11.Headers:
        """The headers of the answer."""
        return self._connection.headers

    @property
    def length(self) -> int | None:
        """The size of the answer's body in bytes; None if the server does not announce it."""
        return self._connection.length

    async def send(self, start: bytes, pieces: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Send a request; stops early if the server answers before its end."""
        connection = self._connection
        connection.start(start)
        async for piece in pieces:
            if not await connection.wanted():
                return
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.send(b"0\r\n\r\n")

    async def head(self) -> None:
        """Wait for the head of the answer.

        Raises:
            BadGateway: no valid answer arrives.
            FixRequest: the client has disconnected.
        """
        try:
            await self._connection.head()
        except http11.Lost as lost:
            raise _broken("before it answered", lost) from lost

    async def whole(self, limit_bytes: int) -> bytes:
        """Wait for the whole body.

        Raises:
            BadGateway: no complete body arrives, or it has more than `limit_bytes`.
            FixRequest: the client has disconnected.
        """
        try:
            return await self._connection.whole(limit_bytes)
        except http11.Lost as lost:
            raise _broken("in the middle of its answer", lost) from lost

    async def piece(self) -> bytes:
        """Return the next chunk of the body; empty at its end.

        Raises:
            BadGateway: the rest of the body does not arrive.
        """
        try:
            return await self._connection.piece()
        except http11.Lost as lost:
            raise _broken("in the middle of its answer", lost) from lost

    def leave(self) -> None:
        """End the wait for the answer, because the client has disconnected."""
        self._connection.end(errors.FixRequest("the client went away before there was an answer"))

    def abort(self) -> None:
        """End the exchange now, if it has not ended."""
        self._connection.abort()


class Body:
    """The body of an answer as it arrives. Close it even if it was not read."""

    def __init__(self, exchange: Exchange) -> None:
        """`exchange`: one whose head has arrived."""
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


async def connect(host: str, port: int | None, tls: ssl.SSLContext | bool | None) -> Exchange:
    """Open a connection for one exchange. `port`: None for the default of the scheme. `tls`: None for no TLS, True for the default trust.

    Raises:
        NotReady: no server accepts the connection.
    """
    make = partial(http11.Connection, closes=True)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await asyncio.get_running_loop().create_connection(make, host, port or (443 if tls else 80), ssl=tls)
    except (OSError, TimeoutError) as error:
        raise errors.NotReady("the session's server does not accept connections; try again") from error
    return Exchange(connection)


def start(method: str, target: str, host: str, headers: Iterable[tuple[bytes, bytes]], *, chunked: bool) -> bytes:
    """Encode the head of a request.

    Raises:
        FixRequest: a header cannot be forwarded.
    """
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n".encode("ascii")]
    for name, value in headers:
        if b"\r" in value or b"\n" in value:
            raise errors.FixRequest("a header has a line feed in it")
        lines.append(b"%b: %b\r\n" % (name, value))
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"".join([*lines, b"\r\n"])


def _broken(when: str, lost: http11.Lost) -> errors.BadGateway:
    return errors.BadGateway(f"the session's server did not keep up the connection {when}: {lost}")
