"""A route as a value: its handler and its documentation."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from dyff.api.calls import Call, Reply
from dyff.entities import codecs

Answer = Callable[[Call], Awaitable[Reply]]
Send = Callable[[bytes], Awaitable[None]]
"""Sends a message; waits while the peer is slow to read."""

Begin = Callable[[Call], Awaitable[Callable[[Send], Awaitable[None]]]]
"""Handles the request for a stream. An exception becomes the answer; the returned function sends the messages."""

_PARAMETER = re.compile(r"\{(\w+):\w+\}")


ANYTHING = "*/*"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a query. `meaning`: for people. `schema`: of its value. `is_json`: the value is written as JSON."""

    meaning: str
    schema: codecs.Json = msgspec.field(default_factory=lambda: {"type": "string"})
    is_json: bool = False


class Other(msgspec.Struct, frozen=True):
    """Another answer than a route's usual ones. All fields are as a route's."""

    returns: str
    answers: Any = None
    media_type: str | None = None
    headers: dict[str, str] = {}
    or_media_types: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path.

    `path`: in Litestar's spelling, e.g. `/v0/datasets/{id:str}`. `group`: the resource, or the heading in the documentation;
    `operation`: what is done with it, so that `<group>_<operation>` names the route, as published. `summary`: a line for people.
    `body`: the struct of the request's JSON; None: it has none. `body_optional`: it may be absent or null. `body_type`: the media
    type of a body that is not JSON; None: there is none. `query`: query parameters by name.
    `answers`: the type of a success's JSON; None: it is not JSON. `media_type`: of a success that is not JSON; None: it is JSON,
    or has no body; `ANYTHING`: a service answers, with any status. `or_media_types`: others that the header Accept can choose.
    `returns`: what a success holds, in words. `headers`: of a success, by name, in words. `others`: answers that do not follow from
    the rest, by status. `conflict`: when it is a 409; None: never.
    `gives_position`: a success has the position of a write. `takes_position`: it waits for the position that it is sent.
    `takes_key`: a repetition with the same idempotency key happens once.
    `open`: needs no token. `anonymous`: a token may be absent; then the answer is what everybody may see. `basic`: the token may be the
    password of the scheme Basic.
    `express`: worth being answered without the router (`dyff.api.express`); its path has no parameters.
    `deprecated`: there is a better way. `hidden`: not in the documentation.
    """

    method: str
    path: str
    answer: Answer
    group: str
    operation: str
    summary: str
    body: Any = None
    body_optional: bool = False
    body_type: str | None = None
    query: dict[str, Parameter] = {}
    answers: Any = None
    media_type: str | None = None
    or_media_types: tuple[str, ...] = ()
    returns: str = "JSON"
    status: int = 200
    headers: dict[str, str] = {}
    others: dict[int, Other] = {}
    conflict: str | None = None
    gives_position: bool = False
    takes_position: bool = False
    takes_key: bool = False
    open: bool = False
    basic: bool = False
    anonymous: bool = False
    express: bool = False
    deprecated: bool = False
    hidden: bool = False

    @property
    def template(self) -> str:
        """The path in OpenAPI's syntax."""
        return _PARAMETER.sub(r"{\1}", self.path)

    @property
    def parameters(self) -> list[str]:
        """The names of the path parameters."""
        return _PARAMETER.findall(self.path)


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """A path that is upgraded to a WebSocket, on which the server sends text messages until it closes. `path`: as in `Route`."""

    path: str
    begin: Begin

    @property
    def template(self) -> str:
        """The path in OpenAPI's syntax."""
        return _PARAMETER.sub(r"{\1}", self.path)
