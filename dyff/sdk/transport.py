"""HTTP to a Dyff server: retries that are safe, positions that make reads see this program's own writes, clear errors."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from dyff.adapters import uploads
from dyff.kernel import backoff, positions
from dyff.sdk import errors

RETRIES = 5
RETRIED = frozenset({408, 429, 502, 503, 504})
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE", "PATCH"})


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
    """Requests to one server with one token. Thread-safe."""

    def __init__(self, endpoint: str, token: str, *, timeout_s: float = 60.0, http: httpx.BaseTransport | None = None) -> None:
        """`endpoint`: ends in `/v0`. `http`: another way to send requests, for tests; None: the network."""
        self.endpoint = endpoint.rstrip("/")
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=32)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._client = httpx.Client(headers=headers, timeout=timeout_s, limits=limits, transport=http)
        self._plain = httpx.Client(timeout=httpx.Timeout(timeout_s, read=600, write=600), limits=limits, transport=http)
        self._positions = Positions()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._plain.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        form: uploads.Upload | None = None,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> Any:
        """The decoded answer. A POST carries an `Idempotency-Key`, so that repeating it is harmless.

        `form`: sent as `multipart/form-data` instead of `body`, which is sent as JSON.

        Raises:
            ApiError: the server refused.
            ServerUnreachable: it does not answer.
        """
        headers = self._positions.header()
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        sent: dict[str, Any] = {}
        if form is not None:
            sent = {"files": {form.name: (form.filename, form.content, form.content_type)}, "data": form.form_fields}
        elif body is not None or method in ("POST", "PUT", "PATCH"):
            sent, headers["Content-Type"] = {"content": json.dumps(body).encode()}, "application/json"
        given = {name: value for name, value in (params or {}).items() if value is not None}
        request = self._client.build_request(method, self.endpoint + path, params=given, headers=headers, **sent)
        answer = self._send(request)
        if position := answer.headers.get("Dyff-Position"):
            self._positions.learn(position)
        return json.loads(answer.content) if answer.content else None

    def plain(self) -> httpx.Client:
        """The client for signed URLs: it sends no token."""
        return self._plain

    def _send(self, request: httpx.Request) -> httpx.Response:
        waits = backoff.delays(0.25, ceiling_s=8.0)
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES
            try:
                answer = self._client.send(request)
            except httpx.TransportError as error:
                if last:
                    raise errors.ServerUnreachable(f"{request.url.host}:{request.url.port} does not answer: {error}") from error
                time.sleep(next(waits))
                continue
            if answer.is_success:
                return answer
            if last or answer.status_code not in RETRIED:
                raise errors.from_answer(answer.status_code, detail_of(answer), str(request.url))
            time.sleep(_retry_after(answer) or next(waits))
        raise AssertionError("unreachable")


def detail_of(answer: httpx.Response) -> Any:
    """The server's words."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:500]
    return body.get("detail", body) if isinstance(body, dict) else body


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        return min(float(answer.headers["Retry-After"]), 30.0)
    except (KeyError, ValueError):
        return None
