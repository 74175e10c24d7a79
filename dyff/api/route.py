"""A route as a value: what answers it and what the documentation says about it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from dyff.api.calls import Call, Reply

Answer = Callable[[Call], Awaitable[Reply]]
Send = Callable[[bytes], Awaitable[None]]
"""Sends a message; waits while the peer is slow."""

Begin = Callable[[Call], Awaitable[Callable[[Send], Awaitable[None]]]]
"""Answers the request for a stream: what it raises becomes the answer; what it returns sends the messages."""

_PARAMETER = re.compile(r"\{(\w+):\w+\}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path.

    `path`: in Litestar's spelling, e.g. `/v0/datasets/{id:str}`. `group`: the resource, or the heading in the documentation;
    `operation`: what is done with it, so that `<group>_<operation>` names the route, as published. `summary`: a line for people.
    `body`: the struct of the request's JSON; None: it has none, or none that is JSON. `query`: names of query parameters to
    what they mean. `answers`: the type of a success's JSON; None: it is not JSON, or the answer of a service. `returns`: what a
    success holds, in words. `open`: needs no token. `express`: worth being answered without the router (`dyff.api.express`);
    its path has no parameters. `hidden`: not in the documentation.
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
        """The path in OpenAPI's spelling."""
        return _PARAMETER.sub(r"{\1}", self.path)

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return _PARAMETER.findall(self.path)


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """A path that is upgraded to a WebSocket, over which the server sends texts until it closes. `path`: as a route's."""

    path: str
    begin: Begin
