"""HTTP requests to a Dyff server, with safe retries, positions with which reads see the program's own writes, and clear errors."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx

from dyff.entities import showing
from dyff.kernel import backoff, positions
from dyff.sdk import errors, secrecy, tracing
from dyff.sdk.io import IO

RETRIES = 5
FIRST_DELAY_S = 0.25
MAX_DELAY_S = 8.0
MAX_PAUSE_S = 30.0
"""The longest pause that a server can ask for."""
RETRIED = frozenset({408, 429, 502, 503, 504})
MAX_FOREIGN_BYTES = 2**28
"""Limit of the answer of a service behind Dyff, as for an evaluation."""

_BASE = "v0"
_RAW = "dyff-raw-body"
_NOTHING_DONE = frozenset({429, 503})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Foreign(NamedTuple):
    """The answer of a service: the body as it was sent, and the headers Content-Encoding and Content-Type; None if absent."""

    body: bytes
    encoding: str | None
    media_type: str | None


def path(*segments: str) -> str:
    """Join segments to a path below the endpoint. They may contain any characters."""
    return "".join("/" + _quoted(each) for each in segments)


def _quoted(segment: str) -> str:
    """Quote a segment. The dots of `.` and `..` are quoted, too, because proxies on the way would treat them as directories."""
    quoted = quote(segment, safe="=@:,+")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def endpoint_of(text: str) -> str:
    """The endpoint that an address means: the address of a server alone gets the `/v0` that every path begins with.

    Raises:
        ValueError: it is no URL of an API; the message says what to use.
    """
    plain = text.strip().rstrip("/")
    try:
        parts = urlsplit(plain)
        host, _ = parts.hostname, parts.port  # a port that is none is an error here
    except ValueError as error:
        raise ValueError(f"the endpoint {text!r} is no URL: {error}; use one such as http://127.0.0.1:8000/{_BASE}") from error
    if parts.scheme not in ("http", "https") or not host:
        guess = "" if ":/" in f"{plain}/" or not plain else f"http://{plain}" if _BASE in plain.split("/") else f"http://{plain}/{_BASE}"
        raise ValueError(
            f"the endpoint {text!r} is no URL that begins with http:// or https://; use {guess or 'http://HOST:PORT/' + _BASE}"
        )
    if "@" in parts.netloc:  # it would replace the token in the header Authorization, and be in every message
        own = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise ValueError(f"the endpoint must have no user or password; pass a token as api_token or DYFF_API_TOKEN, and use {own}")
    if parts.query or parts.fragment:
        raise ValueError(f"the endpoint {text!r} must have nothing after its path; use {plain.partition('?')[0].partition('#')[0]}")
    segments = parts.path.split("/")
    if _BASE in segments[:-1]:
        whole = "/".join(segments[: segments.index(_BASE) + 1])
        raise ValueError(f"the endpoint {text!r} must end in /{_BASE}; use {parts.scheme}://{parts.netloc}{whole}")
    return plain if parts.path else f"{plain}/{_BASE}"


class Positions:
    """The positions in the log of this program's own writes. Thread-safe."""

    def __init__(self) -> None:
        """Starts without positions."""
        self._epoch = ""
        self._ends: dict[int, int] = {}
        self._lock = threading.Lock()

    def learn(self, text: str) -> None:
        """Merge a `Dyff-Position` header, with the maximum for each partition. A new epoch replaces the positions of the old one."""
        epoch, ends = positions.parse_header(text)
        with self._lock:
            if epoch != self._epoch:
                self._epoch, self._ends = epoch, {}
            for partition, end in ends.items():
                self._ends[partition] = max(end, self._ends.get(partition, 0))

    def header(self) -> dict[str, str]:
        """Return the header that makes a read wait until it can see all of these writes."""
        with self._lock:
            return {"Dyff-Position": positions.header(self._epoch, self._ends)} if self._ends else {}


