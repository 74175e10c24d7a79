"""Finds the systems with which the page of a safety case compares its own: those that the same method has measured on the same dataset."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import msgspec

from dyff.accounts.authority import Principal
from dyff.api import evidence
from dyff.api.comparisons import names, reading, results, terms
from dyff.api.comparisons.calculating import Calculating
from dyff.api.comparisons.reading import Reading
from dyff.api.comparisons.tasks import Pairs
from dyff.api.comparisons.terms import Source
from dyff.entities import codecs, comparisons, dossiers, registry, statuses
from dyff.kernel import errors
from dyff.query import filters, port

MAX_FOUND = 500
"""Limit of the measurements, the latest ones, among which other systems are looked for."""

MAX_FOUND_BYTES = 16 * 2**20
"""Limit of their documents."""

PAGE_S = 10.0
"""How long a page waits for its comparison, which is then made to its end, so that the next request has it."""

LATE = "The comparison was not ready in time. It is being made: load this page again in a minute."
MAX_TRIED = 4
"""Limit of the latest measurements of one system among which one is looked for whose scope agrees with what it reads."""

_AT_ONCE = 2
_REMEMBERED = 1000
_MEASUREMENT, _CASE = registry.BY_KIND["Measurement"], registry.BY_KIND["SafetyCase"]


class _Seen(msgspec.Struct, frozen=True):
    """What finding needs of a measurement."""

    id: str
    account: str
    status: str
    scope: dict[str, Any] = {}
    labels: dict[str, str | None] = {}


class _Found(msgspec.Struct, frozen=True):
    """The latest measurements of a method on a dataset. `is_all`: whether there are no more."""

    seen: tuple[_Seen, ...]
    is_all: bool


class _Chosen(msgspec.Struct, frozen=True):
    """Other systems, by a measurement of each. `left_out`: how many more there are.

    `cases`: by measurement, a safety case about that system which reads it.
    """

    sources: list[Source]
    left_out: int
    cases: Mapping[str, codecs.Json]
    is_all: bool


_SEEN = msgspec.json.Decoder(_Seen)


class Others:
    """Compares for pages."""

    def __init__(self, query: port.QueryReader, reads: Reading, calculating: Calculating) -> None:
        """Nothing has been found yet."""
        self._query, self._reads, self._calculating = query, reads, calculating
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._found: OrderedDict[tuple[str, str | None], tuple[port.Reached, _Found]] = OrderedDict()

    async def of(self, case: codecs.Json, principal: Principal | None) -> dossiers.OtherSystems | None:
        """The comparison of a case's system with others, as far as a reader may see them. `principal`: None for everybody.

        It never fails because of what other systems are, and says so if it is not ready in time.
        """
        read = reading.measurements_of(case)
        if not read:
            return None
        found: dossiers.OtherSystems | None = None
        with anyio.move_on_after(PAGE_S):
            try:
                found = await self._compared(case, read, principal)
            except (errors.Conflict, errors.RetryLater) as error:
                found = dossiers.OtherSystems(problem=f"{error.message[:1].upper()}{error.message[1:]}.")
        return found or dossiers.OtherSystems(problem=LATE)

    async def _compared(self, case: codecs.Json, read: Sequence[str], principal: Principal | None) -> dossiers.OtherSystems:
        own = await self._own(case, read)
        if own is None:
            return dossiers.OtherSystems(problem="No measurement that this case reads has rows that can be compared.")
        name = terms.primary(own) or ""
        chosen = await self._chosen(own, principal)
        found, cases = chosen.sources, chosen.cases
        sources = await self._reads.whole([own, *found])
        if (wrong := terms.contradiction(sources[0])) is not None:
            return dossiers.OtherSystems(problem=f"The measurement that this case reads cannot be compared: {wrong}.")
        plain = [await self._reads.name(each, principal) for each in sources]
        named = names.distinct(sources, names.of_cases(plain, [case, *(cases.get(each.key) for each in found)]))
        called = dict(zip((each.key for each in sources), named, strict=True))
        why = {each.key: problem for each in sources[1:] if (problem := _problem(sources[0], each, name)) is not None}
        usable = [each for each in sources if each.key not in why]
        pairs: Pairs = tuple((0, place) for place in range(1, len(usable)))
        shown: list[comparisons.ComparedSystem] = []
        compared: list[comparisons.ComparedPair] = []
        if pairs:
            answer = await self._calculating.answer(usable, name, pairs)
            if answer.systems[0].problem is not None:
                return dossiers.OtherSystems(problem=f"The rows of this system cannot be compared: {answer.systems[0].problem}.")
            shown.append(results.system(usable[0], called[usable[0].key], name, answer.systems[0]))
            for (_, place), pair in zip(pairs, answer.pairs, strict=True):
                source, system = usable[place], answer.systems[place]
                if pair.result is None:
                    why[source.key] = system.problem or pair.problem or ""
                    continue
                shown.append(results.system(source, called[source.key], name, system))
                compared.append(results.pair(usable[0].id, source.id, pair.result))
        by_case = {own.key: case["id"], **{key: str(each["id"]) for key, each in cases.items()}}
        declared = terms.score(own, name) or {}
        return dossiers.OtherSystems(
            score=name, title=str(declared.get("title") or name), valence=declared.get("valence") or "neutral", unit=declared.get("unit"),
            minimum=declared.get("minimum"), maximum=declared.get("maximum"),
            systems=[msgspec.structs.replace(each, safetycase=by_case.get(each.measurement)) for each in shown], pairs=compared,
            notCompared=[dossiers.NotCompared(called[key], key, text) for key, text in why.items()],
            leftOut=chosen.left_out, atLeast=not chosen.is_all,
        )  # fmt: skip

    async def _own(self, case: codecs.Json, read: Sequence[str]) -> Source | None:
        """The first measurement of the case that can be compared by its primary score; None if there is none."""
        for each in read:
            document = await self._query.get(_MEASUREMENT.plural, each)
            source = None if document is None else Source(each, codecs.decode_object(document))
            name = None if source is None else terms.primary(source)
            if source is not None and name is not None and terms.unusable(source, name) is None:
                return source
        return None

    async def _chosen(self, own: Source, principal: Principal | None) -> _Chosen:
        """The latest measurement of each other system that the reader may see, itself or through a safety case that reads it."""
        latest: dict[str, list[_Seen]] = {}
        measurements = await self._measurements(str(own.measurement["method"]["id"]), own.scope.get("dataset"))
        for each in measurements.seen:
            system = each.scope.get("inferenceService") or each.id
            if system != own.service and each.id != own.key:
                latest.setdefault(system, []).append(each)
        cases = await self._cases({each.id: each for several in latest.values() for each in several}, principal)
        visible = [seen for several in latest.values() if (seen := [each for each in several if self._sees(each, cases, principal)])]
        shown = visible[: comparisons.MAX_SYSTEMS - 1]
        found = [source for each in shown if (source := await self._source(each)) is not None]
        speaking = {each.key: cases[each.key] for each in found if each.key in cases and _system(cases[each.key]) == each.service}
        return _Chosen(found, len(visible) - len(shown), speaking, measurements.is_all)

    async def _source(self, several: Sequence[_Seen]) -> Source | None:
        """The latest of the measurements that say that they are about one system which agrees with what it reads; otherwise the latest."""
        first: Source | None = None
        for each in several[:MAX_TRIED]:
            document = await self._query.get(_MEASUREMENT.plural, each.id)
            if document is None:
                continue
            (source,) = await self._reads.whole([Source(each.id, codecs.decode_object(document))])
            if terms.contradiction(source) is None:
                return source
            first = first or source
        return first

    def _sees(self, measurement: _Seen, cases: Mapping[str, codecs.Json], principal: Principal | None) -> bool:
        return measurement.id in cases or evidence.may_read(principal, {**msgspec.structs.asdict(measurement), "kind": _MEASUREMENT.name})

    async def _measurements(self, method: str, dataset: str | None) -> _Found:
        """Those that are complete, the latest first. As long as the view does not move, they are looked for once."""
        key = (method, dataset)
        async with self._limiter:
            reached = await self._query.reached()
            known = self._found.get(key)
            if known is not None and known[0] == reached:
                return known[1]
            where = [filters.Equals(_MEASUREMENT.queries["method"], method), filters.Equals(("status",), statuses.COMPLETE)]
            if dataset is not None:
                where.append(filters.Equals(_MEASUREMENT.queries["dataset"], dataset))
            listed: list[_Seen] = []
            size = 0
            async with aclosing(self._batches(_MEASUREMENT.plural, where)) as batches:
                async for batch in batches:
                    listed += map(_SEEN.decode, batch)
                    size += sum(map(len, batch))
            found = _Found(tuple(listed[:MAX_FOUND]), is_all=len(listed) <= MAX_FOUND and size <= MAX_FOUND_BYTES)
            self._found[key] = (reached, found)
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
            return found

    async def _cases(self, measurements: Mapping[str, _Seen], principal: Principal | None) -> Mapping[str, codecs.Json]:
        """By measurement, the complete safety case that reads it and that the reader may see.

        Of several it is one about the same system and of the same account, if there is one, and then the latest: a case has a title, and
        anybody who may use a measurement can make one that reads it.
        """
        if not measurements:
            return {}
        inputs = filters.AnyElement(("inputs",), "entity", tuple(measurements))
        found: dict[str, codecs.Json] = {}
        where: list[filters.Predicate] = [inputs, filters.Equals(("status",), statuses.COMPLETE)]
        async with self._limiter, aclosing(self._batches(_CASE.plural, where)) as batches:
            async for batch in batches:
                for case in map(codecs.decode_object, batch):
                    if evidence.may_read(principal, case):
                        for each in set(reading.measurements_of(case)) & measurements.keys():
                            if each not in found or _fits(case, measurements[each]) > _fits(found[each], measurements[each]):
                                found[each] = case
        return found

    async def _batches(self, collection: str, where: Iterable[filters.Predicate]) -> AsyncGenerator[list[bytes], None]:
        """The latest documents, within the bounds. Each batch is small, so that it can be read between other requests."""
        find = filters.Find(
            collection=collection, where=filters.AllOf(tuple(where)), order_by=("creationTime",), order="descending", limit=MAX_FOUND + 1
        )
        size = 0
        async with aclosing(self._query.find(find)) as batches:
            async for batch in batches:
                yield batch
                size += sum(map(len, batch))
                if size > MAX_FOUND_BYTES:
                    return


def _fits(case: codecs.Json, measurement: _Seen) -> tuple[bool, bool]:
    """How well a case speaks for a measurement that it reads: whether it is about the same system, and of the same account."""
    return _system(case) == measurement.scope.get("inferenceService"), case.get("account") == measurement.account


def _system(case: codecs.Json) -> str | None:
    found: str | None = (case.get("scope") or {}).get("inferenceService")
    return found


def _problem(own: Source, other: Source, name: str) -> str | None:
    """Why another system cannot be compared, as far as entities say; None if it can."""
    differing = [each.partition(":")[0] for each in terms.differences(own, other)]  # details can be of what the reader may not see
    return terms.unusable(other, name) or "; ".join(differing) or None
