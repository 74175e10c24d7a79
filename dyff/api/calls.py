"""A request and its answer, independent of the transport: Litestar's router (`dyff.api.app`) or the express lane (`dyff.api.express`)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dyff.accounts.authority import Principal
from dyff.api import forwarded
from dyff.entities import codecs
from dyff.kernel import errors
from dyff.kernel.telemetry import log_fields

JSON = "application/json"

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
"""The plain ASGI types."""


class Reply(msgspec.Struct, frozen=True):
    """An answer. `body`: the bytes, or an iterator of chunks to stream. `time_s`: sending a stream is broken off after as many seconds;
    None for no limit.
    """

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = JSON
    time_s: float | None = None


def json(value: Any, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """An answer in JSON."""
    return Reply(status, codecs.encode(value), tuple(headers))


class Call:
    """A request. `path`: the values of the path parameters. `principal`: the caller; unset on open routes, and before it is known.
    `about`: its trace, and what log lines have of its entity and account. `began`: by the clock that measures durations. `received`: bytes
    of the body so far.
    """

    __slots__ = ("_named", "_receive", "_scope", "about", "began", "max_body_bytes", "path", "principal", "received")

    principal: Principal

    def __init__(self, scope: Scope, receive: Receive, max_body_bytes: int, path: Mapping[str, str]) -> None:
        """`max_body_bytes`: the most that `body` reads; `stream` has no limit."""
        self._scope = scope
        self._receive = receive
        self._named: dict[bytes, bytes] | None = None
        self.max_body_bytes = max_body_bytes
        self.path = path
        self.about = log_fields.About()
        self.received = 0
        self.began = time.perf_counter()

    @property
    def principal_or_none(self) -> Principal | None:
        """The caller, if it is known."""
        return getattr(self, "principal", None)

    @property
    def entity(self) -> str | None:
        """The ID of an entity that the path does not name, as far as it is known."""
        return self.about.entity

    @entity.setter
    def entity(self, entity_id: str) -> None:
        self.about.entity = entity_id

    @property
    def client(self) -> str | None:
        """The address of the client; None if the transport has none."""
        known = self._scope.get("client")
        return str(known[0]) if known else None

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address and the port of the client; None if the transport has none."""
        known: tuple[str, int] | None = self._scope.get("client")
        return known

    @property
    def method(self) -> str:
        """The HTTP method, in upper case."""
        return str(self._scope["method"])

    @property
    def http_version(self) -> str:
        """The version of HTTP, such as `1.1`."""
        return str(self._scope.get("http_version", "1.1"))

    @property
    def base(self) -> str | None:
        """The URL by which the client reached a trusted proxy, such as `https://host`; None if none said so."""
        return self._scope.get(forwarded.BASE)

    @property
    def query_string(self) -> str:
        """The part of the URL after the `?`."""
        return bytes(self._scope["query_string"]).decode("latin-1")

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters in their order.

        Raises:
            InvalidFields: they are not UTF-8.
        """
        try:
            return parse_qsl(self.query_string, keep_blank_values=True, errors="strict")
        except ValueError as error:
            raise errors.InvalidFields(errors.Problem(("query",), "the query string is not UTF-8")) from error

    def named(self) -> Mapping[bytes, bytes]:
        """Return the first header of each name (in lower case)."""
        if self._named is None:
            self._named = dict(reversed(self.headers()))
        return self._named

    def header(self, name: bytes) -> str | None:
        """Return the first header called `name` (in lower case), or None if there is none."""
        value = self.named().get(name)
        return None if value is None else value.decode("latin-1")

    def joined(self, name: bytes) -> str | None:
        """Return the values of all headers called `name` (in lower case) as one list, or None if there is none."""
        values = [value.decode("latin-1") for each, value in self.headers() if each == name]
        return ", ".join(values) if values else None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all headers, with names in lower case."""
        headers: list[tuple[bytes, bytes]] = self._scope["headers"]
        return headers

    async def body(self) -> bytes:
        """Read the whole body.

        Raises:
            TooLarge: it is longer than `max_body_bytes`.
            FixRequest: the client disconnected before the end of the body.
        """
        self._refuse_announced()
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            whole = message.get("body", b"")
            self.received = len(whole)
            return self._within(whole)
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise errors.FixRequest("the request ended before its body was complete")
            piece = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            self.received = size
            if size > self.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(pieces)
            message = await self._receive()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in chunks as it arrives.

        Raises:
            FixRequest: the client disconnected before the end of the body.
        """
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise errors.FixRequest("the request ended before its body was complete")
            if piece := message.get("body", b""):
                self.received += len(piece)
                yield piece
            if not message.get("more_body"):
                return

    async def gone(self) -> None:
        """Wait until the client has disconnected. Use it only when the body has been read or is not needed: the rest is discarded."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def content_length(self) -> int | None:
        """Return the announced length of the body in bytes, or None if none is announced.

        Raises:
            FixRequest: the header is not a number.
        """
        text = self.header(b"content-length")
        if text is None:
            return None
        if not text.isascii() or not text.isdigit():
            raise errors.FixRequest("the header Content-Length must be a number of bytes")
        return int(text)

    def _refuse_announced(self) -> None:
        announced = self.content_length()
        if announced is not None and announced > self.max_body_bytes:
            raise self._too_large()

    def _within(self, body: bytes) -> bytes:
        if len(body) > self.max_body_bytes:
            raise self._too_large()
        return body

    def _too_large(self) -> errors.TooLarge:
        return errors.TooLarge(f"the body is larger than {self.max_body_bytes} bytes (setting api.max_body_bytes)").of_limit(
            "api.max_body_bytes"
        )