class Transport:
    """Sends requests to one server with one token. As safe for threads or tasks as its I/O."""

    def __init__(self, io: IO, endpoint: str, token: str, *, retries: int = RETRIES) -> None:
        """`endpoint`: ends in `/v0`. `retries`: the most retries of a request that is safe to repeat."""
        self.io = io
        self.endpoint = endpoint.rstrip("/")
        self.retries = retries
        self._authorization = secrecy.bearer(token)
        self._positions = Positions()

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the decoded answer; see `answer`.

        Raises:
            SdkError: the answer is not JSON.
        """
        answer = await self.answer(method, path, **options)
        try:
            return json.loads(answer.content) if answer.content else None
        except ValueError as error:
            raise errors.SdkError(
                f"{answer.request.url} answered no JSON, but {answer.text[:100]!r}. Is it a Dyff server (or an inference endpoint "
                "that answers JSON)? The client's endpoint ends in /v0"
            ) from error

    async def foreign(self, path: str, **options: Any) -> Foreign:
        """POST to a service behind Dyff; returns its answer as it was sent, whatever it is. `options`: those of `answer`.

        Raises:
            ApiError: the service or the server refused, or redirects.
            ServerUnreachable: it does not answer, or the answer is not complete or too large.
        """
        answer = await self.answer("POST", path, repeatable=False, foreign=True, **options)
        headers = answer.headers
        return Foreign(answer.extensions[_RAW], headers.get("Content-Encoding"), headers.get("Content-Type"))

    async def answer(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
        timeout: float | httpx.Timeout | None = None,
        repeatable: bool = True,
        foreign: bool = False,
        key: str | None = None,
    ) -> httpx.Response:
        """Send a request and return the answer, if it is a success. A POST has an `Idempotency-Key`, so the server recognises retries.

        `form`: httpx's `files` and `data`, in place of a JSON `body`. `token`: replaces the client's. `timeout`: in seconds,
        replaces the client's. `repeatable`: if False, it is retried only if the server has certainly done nothing. `foreign`: the
        answer is that of a service behind Dyff, which is not trusted to name positions. Its body is not decoded. `key`: the
        idempotency key, by which later calls are recognised, too; None for one of this call alone.

        Raises:
            ApiError: the server refused.
            ServerUnreachable: it does not answer.
        """
        headers = {"Authorization": secrecy.bearer(token) if token else self._authorization, "Accept": "application/json"}
        headers.update(self._positions.header())
        headers.update(tracing.headers())
        if method == "POST":
            headers["Idempotency-Key"] = key or uuid.uuid4().hex
        options: dict[str, Any] = dict(form or {})
        if form is None and (body is not None or method in ("POST", "PUT", "PATCH")):
            options["content"], headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if timeout is not None:
            options["timeout"] = timeout
        if foreign:
            headers["Accept-Encoding"] = "identity"
        given = {name: value for name, value in (params or {}).items() if value is not None}
        request = self.io.request(method, self.endpoint + path, params=given, headers=headers, **options)
        answer = await self._send(request, repeatable, foreign)
        position = answer.headers.get("Dyff-Position")
        if position and method != "GET" and not foreign:  # only writes have positions; waiting for any other could be endless
            self._positions.learn(position)
        return answer

    async def stream(self, path: str, params: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """GET, and yield the body as it arrives.

        Raises:
            ApiError: the server refused.
            httpx.TransportError: the connection was lost, or could not be made.
        """
        given = {name: value for name, value in params.items() if value is not None}
        headers = {"Authorization": self._authorization, "Accept-Encoding": "identity", **tracing.headers()}
        answer = await self.io.send(self.io.request("GET", self.endpoint + path, params=given, headers=headers), stream=True)
        try:
            if not answer.is_success:
                await self.io.read(answer)
                token = self._authorization.removeprefix("Bearer ")
                detail = secrecy.masked(detail_of(answer), [token])
                raise errors.from_answer(answer.status_code, detail, str(answer.request.url), _trace_id(answer))
            async with aclosing(self.io.pieces(answer)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            await self.io.end(answer)

    async def _send(self, request: httpx.Request, repeatable: bool, foreign: bool) -> httpx.Response:
        waits = delays()
        for left in reversed(range(self.retries + 1)):
            try:
                answer = await (self._raw(request) if foreign else self.io.send(request))
            except httpx.TransportError as error:
                if not left or not (repeatable or isinstance(error, _NOT_SENT)):
                    # The library's own traces are seventy lines that say the same; `__context__` has them.
                    raise errors.ServerUnreachable(unanswered(request, error)) from None
                await self.io.sleep(next(waits))
                continue
            if answer.is_success:
                return answer
            if not left or answer.status_code not in (RETRIED if repeatable else _NOTHING_DONE):
                token = request.headers["Authorization"].removeprefix("Bearer ")
                raise errors.from_answer(
                    answer.status_code, secrecy.masked(detail_of(answer), [token]), str(request.url), _trace_id(answer)
                )
            await self.io.sleep(pause_s(answer, waits))
        raise AssertionError("unreachable")

    async def _raw(self, request: httpx.Request) -> httpx.Response:
        """Send a request to a service; the body is in `extensions`, as it was sent. httpx would decompress it without a bound."""
        answer = await self.io.send(request, stream=True)
        try:
            if answer.is_stream_consumed:  # a transport without a network
                body = answer.content
            else:
                held = bytearray()
                async with aclosing(self.io.pieces(answer)) as pieces:
                    async for piece in pieces:
                        held += piece
                        if len(held) > MAX_FOREIGN_BYTES:
                            raise httpx.ReadError(f"the answer is larger than {MAX_FOREIGN_BYTES} bytes", request=request)
                body = bytes(held)
        finally:
            await self.io.end(answer)
        answer.extensions[_RAW] = body
        return answer


def _trace_id(answer: httpx.Response) -> str | None:
    """The ID of the server's trace; None if it names none in the right form."""
    found = answer.headers.get("Dyff-Trace", "")
    return found if found.isascii() and found.isalnum() else None


