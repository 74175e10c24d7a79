"""An HTTP client's transport that connects only to hosts which a step may fetch from, at every redirect."""

from __future__ import annotations

import anyio.to_thread
import httpx

from dyff.workflows import addresses

_LIMITS = httpx.Limits(max_connections=16)


class Transport(httpx.AsyncBaseTransport):
    """Resolves each request's host, checks all its addresses, and connects to one of those that were checked.

    Connections are kept by host and not by address, since the certificate of a connection was checked for one host.
    A proxy that the environment names makes the connection itself; then only what the name means here is checked.
    """

    def __init__(self) -> None:
        self._direct: dict[str, httpx.AsyncHTTPTransport] = {}
        self._proxied: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            Ending: its host is internal and not allowed.
            ConnectError: the host cannot be resolved or reached.
        """
        host, scheme = request.url.host, request.url.scheme
        port = request.url.port or (443 if scheme == "https" else 80)
        proxy = addresses.proxy_for(scheme, host)
        try:
            found = await anyio.to_thread.run_sync(addresses.resolve, host, port, abandon_on_cancel=True)
        except OSError as error:
            if proxy is None:
                raise httpx.ConnectError(f"{host} cannot be resolved: {error}", request=request) from error
        if proxy is not None:
            if proxy not in self._proxied:
                self._proxied[proxy] = httpx.AsyncHTTPTransport(limits=_LIMITS, proxy=proxy)
            return await self._proxied[proxy].handle_async_request(request)
        return await self._connect(request, host, found)

    async def _connect(self, request: httpx.Request, host: str, found: list[str]) -> httpx.Response:
        """Send it to the first of these addresses that accepts a connection."""
        if host not in self._direct:
            self._direct[host] = httpx.AsyncHTTPTransport(limits=_LIMITS)
        for number, address in enumerate(found, 1):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._direct[host].handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(found):
                    raise
        raise httpx.ConnectError(f"{host} has no address", request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        for each in (*self._direct.values(), *self._proxied.values()):
            await each.aclose()
