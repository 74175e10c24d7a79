"""Passing a call on to the server of a session, streamed both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx

from dyff.api.calls import Call, Reply
from dyff.kernel import errors

CONNECT_TIMEOUT_S = 5.0

_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
_NOT_SENT = _HOP_BY_HOP | {b"host", b"authorization", b"cookie", b"dyff-position", b"idempotency-key", b"expect"}
"""The token above all: what runs behind a session is not ours and must never see it."""

_NOT_RETURNED = _HOP_BY_HOP | {b"content-type", b"set-cookie", b"server", b"date"}


class Proxy:
    """Reaches the servers of sessions while it is open."""

    def __init__(self) -> None:
        """Closed."""
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open it. It keeps no connections: a Service balances connections, not requests."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False, follow_redirects=False) as client:
            self._client = client
            try:
                yield
            finally:
                self._client = None

    async def forward(self, call: Call, base_url: str, path: str) -> Reply:
        """The answer of `<base_url>/<path>` to the call, whose body is passed on as it comes.

        Raises:
            NotReady: nobody listens there (any more, or yet), or the API is about to end.
            BadGateway: it broke off before it answered.
        """
        client = self._client
        if client is None:
            raise errors.NotReady("the server is starting or ending")
        url = _url(base_url, path, call.query_string)
        headers = [(name, value) for name, value in call.headers() if name not in _NOT_SENT]
        request = client.build_request(call.method, url, headers=headers, content=call.stream())
        if call.content_length() is not None:
            request.headers.pop("transfer-encoding", None)
        try:
            response = await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise errors.NotReady("the session's server does not accept connections; try again") from error
        except httpx.TransportError as error:
            raise errors.BadGateway(f"the session's server broke off before it answered ({type(error).__name__})") from error
        kept = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw)
        returned = tuple((name, value) for name, value in kept if name.encode() not in _NOT_RETURNED)
        media_type = response.headers.get("content-type", "application/octet-stream")
        return Reply(response.status_code, _pieces(response), returned, media_type)


def _url(base_url: str, path: str, query: str) -> httpx.URL:
    """A URL on the server of `base_url`, whatever `path` is."""
    try:
        return httpx.URL(base_url).copy_with(path="/" + path, query=query.encode("latin-1") or None)
    except httpx.InvalidURL as error:
        raise errors.FixRequest(f"the path of the inference endpoint cannot be one: {error}") from error


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it came, content encoding and all."""
    try:
        async for piece in response.aiter_raw():
            yield piece
    except httpx.TransportError as error:
        raise errors.BadGateway("the session's server broke off in the middle of its answer") from error
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()