def delays() -> Any:
    """Yield the seconds before each retry, with jitter, so that many clients do not retry at the same time."""
    return backoff.delays(FIRST_DELAY_S, ceiling_s=MAX_DELAY_S, jitter=random.Random())


def detail_of(answer: httpx.Response) -> Any:
    """Return the server's explanation."""
    if answer.has_redirect_location:
        return f"a redirect to {showing.unsigned(answer.headers['Location'])[:500]!r}, which is not followed"
    raw = answer.extensions.get(_RAW)
    try:
        body = answer.json() if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return (answer.text if raw is None else raw[:2000].decode("utf-8", "replace"))[:500]
    return body.get("detail", body) if isinstance(body, dict) else body


def pause_s(answer: httpx.Response | None, waits: Iterator[float]) -> float:
    """Return the seconds before the next try: what the server asks for, at most `MAX_PAUSE_S`, and never less than our own growing delay.

    `answer`: None if there was none.
    """
    asked = None if answer is None else backoff.asked_s(answer.headers.get("Retry-After"), datetime.now(UTC))
    return backoff.pause_s(next(waits), asked, MAX_PAUSE_S)


def unanswered(request: httpx.Request, error: httpx.TransportError) -> str:
    """Return a message that says what happened and what to check."""
    place = f"{request.url.scheme}://{request.url.netloc.decode().rpartition('@')[2]}"
    return (
        f"{place} does not answer: {str(error) or type(error).__name__}. Is 'dyff serve' running there? "
        "The address is the client's endpoint, or DYFF_API_ENDPOINT"
    )


def refusal(answer: httpx.Response, url: str) -> errors.ApiError:
    """Return the error for an answer of the object store, without what makes the signed URL a credential."""
    detail = secrecy.masked(detail_of(answer), secrecy.secrets_of(url))
    return errors.from_answer(answer.status_code, detail, showing.unsigned(url))
