"""What a safety case rests on: which entities, and what each of them is for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dyff.entities import codecs

MAX_ENTITIES = 64
"""Limit of the entities that are looked at for one case. A method has at most 100 inputs and 100 modules; few have more than five."""


class Reference(msgspec.Struct, frozen=True):
    """An entity that another one names. `role`: what it is there, in words."""

    kind: str
    id: str
    role: str


class Gathered(msgspec.Struct, frozen=True):
    """What was read for one case.

    `case`: the safety case. `references`: what it rests on, directly or through others, each once. `entities`: by ID, those of them that
    there are. `readable`: the IDs of those that the reader may see. `digests`: by ID, the SHA-256 of the manifest of the data.
    """

    case: codecs.Json
    references: tuple[Reference, ...] = ()
    entities: Mapping[str, codecs.Json] = {}
    readable: frozenset[str] = frozenset()
    digests: Mapping[str, str] = {}

    def of_kind(self, kind: str) -> list[codecs.Json]:
        """The entities of a kind."""
        return [self.entities[each.id] for each in self.references if each.kind == kind and each.id in self.entities]


def references(entity: codecs.Json) -> Iterator[Reference]:
    """What an entity names, as far as a safety case can rest on it. Fields without the expected form are left out."""
    kind = entity.get("kind")
    if kind in ("SafetyCase", "Measurement"):
        yield from _of_analysis(entity, "this safety case" if kind == "SafetyCase" else "the measurement")
    elif kind == "Evaluation":
        yield from _named("Dataset", entity.get("dataset"), "The items that the system was asked")
        yield from _named("InferenceService", _at(entity, "inferenceSession", "inferenceService", "id"), "The system under test")
    elif kind == "InferenceService":
        yield from _named("Model", _at(entity, "model", "id"), "The model behind the system")
    elif kind == "Method":
        for each in _list(entity, "modules"):
            yield from _named("Module", each, "Code of a method")


def _of_analysis(entity: codecs.Json, whose: str) -> Iterator[Reference]:
    method = _object(entity, "method")
    yield from _named("Method", method.get("id"), f"The method of {whose}")
    scope = _object(entity, "scope")
    yield from _named("Evaluation", scope.get("evaluation"), "The answers of the system")
    yield from _named("InferenceService", scope.get("inferenceService"), "The system under test")
    yield from _named("Dataset", scope.get("dataset"), "The items that the system was asked")
    yield from _named("Model", scope.get("model"), "The model behind the system")
    kinds = {each.get("keyword"): each.get("kind") for each in _list(method, "inputs") if isinstance(each, dict)}
    for each in _list(entity, "inputs"):
        if isinstance(each, dict) and isinstance(found := kinds.get(each.get("keyword")), str):
            yield from _named(found, each.get("entity"), f"Read by {whose}, as {each.get('keyword')}")
    for module in _list(method, "modules"):
        yield from _named("Module", module, f"Code of the method of {whose}")


def recorded_digests(entity: codecs.Json) -> dict[str, str]:
    """By ID, the SHA-256 that a run recorded of what it read."""
    provenance = _object(entity, "provenance")
    read = [each for name in ("inputs", "modules") for each in _list(provenance, name) if isinstance(each, dict)]
    return {each["id"]: each["sha256"] for each in read if isinstance(each.get("id"), str) and isinstance(each.get("sha256"), str)}


def embedded(gathered: Gathered, reference: Reference) -> codecs.Json | None:
    """What the case itself has of an entity, so that its readers may see it; None if nothing."""
    method = _object(gathered.case, "method")
    if method.get("id") == reference.id:
        return method
    return None


def as_used(gathered: Gathered, reference: Reference) -> codecs.Json | None:
    """The entity as a run used it, copied into that run, so that it is known also when the entity itself is gone."""
    for run in (gathered.case, *gathered.of_kind("Measurement")):
        if _at(run, "method", "id") == reference.id:
            return _object(run, "method")
    for evaluation in gathered.of_kind("Evaluation"):
        service = _object(_object(evaluation, "inferenceSession"), "inferenceService")
        if service.get("id") == reference.id:
            return service
        if _at(service, "model", "id") == reference.id:
            return _object(service, "model")
    return gathered.entities.get(reference.id)


def _named(kind: str, entity_id: Any, role: str) -> Iterator[Reference]:
    if isinstance(entity_id, str) and entity_id:
        yield Reference(kind, entity_id, role)


def _object(value: codecs.Json, name: str) -> codecs.Json:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _list(value: codecs.Json, name: str) -> list[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _at(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
