"""A request and its answer, whoever carries them: Litestar's router (`dyff.api.app`) or the express lane (`dyff.api.express`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dyff.accounts.authority import Principal
from dyff.entities import codecs
from dyff.kernel import errors

JSON = "application/json"

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
"""ASGI's, as plain as they come."""


class Reply(msgspec.Struct, frozen=True):
    """An answer. `body`: bytes, or pieces of bytes to be streamed."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = JSON


def json(value: Any, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """An answer in JSON."""
    return Reply(status, codecs.encode(value), tuple(headers))


class Call:
    """A request. `path`: the values of the path's parameters. `principal`: who calls; unset on open routes."""

    __slots__ = ("_named", "_receive", "_scope", "max_body_bytes", "path", "principal")

    principal: Principal

    def __init__(self, scope: Scope, receive: Receive, max_body_bytes: int, path: Mapping[str, str]) -> None:
        """`max_body_bytes`: what `body` reads at most; `stream` has no limit."""
        self._scope = scope
        self._receive = receive
        self._named: dict[bytes, bytes] | None = None
        self.max_body_bytes = max_body_bytes
        self.path = path

    @property
    def method(self) -> str:
        """In capitals."""
        return str(self._scope["method"])

    @property
    def query_string(self) -> str:
        """What came after the `?`."""
        return bytes(self._scope["query_string"]).decode("latin-1")

    def query(self) -> list[tuple[str, str]]:
        """The query's parameters in their order.

        Raises:
            InvalidFields: they are not UTF-8.
        """
        try:
            return parse_qsl(self.query_string, keep_blank_values=True, errors="strict")
        except ValueError as error:
            raise errors.InvalidFields(errors.Problem(("query",), "the query string is not UTF-8")) from error

    def header(self, name: bytes) -> str | None:
        """The first header called `name` (in lower case); None: there is none."""
        if self._named is None:
            self._named = dict(reversed(self.headers()))
        value = self._named.get(name)
        return None if value is None else value.decode("latin-1")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """All headers; names are in lower case."""
        headers: list[tuple[bytes, bytes]] = self._scope["headers"]
        return headers

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is longer than `max_body_bytes`.
            FixRequest: the client went away before its end.
        """
        self._refuse_announced()
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return self._within(message.get("body", b""))
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise errors.FixRequest("the request ended before its body was complete")
            piece = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > self.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(pieces)
            message = await self._receive()

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it comes.

        Raises:
            FixRequest: the client went away before its end.
        """
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise errors.FixRequest("the request ended before its body was complete")
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body"):
                return

    async def gone(self) -> None:
        """Wait until the client has gone. For when the body was read, or is of no interest."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def content_length(self) -> int | None:
        """The announced length of the body; None: none is announced.

        Raises:
            FixRequest: it is no number.
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
        return errors.TooLarge(f"the body is larger than {self.max_body_bytes} bytes (setting api.max_body_bytes)")
