"""Reads what the dossier of a safety case is made of, with bounds on what one case can cost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from contextlib import aclosing

import anyio
import msgspec

from dyff.accounts.authority import Principal
from dyff.api.context import Context
from dyff.api.dossiers import evidence, runs, visibility
from dyff.entities import codecs, registry, statuses
from dyff.query import filters, port

_AT_ONCE = 2
"""How many requests can count runs at a time: anybody can ask for the page of a public case."""
_REMEMBERED = 1000
_SEEN = msgspec.json.Decoder(runs.Seen)


class Gathering:
    """Reads for dossiers, from the view and the object store."""

    def __init__(self, context: Context) -> None:
        """No runs have been counted yet."""
        self._query, self._digests = context.services.query, context.digests
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._tallies: OrderedDict[runs.Sort, tuple[port.Reached, runs.Tally]] = OrderedDict()

    async def gathered(self, case: codecs.Json, principal: Principal | None) -> evidence.Gathered:
        """What the case rests on, and what the reader may see of it. `principal`: the reader; None for everybody."""
        entities: dict[str, codecs.Json] = {}
        readable: set[str] = set()
        named: dict[str, evidence.Reference] = {}
        digests = evidence.recorded_digests(case)
        waiting = list(evidence.references(case))
        while waiting and len(named) < evidence.MAX_ENTITIES:
            reference = waiting.pop(0)
            if reference.id in named or reference.kind not in registry.BY_KIND:
                continue
            named[reference.id] = reference
            entity = await self._entity(reference)
            if entity is None:
                continue
            entities[reference.id] = entity
            digests = {**evidence.recorded_digests(entity), **digests}
            waiting += evidence.references(entity)
            if visibility.may_read(principal, reference.kind, entity):
                readable.add(reference.id)
        for each in named.values():
            row = registry.BY_KIND[each.kind]
            if each.id not in digests and (found := await self._digests.of(row, each.id)) is not None:
                digests[each.id] = found
        return evidence.Gathered(case, tuple(named.values()), entities, frozenset(readable), digests)

    async def tallies(self, sorts: Collection[runs.Sort]) -> list[runs.Tally]:
        """The runs of each sort, of all accounts. As long as the view does not move, they are counted once.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._limiter:
            return [await self._tally(each) for each in sorts]

    async def _tally(self, sort: runs.Sort) -> runs.Tally:
        reached = await self._query.reached()
        known = self._tallies.get(sort)
        if known is not None and known[0] == reached:
            return known[1]
        found = await self._counted(sort)
        self._tallies[sort] = (reached, found)
        while len(self._tallies) > _REMEMBERED:
            self._tallies.popitem(last=False)
        return found

    async def _counted(self, sort: runs.Sort) -> runs.Tally:
        row = registry.BY_KIND[sort.kind]
        where = filters.AllOf(tuple(filters.Equals(row.queries[name], value) for name, value in sort.terms))
        find = filters.Find(collection=row.plural, where=where, order_by=("creationTime",), limit=runs.MAX_RUNS + 1)
        seen: list[runs.Seen] = []
        size = 0
        async with aclosing(self._query.find(find)) as batches:
            async for batch in batches:
                seen += [_SEEN.decode(each) for each in batch]
                size += sum(map(len, batch))
                if size > runs.MAX_BYTES:
                    return runs.Tally(sort, tuple(seen[: runs.MAX_RUNS]), is_all=False)
        return runs.Tally(sort, tuple(seen[: runs.MAX_RUNS]), is_all=len(seen) <= runs.MAX_RUNS)

    async def _entity(self, reference: evidence.Reference) -> codecs.Json | None:
        document = await self._query.get(registry.BY_KIND[reference.kind].plural, reference.id)
        entity = None if document is None else codecs.decode_object(document)
        return None if entity is None or entity.get("reason") == statuses.NOT_SHOWN else entity
