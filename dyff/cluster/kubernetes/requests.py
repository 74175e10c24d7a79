"""Requests to the API server: JSON in and out, with timeouts. The vendor's exceptions are translated to our errors here."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import anyio

from dyff.cluster import port
from dyff.cluster.kubernetes import answers, reporting
from dyff.cluster.kubernetes.connecting import Access
from dyff.cluster.kubernetes.servers_clock import ServersClock
from dyff.entities import codecs
from dyff.kernel import backoff, clock, degradation, errors

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
"""The content type of every patch. Custom resources do not support the vendor's default."""

PATIENCE_S = 20.0
"""How long to retry if the server asks for it, because it prepares the storage of a new type or is overloaded."""

_SETTLING_S = 3.0
"""How long to retry a 404 for a type: one that was just installed is not served immediately."""
_FIRST_PAUSE_S = 0.2
"""The pause before the first retry; each further one is twice as long, whatever the server asks for."""

Query = Mapping[str, str]


class Requests:
    """Sends requests. Use it in one event loop only."""

    def __init__(
        self, access: Access, timeout_s: float, troubles: degradation.Troubles | None = None, time: clock.Clock | None = None
    ) -> None:
        """`timeout_s`: of each request; for a stream, the time until the head of its response. `troubles`: where missing permissions and
        types are reported; None if they are only raised. `time`: None for the system clock.
        """
        self._access, self._timeout_s = access, timeout_s
        self._clock = time or clock.SystemClock()
        self._reporter = reporting.Reporter(troubles or degradation.Troubles(self._clock))
        self.servers_clock = ServersClock(self._clock)
        """The clock of the API server."""

    async def send(
        self, method: str, path: str, *, what: str, query: Query | None = None, body: Any = None, content_type: str = JSON
    ) -> dict[str, Any]:
        """Send a request and return the object in the response. `path` begins with `/api`. `what`: for people, as in `creating Job a`.

        Raises:
            Unavailable: the server does not answer; it is then unknown whether a write took effect.
            Other errors: see `answers.error`.
        """
        answer = await self._answered(method, path, what, query, None if body is None else json.dumps(body).encode(), content_type)
        try:
            return codecs.decode_object(answer)
        except ValueError as error:
            raise errors.Unavailable(f"{what}: the API server did not answer with an object: {error}") from error

    async def text(self, path: str, *, what: str, query: Query) -> bytes:
        """The body of the response, unchanged."""
        return await self._answered("GET", path, what, query, None, JSON)

    @asynccontextmanager
    async def stream(self, path: str, *, what: str, query: Query, silence_s: float) -> AsyncIterator[aiohttp.StreamReader]:
        """A response that is read as it arrives. It breaks off if nothing arrives for `silence_s` seconds."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=silence_s)
        with translated(what):
            # The head of the response arrives quickly, or something is wrong.
            async with asyncio.timeout(self._timeout_s):
                response = await self._request("GET", path, query, None, JSON, limits)
            async with response:
                if response.status != 200:
                    refusal = answers.Refusal(what, response.status, answers.status(await response.read()), _verb("GET", path, query))
                    raise self._refused(refusal, path, response.headers.get("Retry-After"))
                self._reporter.succeeded(_verb("GET", path, query), path)
                yield response.content

    async def _answered(self, method: str, path: str, what: str, query: Query | None, body: bytes | None, content_type: str) -> bytes:
        """The body of a successful response. Requests that had no effect are retried for a while."""
        limits, end = aiohttp.ClientTimeout(total=self._timeout_s), anyio.current_time() + PATIENCE_S
        settled, is_repeated = anyio.current_time() + _SETTLING_S, False
        verb, pauses = _verb(method, path, query), backoff.delays(_FIRST_PAUSE_S, ceiling_s=answers.MAX_WAIT_S, jitter=random.Random())
        while True:
            try:
                with translated(what):
                    async with await self._request(method, path, query, body, content_type, limits) as response:
                        answer, header = await response.read(), response.headers.get("Retry-After")
            except _Broken:
                if method == "GET" and not is_repeated:  # an idle connection that the server had closed
                    is_repeated = True
                    continue
                raise
            if response.status < 300:
                self._reporter.succeeded(verb, path)
                return answer
            refusal = answers.Refusal(what, response.status, answers.status(answer), verb)
            asked_s = answers.retry_after_s(refusal, header, self._clock.now())
            if asked_s is None and refusal.code == 404 and not refusal.is_of_an_object and anyio.current_time() < settled:
                asked_s = 0.0
            wait_s = backoff.pause_s(next(pauses), asked_s, answers.MAX_WAIT_S)
            if asked_s is None or anyio.current_time() + wait_s > end:
                raise self._refused(refusal, path, header)
            await anyio.sleep(wait_s)

    def _refused(self, refusal: answers.Refusal, path: str, header: str | None) -> errors.DyffError:
        """The error for a refusal, which says when a retry is worthwhile."""
        error = self._reporter.refused(refusal, path)
        asked_s = answers.retry_after_s(refusal, header, self._clock.now())
        if isinstance(error, errors.RetryLater) and asked_s is not None:
            error.retry_after_s = max(error.retry_after_s, asked_s)
        return error

    async def _request(
        self, method: str, path: str, query: Query | None, body: bytes | None, content_type: str, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The head of a response. If the credentials are rejected, they are read again once."""
        common = {"Accept": JSON, "Content-Type": content_type}
        for is_renewed in (False, True):
            url, options, known = self._access.url + path, self._access.options(), self._access.renewals
            headers, sent = common | await self._headers(), self._clock.now()
            # A redirect of a write would be followed with a GET.
            response = await self._access.session.request(
                method, url, params=query, data=body, headers=headers, timeout=limits, allow_redirects=False, **options
            )
            self.servers_clock.heard(response.headers.get("Date"), sent)
            if response.status != 401 or is_renewed:
                return response
            response.release()
            try:
                await self._access.renew(known)
            except errors.Unavailable as error:
                self._reporter.credentials(error.message)
                raise
        raise AssertionError("unreachable")

    async def _headers(self) -> dict[str, str]:
        try:
            return await self._access.headers()
        except errors.Unavailable as error:
            self._reporter.credentials(error.message)
            raise


