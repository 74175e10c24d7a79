"""What is sent to the server: requests of any form as JSON, and the parameters of queries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from dyff.sdk import arguments


class Dumped(Protocol):
    """A Pydantic model, such as the published request types."""

    def model_dump_json(self, *, by_alias: bool, exclude_none: bool, exclude_unset: bool) -> str:
        """Return the model as JSON."""
        ...


Other = msgspec.Struct | Dumped
"""A request that is not a mapping with the field names of the API (`dyff.sdk.requests`): a struct or Pydantic model of that form."""

Query = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Keys and the values that they must have; a list means "one of". Or several of these, all of which must match."""


def plain(value: Mapping[str, Any] | Other, *, nulls: bool = False, name: str = "request") -> Any:
    """Return a request as JSON values. Fields that are None are left out, unless `nulls` is True: None is then sent as null.

    Raises:
        TypeError, ValueError: it is no request; the message names the field, or the argument, which is `name`.
    """
    if hasattr(value, "model_dump_json"):
        return json.loads(value.model_dump_json(by_alias=True, exclude_none=not nulls, exclude_unset=nulls))
    fields = arguments.request(value, name)
    return {key: each for key, each in fields.items() if nulls or each is not None}


def terms(query: Query | None, limit: int | None, **given: str | None) -> dict[str, Any]:
    """The parameters of a query for parts of entities. `given`: keys and values."""
    text = None if query is None else json.dumps(queries(query))
    return {**{name: arguments.key(value, name) for name, value in given.items()}, "query": text, "limit": limit}


def queries(value: Any) -> Any:
    """One query or several, as JSON values.

    Raises:
        TypeError, ValueError: it is none; the message names the key.
    """
    several = isinstance(value, list | tuple)
    return [arguments.request(each, "query") for each in value] if several else arguments.request(value, "query")
