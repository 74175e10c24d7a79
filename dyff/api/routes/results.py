"""The routes for what runs compute besides files: scores and curves, of one entity and of all that match."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

from dyff.accounts import grants
from dyff.api import auth, result_queries
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.documents import is_whole
from dyff.api.route import Route
from dyff.api.routes.entities import follow
from dyff.entities import analyses, codecs, kind, registry
from dyff.entities.exports import addresses
from dyff.query import port

FIELDS: dict[str, type[Any]] = {analyses.SCORES: analyses.Score, analyses.CURVES: analyses.Curve}


def routes(context: Context) -> list[Route]:
    """Return the routes of the kinds whose runs have results. Those of the whole collection come first: their paths look like IDs."""
    found: list[Route] = []
    for row in registry.ROWS:
        if row.run is not None and row.run.results is not None:
            found += [route for field, form in FIELDS.items() for route in Results(context, row, field, form).routes()]
    return found


class Results:
    """One field with results of one kind."""

    def __init__(self, context: Context, row: kind.Kind, field: str, form: type[Any]) -> None:
        """`form`: of one result."""
        self._context, self._row, self._field, self._form = context, row, field, form

    def routes(self) -> list[Route]:
        """Return the routes: of all, and of one entity."""
        row, name = self._row, self._field
        common: dict[str, Any] = {"method": "GET", "group": row.plural, "answers": list[self._form], "takes_position": True}  # type: ignore[name-defined]
        return [
            Route(
                path=f"/v0/{row.plural}/{name}", answer=self.query, operation=f"query_{name}", query=result_queries.parameters(row),
                summary=f"All {name} of {row.plural} that match", returns=f"a list of {name}", **common,
            ),
            Route(
                path=f"/v0/{row.plural}/{{id:str}}/{name}", answer=self.of_one, operation=name,
                summary=f"The {name} that a {row.name} has; none before it is complete", returns=f"a list of {name}",
                headers={"Link": "the provenance of all of them (rel=describedby)"}, **common,
            ),
        ]  # fmt: skip

    async def of_one(self, call: Call) -> Reply:
        """Return the results of one entity."""
        await follow(self._context, call)
        entity = await self._context.documents.entity(call.principal, self._row, call.path["id"], "get")
        found = entity.get(self._field) or [] if entity["status"] == self._row.success else []
        origin = addresses.provenance(self._context.services.base(call.base), self._row.plural, entity["id"])
        return json(found, headers=[("link", f'<{origin}>; rel="describedby"')])

    async def query(self, call: Call) -> Reply:
        """Return all results that match, of entities that the caller may see, in the order of these."""
        auth.require_any(call.principal, self._row.plural, "query")
        asked = result_queries.find(self._row, self._field, call.query(), grants.scope(call.principal.grants, self._row.plural))
        await follow(self._context, call)
        return await self._context.large.array(call, functools.partial(self._found, asked))

    async def _found(self, asked: result_queries.OfResults) -> AsyncGenerator[list[bytes], None]:
        """The results in batches of which only the last can be small."""
        batch: list[bytes] = []
        size, left = 0, asked.limit
        async with aclosing(self._context.services.query.find(asked.find)) as batches:
            async for documents in batches:
                for each in self._of(documents, asked):
                    if left == 0:
                        break
                    left = None if left is None else left - 1
                    batch.append(codecs.encode(each))
                    size += len(batch[-1])
                    if size >= port.BATCH_BYTES:
                        yield batch
                        batch, size = [], 0
                if left == 0:
                    break
        if batch:
            yield batch

    def _of(self, documents: Iterable[bytes], asked: result_queries.OfResults) -> Iterable[codecs.Json]:
        for document in documents:
            entity = codecs.decode_object(document)
            if is_whole(entity):
                yield from (each for each in entity.get(self._field) or [] if asked.wants(entity, each))
