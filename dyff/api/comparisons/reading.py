"""Reads what a comparison needs to know of measurements: their entities, what they rest on, and whether datasets have one content."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from dyff.accounts.authority import Principal
from dyff.api import auth, evidence
from dyff.api.comparisons import names, results, terms
from dyff.api.comparisons.terms import Source
from dyff.api.documents import Documents, check_whole, is_whole
from dyff.api.services import Services
from dyff.entities import codecs, registry
from dyff.kernel import errors, suggestions
from dyff.objects import hashing, layout, manifests

MAX_ENTITIES = 32
"""Limit of the entities that are looked at for one measurement."""

_MANIFEST_BYTES = 16 * 2**20
"""Limit of the manifest of a dataset that is compared with another one; a larger one equals none but itself."""

_REMEMBERED = 1000
_MEASUREMENT, _CASE = registry.BY_KIND["Measurement"], registry.BY_KIND["SafetyCase"]


class Reading:
    """Reads for comparisons of one server."""

    def __init__(self, services: Services, documents: Documents) -> None:
        """Nothing is known of any dataset yet."""
        self._documents, self._query, self._objects = documents, services.query, services.objects
        self._contents: OrderedDict[str, str] = OrderedDict()

    async def asked(self, principal: Principal, entity_id: str, score: str | None) -> Source:
        """The measurement with this ID, or the one that the safety case with this ID reads.

        Raises:
            NotFound: there is no such entity.
            Forbidden: the token does not grant `get` on it, or `get` and `data` on the measurement.
            Conflict: the safety case reads no measurement with the score, or several.
        """
        case = await self._query.get(_CASE.plural, entity_id)
        if case is None:
            return Source(entity_id, await self._measurement(principal, entity_id))
        found = codecs.decode_object(await self._documents.seen(principal, _CASE, entity_id, "get"))
        check_whole(found)
        read = [await self._measurement(principal, each) for each in measurements_of(found)]
        fitting = [each for each in read if score is None or any(one.get("name") == score for one in each.get("scores") or [])]
        if len(fitting) == 1:
            return Source(entity_id, fitting[0])
        if not fitting:
            known = sorted({str(one.get("name")) for each in read for one in each.get("scores") or []})
            near = suggestions.nearest(score or "", known)
            meant = "" if near is None else f"; did you mean {near!r}?"
            what = "reads no measurement" if not read else f"reads no measurement with the score {score!r}{meant}"
            raise errors.Conflict(f"the safety case {entity_id} {what}, so it cannot be compared")
        several = ", ".join(each["id"] for each in fitting)
        raise errors.Conflict(f"the safety case {entity_id} reads several measurements, so say which: {several}")

    async def joinable(self, principal: Principal, ids: Sequence[str], name: str | None) -> tuple[list[Source], str]:
        """The measurements of `ids`, see `asked`, with what they rest on, and the name of the score by which they can be compared.

        `name`: of the score; None for the primary one of the first.

        Raises:
            NotFound, Forbidden: see `asked`.
            Conflict: they cannot be compared, as far as their entities say.
        """
        asked = [await self.asked(principal, each, name) for each in ids]
        if len({each.key for each in asked}) < len(asked):
            raise errors.Conflict("two of the IDs lead to the same measurement; compare different ones")
        name = name or terms.primary(asked[0])
        if name is None:
            raise errors.Conflict(f"the measurement {asked[0].key} cannot be compared: it has no score")
        sources = await self.whole(asked)
        results.refuse(terms.problems(sources, name))
        return sources, name

    async def whole(self, sources: Sequence[Source]) -> list[Source]:
        """The same, with what they rest on."""
        entities = [await self._entities(each.measurement) for each in sources]
        found = [msgspec.structs.replace(each, entities=of) for each, of in zip(sources, entities, strict=True)]
        datasets = {each for source in found for each in _datasets(source)}
        contents = {each: await self._content(each) for each in datasets} if len(datasets) > 1 else {}
        return [msgspec.structs.replace(each, contents=contents) for each in found]

    async def names(self, sources: Sequence[Source], principal: Principal | None) -> list[str]:
        """What the systems are called, as far as a reader may see it; each another way. `principal`: None for everybody."""
        return names.distinct(sources, [await self.name(each, principal) for each in sources])

    async def name(self, source: Source, principal: Principal | None) -> str | None:
        """The name of the system; None if it has none, or the reader may not see it."""
        if source.evaluation and evidence.may_read(principal, source.evaluation):
            return terms.embedded_service(source.evaluation).get("name")
        document = None if source.service is None else await self._query.get("inferenceservices", source.service)
        service = None if document is None else codecs.decode_object(document)
        return service.get("name") if service is not None and evidence.may_read(principal, service) else None

    async def _measurement(self, principal: Principal, entity_id: str) -> codecs.Json:
        try:
            found = await self._documents.entity(principal, _MEASUREMENT, entity_id, "get")
        except errors.NotFound as error:
            raise errors.NotFound(f"{error.message}, and no SafetyCase") from error
        auth.require(principal, _MEASUREMENT.plural, "data", account=found["account"], entity=entity_id)
        return found

    async def _entities(self, measurement: codecs.Json) -> Mapping[str, codecs.Json]:
        """By ID, the evaluations, measurements and reports that it rests on, also those that the caller may not see."""
        found: dict[str, codecs.Json] = {}
        waiting = deque(_named(measurement))
        while waiting and len(found) < MAX_ENTITIES:
            kind, entity_id = waiting.popleft()
            if entity_id in found or entity_id == measurement["id"]:
                continue
            document = await self._query.get(registry.BY_KIND[kind].plural, entity_id)
            entity = None if document is None else codecs.decode_object(document)
            if entity is not None and is_whole(entity):
                found[entity_id] = entity
                waiting += _named(entity)
        return found

    async def _content(self, dataset: str) -> str:
        """What identifies the content of a dataset: a digest of its files, or its ID if that is not known."""
        if dataset not in self._contents:
            root = layout.root("datasets", dataset)
            info = await self._objects.head(root + layout.ARTIFACTS)
            if info is None or info.size_bytes > _MANIFEST_BYTES or (manifest := await manifests.read(self._objects, root)) is None:
                return dataset
            listed = sorted((each.path, each.size, sorted(each.digest.items())) for each in manifest.artifacts)
            self._contents[dataset] = f"sha256:{hashing.of(codecs.encode(listed)).sha256}"
            while len(self._contents) > _REMEMBERED:
                self._contents.popitem(last=False)
        return self._contents[dataset]


def measurements_of(case: codecs.Json) -> list[str]:
    """The IDs of the measurements that a safety case reads."""
    kinds = {each.get("keyword"): each.get("kind") for each in (case.get("method") or {}).get("inputs") or []}
    found = [each["entity"] for each in case.get("inputs") or [] if kinds.get(each.get("keyword")) == _MEASUREMENT.name]
    return list(dict.fromkeys(found))


def _named(entity: codecs.Json) -> Iterable[tuple[str, str]]:
    """The kinds and IDs of what an entity was measured of."""
    evaluation = (entity.get("scope") or {}).get("evaluation")
    if isinstance(evaluation, str):
        yield "Evaluation", evaluation
    kinds = {each.get("keyword"): each.get("kind") for each in (entity.get("method") or {}).get("inputs") or []}
    for each in entity.get("inputs") or []:
        if (kind := kinds.get(each.get("keyword"))) in ("Evaluation", "Measurement", "Report"):
            yield kind, each["entity"]


def _datasets(source: Source) -> Iterable[str]:
    """The IDs of the datasets that must have one content."""
    if source.dataset is not None:
        yield source.dataset
    for entity in (source.measurement, *source.entities.values()):
        kinds = {each.get("keyword"): each.get("kind") for each in (entity.get("method") or {}).get("inputs") or []}
        yield from (each["entity"] for each in entity.get("inputs") or [] if kinds.get(each.get("keyword")) == "Dataset")
