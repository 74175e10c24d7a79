"""Counts the runs that a safety case is one of, with bounds on what one case can cost."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import aclosing

import anyio
import msgspec

from dyff.api.context import Context
from dyff.api.dossiers import runs, sorting
from dyff.entities import registry
from dyff.entities.exports.evidence import Gathered
from dyff.query import filters, port

_AT_ONCE = 2
"""How many requests can count runs at a time: anybody can ask for the page of a public case."""
SEARCHED_S = 10.0
"""A sort that is found only by what runs read takes a look at all of a kind: some 40 microseconds for each. So it is kept for this time."""

_REMEMBERED = 100
_SEEN = msgspec.json.Decoder(runs.Seen)


class _Known(msgspec.Struct, frozen=True):
    """What was counted when the view had reached this position. `until`: when a search is made again, by the clock of the event loop."""

    reached: port.Reached
    tally: runs.Tally
    until: float


class Counting:
    """Counts runs for dossiers, in the view."""

    def __init__(self, context: Context) -> None:
        """No runs have been counted yet."""
        self._query = context.services.query
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._tallies: OrderedDict[runs.Sort, _Known] = OrderedDict()

    async def of(self, gathered: Gathered) -> runs.Counted:
        """The runs of each sort that a case is one of, of all accounts. As long as the view does not move, they are counted once.

        Raises:
            Unavailable: the database does not answer.
        """
        steps = sorting.steps(gathered)
        async with self._limiter:
            try:
                sort = next(steps)
                while True:
                    sort = steps.send(await self._tally(sort))
            except StopIteration as end:
                counted: runs.Counted = end.value
                return counted

    async def _tally(self, sort: runs.Sort) -> runs.Tally:
        reached = await self._query.reached()
        known = self._tallies.get(sort)
        if known is not None and (known.reached == reached or (not sort.terms and anyio.current_time() < known.until)):
            return known.tally
        found = await self._counted(sort)
        self._tallies[sort] = _Known(reached, found, anyio.current_time() + SEARCHED_S)
        while len(self._tallies) > _REMEMBERED:
            self._tallies.popitem(last=False)
        return found

    async def _counted(self, sort: runs.Sort) -> runs.Tally:
        row = registry.BY_KIND[sort.kind]
        where = _where(sort)
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


def _where(sort: runs.Sort) -> filters.Predicate:
    row = registry.BY_KIND[sort.kind]
    terms, scope = ([filters.Equals(row.queries[name], value) for name, value in some] for some in (sort.terms, sort.scope))
    either: list[filters.Predicate] = [filters.AllOf(tuple(scope))] if scope else []
    either += [filters.AnyElement(row.elements["inputs"].path, row.elements["inputs"].key, sort.read)] if sort.read else []
    return filters.AllOf((*terms, *([filters.AnyOf(tuple(either))] if either else [])))
