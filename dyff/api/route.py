"""A route as a value: its handler and its documentation."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from dyff.api.calls import Call, Reply

Answer = Callable[[Call], Awaitable[Reply]]
Send = Callable[[bytes], Awaitable[None]]
"""Sends a message; waits while the peer is slow to read."""

Begin = Callable[[Call], Awaitable[Callable[[Send], Awaitable[None]]]]
"""Handles the request for a stream. An exception becomes the answer; the returned function sends the messages."""

_PARAMETER = re.compile(r"\{(\w+):\w+\}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path.

    `path`: in Litestar's syntax, e.g. `/v0/datasets/{id:str}`. `group`: the resource, or the heading in the documentation.
    `operation`: what the route does; the published operation ID is `<group>_<operation>`. `summary`: one line of documentation.
    `body`: the struct of the request's JSON; None if it has no body, or one that is not JSON. `query`: the meaning of each query
    parameter, by name. `answers`: the type of the JSON of a success; None if it is not JSON, or is the answer of a service.
    `returns`: the content of a success, in words. `open`: needs no token. `express`: answered without the router
    (`dyff.api.express`); its path has no parameters. `hidden`: not in the documentation.
    """

    method: str
    path: str
    answer: Answer
    group: str
    operation: str
    summary: str
    body: Any = None
    query: dict[str, str] = {}
    answers: Any = None
    returns: str = "JSON"
    status: int = 200
    open: bool = False
    express: bool = False
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
