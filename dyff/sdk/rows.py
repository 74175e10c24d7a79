"""Queries of one kind: their parameters, and rows with some fields of what matches."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from dyff.entities.kind import Kind
from dyff.sdk import arguments, calls, sent, transport
from dyff.sdk.calls import Awaited, S, iteration

PAGE = 500


class Listed(calls.Bound[S]):
    """Operations on many entities of one kind, whose row in the registry is `_row` and whose name in paths is `_plural`."""

    _http: transport.Transport
    _row: Kind
    _plural: str

    @iteration
    async def rows(self: Listed[Awaited], /, *fields: str, page: int = PAGE, **keys: Any) -> AsyncIterator[dict[str, Any]]:
        """Iterate over some fields of all entities that match, oldest first: much less to send than whole entities.

        `fields`: such as `status` and `metadata.documentation.title`; without any, what lists show. Each row is a dict, nested as
        the entity is, without what the entity does not have. `id` and `creationTime` are always there. `page`, `keys`: as `pages` has them.

        Raises:
            BadRequest: a field or a key is unknown; the nearest known one is named.

        Example:
            `[row["status"] for row in client.evaluations.rows("status", dataset=dataset.id)]`
        """
        after: tuple[Any, str] | None = None
        named = ",".join(arguments.key(each, "fields") for each in fields) if fields else None
        while True:
            shared: dict[str, Any] = {name: keys[name] for name in ("query", "labels") if name in keys}
            given: dict[str, Any] = {**shared, "order_by": "creationTime", "order": "ascending", "limit": page, "after": after}
            params = self._params(given, {name: value for name, value in keys.items() if name not in shared})
            found = await self._http.call("GET", transport.path(self._plural, "rows"), params={**params, "fields": named})
            for each in found:
                yield each
            if len(found) < page:
                return
            after = (found[-1]["creationTime"], found[-1]["id"])

    def _params(self, given: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a query. `given`: the arguments that all kinds share, by name. `keys`: the keys and their values."""
        query, labels, after = (given.get(name) for name in ("query", "labels", "after"))
        return {
            **{name: self._value(name, value) for name, value in keys.items()},
            "query": None if query is None else json.dumps(sent.queries(query)),
            "labels": None if labels is None else json.dumps(arguments.mapping(labels, "labels")),
            "orderBy": given.get("order_by"),
            "order": given.get("order"),
            "limit": given.get("limit"),
            "after": None if after is None else json.dumps(after),
        }

    def _value(self, name: str, value: Any) -> str | None:
        """The text of a key."""
        if name in self._row.elements and isinstance(value, list | tuple):
            return ",".join(str(arguments.key(each, name)) for each in value)
        text: str | None = arguments.key(value, name)
        return text
