"""Finds the measurements of entities, and of a method on a dataset, as far as a token may read them (`get` and `data`)."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import msgspec

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import queries
from dyff.api.comparisons import grouping, reading, terms
from dyff.api.comparisons.grouping import Measured
from dyff.api.comparisons.reading import Reading
from dyff.api.comparisons.terms import Source
from dyff.api.documents import Documents, is_whole
from dyff.api.services import Services
from dyff.entities import codecs, comparables, leaderboards, registry, statuses
from dyff.kernel import errors
from dyff.query import filters, port

MAX_OF_ENTITY = 50
"""Limit of the measurements of one evaluation, the latest ones, that are looked at."""

MAX_JOINED = 10
"""Limit of those of one entity that are looked at closely: whether they can be joined with those of others."""

MAX_OF_METHOD = 500
"""Limit of the measurements of a method on a dataset, the latest ones, among which systems are looked for."""

_AT_ONCE = 2
_EVALUATION, _MEASUREMENT, _CASE = (registry.BY_KIND[name] for name in ("Evaluation", "Measurement", "SafetyCase"))


class _Seen(msgspec.Struct, frozen=True):
    """What choosing among many needs of a measurement."""

    id: str
    scope: dict[str, object] | None = None


_SEEN = msgspec.json.Decoder(_Seen)


class Finding:
    """Finds for one server."""

    def __init__(self, services: Services, documents: Documents, reads: Reading) -> None:
        """Nothing is remembered: what a token may read can change."""
        self._query, self._documents, self._reads = services.query, documents, reads
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def comparables(self, principal: Principal, ids: Sequence[str]) -> comparables.Comparables:
        """By what entities can be compared.

        Raises:
            NotFound: there is no evaluation, safety case or measurement with one of the IDs.
            Forbidden: the token does not grant `get` on it.
        """
        async with self._limiter:
            found = [await self._measured(principal, each) for each in ids]
            latest = {one.entity.id: _by_method(one.sources) for one in found}
            close = grouping.shared(found, MAX_JOINED)
            whole = iter(await self._reads.whole([each for one in close for each in one.sources]))
        close = [msgspec.structs.replace(one, sources=[next(whole) for _ in one.sources]) for one in close]
        made = grouping.choices(close)
        known = {one.entity.id: {**latest[one.entity.id], **_by_method(one.sources)} for one in close}
        why = grouping.not_comparable(close, known, made)
        return comparables.Comparables(entities=[one.entity for one in found], choices=made, notComparable=why)

    async def of_method(self, principal: Principal, method: str, dataset: str) -> tuple[list[Source], int]:
        """The latest measurement of each system, the latest first, and how many systems are left out."""
        where = [
            filters.Equals(_MEASUREMENT.queries["method"], method), filters.Equals(_MEASUREMENT.queries["dataset"], dataset),
            filters.Equals(("status",), statuses.COMPLETE), filters.Equals(("level",), "Instance"),
        ]  # fmt: skip
        async with self._limiter:
            latest: dict[str, str] = {}
            for document in await self._documents_of(principal, where, MAX_OF_METHOD):
                seen = _SEEN.decode(document)
                latest.setdefault(str((seen.scope or {}).get("inferenceService") or seen.id), seen.id)
            chosen = list(latest.values())[: leaderboards.MAX_RANKED]
            read = [await self._query.get(_MEASUREMENT.plural, each) for each in chosen]
            entities = [codecs.decode_object(each) for each in read if each is not None]
            sources = [Source(str(each["id"]), each) for each in entities if is_whole(each)]
            return await self._reads.whole(sources), len(latest) - len(chosen)

    async def _measured(self, principal: Principal, entity_id: str) -> Measured:
        for row in (_EVALUATION, _CASE, _MEASUREMENT):
            if await self._query.get(row.plural, entity_id) is None:
                continue
            entity = await self._documents.entity(principal, row, entity_id, "get")
            found = await self._of(principal, row.name, entity)
            usable = [each for each in found if terms.unusable(each, terms.primary(each) or "") is None]
            name = await self._name(principal, entity, found)
            described = comparables.ComparableEntity(id=entity_id, kind=row.name, name=name, problem=_problem(row.name, found, usable))
            return Measured(described, usable)
        try:
            await self._documents.seen(principal, _EVALUATION, entity_id, "get")
        except errors.NotFound as error:
            raise errors.NotFound(f"{error.message}, no SafetyCase and no Measurement") from error
        raise errors.NotReady(f"whether there is an entity {entity_id} is not known yet; try again")

    async def _of(self, principal: Principal, kind: str, entity: codecs.Json) -> list[Source]:
        """The measurements of an entity that the token may read, the latest first."""
        if kind == _MEASUREMENT.name:
            listed = [str(entity["id"])]
            where: list[filters.Predicate] = [filters.OneOf(("id",), tuple(listed))]
        elif kind == _CASE.name:
            where = [filters.OneOf(("id",), tuple(reading.measurements_of(entity)))]
        else:
            about = filters.AnyElement(("inputs",), "entity", (str(entity["id"]),))
            where = [filters.AnyOf((filters.Equals(("scope", "evaluation"), entity["id"]), about))]
        found = map(codecs.decode_object, await self._documents_of(principal, where, MAX_OF_ENTITY))
        return [Source(str(each["id"]), each) for each in found if is_whole(each)]

    async def _documents_of(self, principal: Principal, where: Sequence[filters.Predicate], limit: int) -> list[bytes]:
        visible = [queries.visible(grants.scope(principal.grants, _MEASUREMENT.plural, function)) for function in ("get", "data")]
        find = filters.Find(
            collection=_MEASUREMENT.plural,
            where=filters.AllOf((*visible, *where)),
            order_by=("creationTime",),
            order="descending",
            limit=limit,
        )
        return await port.found(self._query.find(find))

    async def _name(self, principal: Principal, entity: codecs.Json, sources: Sequence[Source]) -> str:
        title = ((entity.get("metadata") or {}).get("documentation") or {}).get("title")
        if isinstance(title, str) and title.strip():
            return title
        own = terms.embedded_service(entity).get("name")
        if own is None and sources:
            (whole,) = await self._reads.whole(sources[:1])
            own = await self._reads.name(whole, principal)
        return str(own) if own else f"{entity['kind']} {str(entity['id'])[:8]}"


def _by_method(sources: Sequence[Source]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for each in sources:
        found.setdefault(str(each.measurement["method"]["id"]), each)
    return found


def _problem(kind: str, found: Sequence[Source], usable: Sequence[Source]) -> str | None:
    if usable:
        return None
    if not found:
        reads = {_CASE.name: "it reads no measurement", _MEASUREMENT.name: "it is a measurement"}.get(kind, "it has no measurement")
        return f"{reads} that this token may read ('get' and 'data')"
    why = terms.unusable(found[0], terms.primary(found[0]) or "")
    more = f" ({len(found) - 1} other measurements of it cannot be compared either)" if len(found) > 1 else ""
    return f"its measurement {found[0].key} cannot be compared: {why}{more}"