def _verb(method: str, path: str, query: Query | None) -> str:
    return reporting.verb(method, path, dict(query or {}))


class _Broken(errors.Unavailable):
    """The connection ended before the response."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns the vendor's errors into ours; our own errors pass unchanged.

    Raises:
        Blocked: the settings do not trust the server's certificate.
        Unavailable: there is no response.
    """
    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise errors.Blocked(f"{what}: the API server's certificate is not trusted: {error}") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
        raise _Broken(f"{what}: the connection to the API server broke: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise errors.Unavailable(f"{what}: the API server does not answer: {str(error) or type(error).__name__}") from error


def slim(kind: port.Kind, obj: dict[str, Any]) -> port.Object:
    """An object without `managedFields`, which only the server needs, and with its kind, which lists omit."""
    (obj.get("metadata") or {}).pop("managedFields", None)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **obj}


def object_of(kind: port.Kind, what: str, found: dict[str, Any]) -> port.Object:
    """The object in an answer that says that all is well.

    Raises:
        Unavailable: it has none, so something else than the API server has answered; whether a write took effect is not known.
    """
    try:
        return whole(slim(kind, found))
    except (KeyError, TypeError, AttributeError) as error:
        raise errors.Unavailable(f"{what}: the API server did not answer with an object: {error!r}") from error


def whole(obj: port.Object, *, is_named: bool = True) -> port.Object:
    """The object, if it has what every object has.

    Raises:
        KeyError, TypeError: it does not.
    """
    metadata = obj["metadata"]
    for field in ("name", "resourceVersion") if is_named else ("resourceVersion",):
        if not isinstance(metadata[field], str):
            raise TypeError(f"metadata.{field} is no text")
    return obj
