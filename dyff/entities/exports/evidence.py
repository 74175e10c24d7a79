"""What an entity rests on: the entities that it names, directly and through others, as far as its reader may see. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dyff.entities import codecs

ANALYSES = ("Measurement", "SafetyCase")
KINDS = (*ANALYSES, "Evaluation")
"""The kinds whose entities a run made, so that they have a provenance."""

MAX_ENTITIES = 64
"""Limit of the entities that are looked at for one export."""

MAX_DEPTH = 8
"""Limit of the steps from the entity that is exported to what it rests on: a measurement of measurements of ..., of an evaluation."""

MAX_FILES = 100
"""The files of one entity that are listed; those of entities with more are in their manifests only."""

ITEMS = "The items that the system was asked"
SYSTEM = "The system under test"
MODEL = "The model behind the system"
_SCOPE = (
    ("evaluation", "Evaluation", "The answers of the system"),
    ("inferenceService", "InferenceService", SYSTEM),
    ("dataset", "Dataset", ITEMS),
    ("model", "Model", MODEL),
)

MANIFEST = "the bytes of the manifest, which lists each file with its SHA-256"
FIELDS = "the fields as the run used them, as JSON in UTF-8 with sorted keys and without white space"


class Named(msgspec.Struct, frozen=True):
    """An entity that another one names. `role`: what it is there, in words."""

    kind: str
    id: str
    role: str = ""


class File(msgspec.Struct, frozen=True):
    """A stored file. `size`: in bytes. `sha256`: in hex; None if an older release stored it."""

    path: str
    size: int
    sha256: str | None = None


class Gathered(msgspec.Struct, frozen=True):
    """What was read for one page or one export.

    `root`: the entity that it is about, which its reader may see. `named`: all others, each once, in the order in which they were found.
    `entities`: by ID, those of them that were read. `readable`: the IDs of those that the reader may see; of the others, only digests may
    be shown. `digests`: by ID, the SHA-256 of the manifest of the data. `files`: by ID, of those that the reader may see and that have few.
    `platforms`: by the ID of an evaluation, the release of Dyff whose step verified its outputs, as their manifest has it.
    `is_all`: whether nothing was left out because of the limits.
    """

    root: codecs.Json
    named: tuple[Named, ...] = ()
    entities: Mapping[str, codecs.Json] = {}
    readable: frozenset[str] = frozenset()
    digests: Mapping[str, str] = {}
    files: Mapping[str, tuple[File, ...]] = {}
    platforms: Mapping[str, codecs.Json] = {}
    is_all: bool = True

    def visible(self, entity_id: str) -> codecs.Json | None:
        """An entity that the reader may see; None if there is none."""
        if entity_id == self.root.get("id"):
            return self.root
        return self.entities.get(entity_id) if entity_id in self.readable else None

    def of_kind(self, kind: str) -> list[codecs.Json]:
        """The visible entities of a kind, the root first."""
        return [each for each in self.read(kind) if each is self.root or each["id"] in self.readable]

    def read(self, kind: str) -> list[codecs.Json]:
        """All entities of a kind that were read, the root first, also those that the reader may not see."""
        found = [self.root, *(self.entities[each.id] for each in self.named if each.id in self.entities)]
        return [each for each in found if each.get("kind") == kind]


def names(entity: codecs.Json) -> Iterator[Named]:
    """The entities that one names, as far as what it has was made of them. The same can be there several times."""
    kind = entity.get("kind")
    if kind in ANALYSES:
        yield from _of_analysis(entity, "this safety case" if kind == "SafetyCase" else "the measurement")
    elif kind == "Evaluation":
        service = service_of(entity)
        yield from _named("Dataset", entity.get("dataset"), ITEMS)
        yield from _named("InferenceService", service.get("id"), SYSTEM)
        yield from _named("Model", object_of(service, "model").get("id"), MODEL)
    elif kind == "InferenceService":
        yield from _named("Model", object_of(entity, "model").get("id"), MODEL)
    elif kind == "Method":
        for each in list_of(entity, "modules"):
            yield from _named("Module", each, "Code of a method")


def _of_analysis(entity: codecs.Json, whose: str) -> Iterator[Named]:
    method = object_of(entity, "method")
    yield from _named("Method", method.get("id"), f"The method of {whose}")
    scope = object_of(entity, "scope")
    for name, kind, role in _SCOPE:
        yield from _named(kind, scope.get(name), role)
    for each in inputs(entity):
        yield from _named(each["kind"], each["entity"], f"Read by {whose}, as its input {each['keyword']}")
    for module in list_of(method, "modules"):
        yield from _named("Module", module, f"Code of the method of {whose}")


def inputs(analysis: codecs.Json) -> list[dict[str, str]]:
    """The inputs of a measurement or a safety case: `keyword`, `kind`, `entity`."""
    kinds = {each.get("keyword"): each.get("kind") for each in list_of(object_of(analysis, "method"), "inputs") if isinstance(each, dict)}
    read = [each for each in list_of(analysis, "inputs") if isinstance(each, dict) and isinstance(each.get("entity"), str)]
    return [
        {"keyword": str(each["keyword"]), "kind": kind, "entity": each["entity"]}
        for each in read
        if isinstance(kind := kinds.get(each.get("keyword")), str)
    ]


def _named(kind: str, entity_id: Any, role: str) -> Iterator[Named]:
    if isinstance(entity_id, str) and entity_id:
        yield Named(kind, entity_id, role)


def service_of(evaluation: codecs.Json) -> codecs.Json:
    """The service as an evaluation used it; empty if it is not known."""
    return object_of(object_of(evaluation, "inferenceSession"), "inferenceService")


def recorded(entity: codecs.Json) -> dict[str, str]:
    """By ID, the SHA-256 of the manifests of what a run read, as it recorded them."""
    provenance = object_of(entity, "provenance")
    read = [each for name in ("inputs", "modules") for each in list_of(provenance, name) if isinstance(each, dict)]
    return {each["id"]: each["sha256"] for each in read if isinstance(each.get("id"), str) and isinstance(each.get("sha256"), str)}


def as_used(gathered: Gathered, kind: str, entity_id: str, *, hidden: bool = False) -> codecs.Json | None:
    """The entity as it was copied into a run that the reader may see; None if it was copied into none.

    `hidden`: also into one that the reader may not see, of which only a digest may be shown.
    """
    runs = gathered.read if hidden else gathered.of_kind
    if kind == "Method":
        for name in ANALYSES:
            for run in runs(name):
                if object_of(run, "method").get("id") == entity_id:
                    return object_of(run, "method")
    if kind in ("InferenceService", "Model"):
        for evaluation in runs("Evaluation"):
            service = service_of(evaluation)
            found = service if kind == "InferenceService" else object_of(service, "model")
            if found.get("id") == entity_id:
                return found
    return None


def fields_digest(entity: codecs.Json) -> str:
    """The SHA-256, in hex, of what `FIELDS` says."""
    return digest_of(codecs.encode(entity))


def digest_of(data: bytes) -> str:
    """The SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def object_of(value: codecs.Json, name: str) -> codecs.Json:
    """The object in a field; empty if there is none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def list_of(value: codecs.Json, name: str) -> list[Any]:
    """The list in a field; empty if there is none."""
    found = value.get(name)
    return found if isinstance(found, list) else []
