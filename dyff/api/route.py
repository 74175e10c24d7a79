"""A route as a value: what answers it and what the documentation says about it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from dyff.api.calls import Call, Reply

Answer = Callable[[Call], Awaitable[Reply]]

_PARAMETER = re.compile(r"\{(\w+):\w+\}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path.

    `path`: in Litestar's spelling, e.g. `/v0/datasets/{id:str}`. `summary`: a line for people. `body`: the struct of
    the request's JSON; None: it has none, or none that is JSON. `query`: names of query parameters to what they mean.
    `returns`: what a success holds. `group`: the heading in the documentation. `open`: needs no token. `express`: worth
    being answered without the router (`dyff.api.express`); its path has no parameters. `hidden`: not in the documentation.
    """

    method: str
    path: str
    answer: Answer
    summary: str
    group: str
    body: Any = None
    query: dict[str, str] = {}
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
