"""Forwards a call to the server of a session, streaming in both directions."""

from __future__ import annotations

import asyncio
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

from dyff.api import upstream
from dyff.api.calls import Call, Reply
from dyff.cluster import port as cluster
from dyff.kernel import errors, http11

SHORT_BYTES = 64 * 1024
"""Answers up to this size are passed on in one piece."""

_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
_NOT_SENT = _HOP_BY_HOP | {b"host", b"authorization", b"cookie", b"dyff-position", b"idempotency-key", b"expect"}
"""The token is the most important: what runs behind a session is not ours and must never see it."""

_IDENTITIES = (b"impersonate-", b"x-remote-")
"""Headers that a Kubernetes API server on the way to the session would accept from us and act on."""

_RETURNED = frozenset(
    b"accept-ranges age allow cache-control content-disposition content-encoding content-language content-length content-location "
    b"content-range etag expires last-modified link location retry-after vary x-request-id".split()
)
"""Headers of a service's answer that are passed on, next to its content type. What a service says is not trusted: any other header
could be taken for one of Dyff's own (`Dyff-Position`), or be obeyed by a server between us and the client (`X-Accel-Redirect`).
"""

_RETURNED_PREFIXES = (b"openai-", b"x-ratelimit-")
"""Beginnings of the names of further ones, which clients of inference APIs read."""

_IN_PATHS = "/!$&'()*+,;=:@~"
_IN_QUERIES = string.punctuation


class Proxy:
    """Reaches the servers of sessions while it is open. It does not pool connections: a Service balances connections, not requests."""

    def __init__(self) -> None:
        """The proxy is closed until `open` is entered."""
        self._is_open = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep the proxy open for the duration of the block."""
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    async def forward(self, call: Call, service: cluster.Upstream, path: str) -> Reply:
        """Forward the call to the service at `path` and return the answer. The body is streamed; it is cut if the service refuses it early.

        Raises:
            NotReady: no server listens there (yet, or any more), or the API is starting or shutting down.
            BadGateway: the server closed the connection before it answered.
            FixRequest: the client disconnected before there was an answer, or sent something that cannot be forwarded.
        """
        if not self._is_open:
            raise errors.NotReady("the server is starting or ending")
        if any(segment in (".", "..") for segment in path.split("/")):  # it would lead out of the session, with our credentials
            raise errors.FixRequest("the path has a segment that is . or ..: leave it out")
        place = urlsplit(service.url)
        target = (
            f"{place.path}/" + quote(path, safe=_IN_PATHS) + (f"?{quote(call.query_string, safe=_IN_QUERIES)}" if call.query_string else "")
        )
        named = _connection_headers(call.headers())
        dropped = _NOT_SENT | named
        headers = [(name, value) for name, value in call.headers() if name not in dropped and not name.startswith(_IDENTITIES)]
        headers += [(name.lower().encode(), value.encode()) for name, value in service.headers]
        chunked = call.content_length() is None
        start = upstream.start(call.method, target, place.netloc, headers, chunked=chunked)
        exchange = await upstream.connect(place.hostname or "", place.port, (service.tls or True) if place.scheme == "https" else None)
        try:
            await exchange.send(start, call.stream(), chunked=chunked)
            leaving = asyncio.ensure_future(_leave(call, exchange))
            try:
                await exchange.head()
                is_short = exchange.length is not None and exchange.length <= SHORT_BYTES
                body = await exchange.whole(SHORT_BYTES) if is_short else upstream.Body(exchange)
            finally:
                leaving.cancel()
        except BaseException:
            exchange.abort()
            raise
        return _reply(exchange, body)


async def _leave(call: Call, exchange: upstream.Exchange) -> None:
    """End the exchange when the client disconnects."""
    await call.gone()
    exchange.leave()


def _reply(exchange: upstream.Exchange, body: bytes | AsyncIterator[bytes]) -> Reply:
    dropped = _connection_headers(exchange.headers) | ({b"content-length"} if isinstance(body, bytes) else set())
    kept = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in exchange.headers
        if name not in dropped and (name in _RETURNED or name.startswith(_RETURNED_PREFIXES))
    )
    media_type = next((value.decode("latin-1") for name, value in exchange.headers if name == b"content-type"), "application/octet-stream")
    return Reply(exchange.status, body, kept, media_type)


def _connection_headers(headers: http11.Headers) -> set[bytes]:
    """The headers that are only meant for the next hop, as listed in the header Connection."""
    return {each.strip().lower() for name, value in headers if name == b"connection" for each in value.split(b",")}
