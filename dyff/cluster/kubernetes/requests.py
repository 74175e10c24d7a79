"""Requests of the API server: JSON in and out, with a time limit each, and errors as ours. The vendor's exceptions stop here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import anyio
import msgspec

from dyff.cluster import port
from dyff.cluster.kubernetes import answers
from dyff.cluster.kubernetes.connecting import Access
from dyff.kernel import errors

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
"""Said with every patch: what the vendor takes for granted, a custom resource does not understand."""

PATIENCE_S = 20.0
"""How long a server is waited for that says `later`: while it makes storage for a new type, or has too much to do."""

_SETTLING_S = 3.0
"""A type that was installed a moment ago is not served yet."""

Query = Mapping[str, str]


class Requests:
    """Sends requests. Used in one event loop."""

    def __init__(self, access: Access, timeout_s: float) -> None:
        """`timeout_s`: of each, but of streams: of their beginning."""
        self._access, self._timeout_s = access, timeout_s

    async def send(
        self, method: str, path: str, *, what: str, query: Query | None = None, body: Any = None, content_type: str = JSON
    ) -> dict[str, Any]:
        """The object that is answered. `path` begins with `/api`. `what`: for people, such as `creating Job a`.

        Raises:
            Unavailable: the server does not answer; of a write it is then not known whether it took effect.
            Other errors: see `answers.error`.
        """
        answer = await self._answered(method, path, what, query, None if body is None else json.dumps(body).encode(), content_type)
        try:
            found: dict[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise errors.Unavailable(f"{what}: the API server did not answer with an object: {error}") from error
        return found

    async def text(self, path: str, *, what: str, query: Query) -> bytes:
        """What is answered, as it is."""
        return await self._answered("GET", path, what, query, None, JSON)

    @asynccontextmanager
    async def stream(self, path: str, *, what: str, query: Query, silence_s: float) -> AsyncIterator[aiohttp.StreamReader]:
        """An answer that is read as it comes. It breaks off if nothing comes for `silence_s` seconds."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=silence_s)
        with translated(what):
            # The answer's head comes at once, or something is wrong.
            async with asyncio.timeout(self._timeout_s):
                response = await self._request("GET", path, query, None, JSON, limits)
            async with response:
                if response.status != 200:
                    raise answers.error(answers.Refusal(what, response.status, answers.status(await response.read())))
                yield response.content

    async def _answered(self, method: str, path: str, what: str, query: Query | None, body: bytes | None, content_type: str) -> bytes:
        """The body of a success. What the server has not done, it is asked again for a while."""
        limits, end = aiohttp.ClientTimeout(total=self._timeout_s), anyio.current_time() + PATIENCE_S
        settled, is_repeated = anyio.current_time() + _SETTLING_S, False
        while True:
            try:
                with translated(what):
                    async with await self._request(method, path, query, body, content_type, limits) as response:
                        answer, header = await response.read(), response.headers.get("Retry-After")
            except _Broken:
                if method == "GET" and not is_repeated:  # an idle connection that the server had given up
                    is_repeated = True
                    continue
                raise
            if response.status < 300:
                return answer
            refusal = answers.Refusal(what, response.status, answers.status(answer))
            wait_s = answers.retry_after_s(refusal, header)
            if wait_s is None and refusal.code == 404 and not refusal.is_of_an_object and anyio.current_time() < settled:
                wait_s = 0.2
            if wait_s is None or anyio.current_time() + wait_s > end:
                raise answers.error(refusal)
            await anyio.sleep(wait_s)

    async def _request(
        self, method: str, path: str, query: Query | None, body: bytes | None, content_type: str, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The head of an answer. Where we are not believed, it is looked again who we are, once."""
        url, options = self._access.url + path, self._access.options()
        common = {"Accept": JSON, "Content-Type": content_type}
        for is_renewed in (False, True):
            headers = common | await self._access.headers()
            response = await self._access.session.request(method, url, params=query, data=body, headers=headers, timeout=limits, **options)
            if response.status != 401 or is_renewed:
                return response
            response.release()
            await self._access.renew()
        raise AssertionError("unreachable")


class _Broken(errors.Unavailable):
    """The connection ended before there was an answer."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns the vendor's errors into ours; those that are ours already pass.

    Raises:
        Misconfigured: the server is not the one that the settings trust.
        Unavailable: there is no answer.
    """
    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise errors.Misconfigured(f"{what}: the API server's certificate is not trusted: {error}") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
        raise _Broken(f"{what}: the connection to the API server broke: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise errors.Unavailable(f"{what}: the API server does not answer: {str(error) or type(error).__name__}") from error


def slim(kind: port.Kind, obj: dict[str, Any]) -> port.Object:
    """An object without what only the server needs, and with its kind, which lists leave out."""
    obj.get("metadata", {}).pop("managedFields", None)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
