"""HTTP to a Dyff server: retries that are safe, positions that make reads see this program's own writes, clear errors."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from dyff.kernel import backoff, positions
from dyff.sdk import errors
from dyff.sdk.io import IO

RETRIES = 5
FIRST_DELAY_S = 0.25
MAX_DELAY_S = 8.0
RETRIED = frozenset({408, 429, 502, 503, 504})
_NOTHING_DONE = frozenset({429, 503})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def path(*segments: str) -> str:
    """The path below the endpoint that has these segments, whatever characters are in them."""
    return "".join("/" + _quoted(each) for each in segments)


def _quoted(segment: str) -> str:
    """One that is only dots means a directory to whoever it passes on its way, unless the dots are quoted, too."""
    quoted = quote(segment, safe="=@:,+")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


class Positions:
    """What this program has written, as positions in the log; thread-safe."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._epoch = ""
        self._ends: dict[int, int] = {}
        self._lock = threading.Lock()

    def learn(self, text: str) -> None:
        """Merge a `Dyff-Position` header, by maximum; a new epoch forgets the old one's."""
        epoch, ends = positions.parse_header(text)
        with self._lock:
            if epoch != self._epoch:
                self._epoch, self._ends = epoch, {}
            for partition, end in ends.items():
                self._ends[partition] = max(end, self._ends.get(partition, 0))

    def header(self) -> dict[str, str]:
        """The header that asks a read to wait for all of it."""
        with self._lock:
            return {"Dyff-Position": positions.header(self._epoch, self._ends)} if self._ends else {}


class Transport:
    """Requests to one server with one token. As safe for threads or tasks as its I/O."""

    def __init__(self, io: IO, endpoint: str, token: str, *, retries: int = RETRIES) -> None:
        """`endpoint`: ends in `/v0`. `retries`: of what is safe to repeat."""
        self.io = io
        self.endpoint = endpoint.rstrip("/")
        self.retries = retries
        self._authorization = f"Bearer {token}"
        self._positions = Positions()

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """The decoded answer; see `answer`.

        Raises:
            SdkError: it is no JSON.
        """
        answer = await self.answer(method, path, **options)
        try:
            return json.loads(answer.content) if answer.content else None
        except ValueError as error:
            raise errors.SdkError(
                f"{answer.request.url} answered no JSON, but {answer.text[:100]!r}. Is it a Dyff server (or an inference endpoint "
                "that answers JSON)? The client's endpoint ends in /v0"
            ) from error

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
    ) -> httpx.Response:
        """The answer, if it is a success. A POST carries an `Idempotency-Key`, so that the server tells repetitions.

        `form`: httpx's `files` and `data`, in place of a JSON `body`. `token`: in place of the client's. `timeout`: in
        seconds, in place of the client's. `repeatable`: False: tried again only if the server has surely done nothing.

        Raises:
            ApiError: the server refused.
            ServerUnreachable: it does not answer.
        """
        headers = {"Authorization": f"Bearer {token}" if token else self._authorization, "Accept": "application/json"}
        headers.update(self._positions.header())
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        options: dict[str, Any] = dict(form or {})
        if form is None and (body is not None or method in ("POST", "PUT", "PATCH")):
            options["content"], headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if timeout is not None:
            options["timeout"] = timeout
        given = {name: value for name, value in (params or {}).items() if value is not None}
        request = self.io.request(method, self.endpoint + path, params=given, headers=headers, **options)
        answer = await self._send(request, repeatable)
        if position := answer.headers.get("Dyff-Position"):
            self._positions.learn(position)
        return answer

    async def _send(self, request: httpx.Request, repeatable: bool) -> httpx.Response:
        waits = delays()
        for left in reversed(range(self.retries + 1)):
            try:
                answer = await self.io.send(request)
            except httpx.TransportError as error:
                if not left or not (repeatable or isinstance(error, _NOT_SENT)):
                    raise errors.ServerUnreachable(unanswered(request, error)) from error
                await self.io.sleep(next(waits))
                continue
            if answer.is_success:
                return answer
            if not left or answer.status_code not in (RETRIED if repeatable else _NOTHING_DONE):
                raise errors.from_answer(answer.status_code, detail_of(answer), str(request.url))
            await self.io.sleep(retry_after(answer) or next(waits))
        raise AssertionError("unreachable")


def delays() -> Any:
    """Seconds before each next try, drawn so that many clients do not return together."""
    return backoff.delays(FIRST_DELAY_S, ceiling_s=MAX_DELAY_S, jitter=random.Random())


def detail_of(answer: httpx.Response) -> Any:
    """The server's words."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:500]
    return body.get("detail", body) if isinstance(body, dict) else body


def retry_after(answer: httpx.Response) -> float | None:
    """The seconds that the server asks to wait, half a minute at most; None: it doesn't say."""
    try:
        return min(max(float(answer.headers["Retry-After"]), 0.0), 30.0)
    except (KeyError, ValueError):
        return None


def unanswered(request: httpx.Request, error: httpx.TransportError) -> str:
    """What happened and what to look at."""
    place = f"{request.url.scheme}://{request.url.netloc.decode()}"
    return (
        f"{place} does not answer: {str(error) or type(error).__name__}. Is 'dyff serve' running there? "
        "The address is the client's endpoint, or DYFF_API_ENDPOINT"
    )


def unsigned(url: str) -> str:
    """A signed URL without what makes it a credential."""
    return url.partition("?")[0]
