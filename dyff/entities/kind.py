"""The structure of a row of the registry: everything that Dyff knows about one kind of entity. Pure.

A row consists of data and pure functions. Routes, checks, storage, custom resources, queries, the SDK and OpenAPI are derived from
it. ARCHITECTURE.md ("Where to change what") lists the other files that a kind may need. The planned kinds, and how each fits this
structure, are in docs/adr/0016-one-row-per-kind.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from dyff.entities import codecs, costs, identity, statuses
from dyff.entities.custom_resource import CustomResource

Path = tuple[str, ...]
"""The keys that lead to a value in nested JSON."""

COMMON_QUERY: dict[str, Path] = {"id": ("id",), "account": ("account",), "status": ("status",), "reason": ("reason",)}
"""Query parameters that all kinds share."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Check(msgspec.Struct, frozen=True):
    """A check of a create request that the API makes in addition to its struct, because it needs more than a pure function.

    `rule`: `schema` (a data schema), `indexed-schema` (one whose rows have `_index_`), `pipeline` (a list of adapters),
    `upload-pipeline` (one that may end in a file upload), `paths` (the paths of the files of one tree), `future` (a time that
    has not passed). `at`: where in the request; `*` stands for each element of a list. Absent and null values pass.
    `when(request)`: whether the rule applies to a request.
    """

    rule: Literal["schema", "indexed-schema", "pipeline", "upload-pipeline", "paths", "future"]
    at: Path
    when: Callable[[Any], bool] = lambda _: True


def _own_fields(request: Any, _: identity.Embedded) -> codecs.Json:
    return identity.spec_of(request)


def _nothing_further(_request: Any, _embedded: identity.Embedded) -> list[identity.Reference]:
    """Of a kind whose request alone says what it refers to."""
    return []


def no_wholes(_request: Any, _embedded: identity.Embedded) -> list[tuple[str, str]]:
    """Of a kind to whose entities embedded forms suffice."""
    return []


def no_references(_: Any) -> list[identity.Reference]:
    """Of a kind whose requests refer to nothing."""
    return []


def _refers_to_nothing(_request: Any, _entity: codecs.Json) -> list[identity.Reference]:
    """Of an edit whose requests refer to nothing."""
    return []


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """How a request creates entities of a kind.

    `request`: the struct of the body. `references(request)`: the entities that must exist and be usable. `further(request, embedded)`:
    more of them, whose kinds only the first ones say. `wholes(request, embedded)`: kinds and IDs of entities of which the spec shows more
    than the embedded fields; those that the caller may not get are left out. `spec(request, embedded)`: the fields of the new entity that
    are specific to its kind; `embedded` has the embedded fields of the references, by ID. `checks`: further checks that the API makes.

    `spec` may raise `errors.InvalidFields` if the request does not fit what it refers to.
    """

    request: type[Any]
    references: Callable[[Any], list[identity.Reference]] = no_references
    further: Callable[[Any, identity.Embedded], list[identity.Reference]] = _nothing_further
    wholes: Callable[[Any, identity.Embedded], list[tuple[str, str]]] = no_wholes
    spec: Callable[[Any, identity.Embedded], codecs.Json] = _own_fields
    checks: tuple[Check, ...] = ()


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A change, other than to labels and documentation, that a kind allows: PATCH on a path below the entity.

    `path`: below the entity, such as `members` or `tasks/{task}/rules`; names in braces are parameters. `summary`: a line for
    people. `request`: the struct of the body. `command`: the name of the command, as in the published schema's commands if it has one.
    `fields`: the top-level fields of the entity that it can change. `references(request, entity)`: the entities that must exist and be
    usable. `attributes(request, entity, parameters, now)`: the payload of the command, a JSON merge patch of those fields. Objects
    merge, so a member that is replaced as a whole says null for what it no longer has; null removes a key, so a field for which null
    means "the default again" is set to its default here. If the change does not fit the entity, it raises ValueError with a sentence
    that names the field, or `errors.InvalidFields`, which also says where it is.

    `command` and `fields` are part of the fold: they never change once they have been released.
    """

    path: str
    summary: str
    request: type[Any]
    command: str
    fields: tuple[str, ...]
    attributes: Callable[[Any, codecs.Json, Mapping[str, str], datetime], codecs.Json]
    references: Callable[[Any, codecs.Json], list[identity.Reference]] = _refers_to_nothing

    @property
    def operation(self) -> str:
        """Its name in OpenAPI and in the client: `edit_` and the words of the path."""
        return "_".join(["edit", *(step for step in self.path.split("/") if not step.startswith("{"))])


class DeclaredFile(msgspec.Struct, frozen=True):
    """A file that the owner of an entity uploads. `md5`: base64. `size`: in bytes; None if it was not declared."""

    path: str
    md5: str
    kind: str | None = None
    size: int | None = None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """Files that an entity accepts. It waits for them in the status `WaitingForUpload`.

    When it is finalized, the orchestrator seals the files, and it becomes `success` or, if they are not as declared, `failure`.

    `files(entity)`: the declared files; empty if this entity takes no upload. `size_bytes(entity)`: their declared sizes together, without
    a look at each as `files` takes; None if this kind declares none. `contents`: what the files must contain; `arrow`:
    rows of the entity's `schema`, each with a unique `_index_`; None for anything.
    """

    files: Callable[[codecs.Json], list[DeclaredFile]]
    size_bytes: Callable[[codecs.Json], int] | None = None
    contents: Literal["arrow"] | None = None


class Download(msgspec.Struct, frozen=True):
    """Files that an entity provides: those in its manifest.

    `collection`: the folder of the object store that holds them. `incomplete`: whether an entity that has failed can have a second
    manifest, of what was completed, for those who ask for it.
    """

    collection: str
    incomplete: bool = False


class Logs(msgspec.Struct, frozen=True):
    """Logs of an entity.

    `stored`: they can be downloaded as a file. `pods`: the pods of its run write them; False if there is only a file.
    """

    stored: bool = False
    pods: bool = True


class Results(msgspec.Struct, frozen=True):
    """What a run computes that becomes a part of its entity: scores, curves, and what ran on what.

    The run stores it as `layout.results`. The orchestrator puts it into the entity, by the command `command`, and completes it: so
    a complete entity always has its results. `fields`: those that the command can change.

    `command` and `fields` are part of the fold: they never change once they have been released.
    """

    command: str
    fields: tuple[str, ...]


class Elements(msgspec.Struct, frozen=True):
    """A query parameter that asks for one of several values in a list of objects: in the field `key` of the elements of `path`."""

    path: Path
    key: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How an entity runs in the cluster: as a custom resource that the orchestrator creates.

    `resource`: its type; several kinds can share one. `spec(entity)`: its spec, without `id` and `account`. `ended`: maps a
    true condition to the entity's final status; the first condition that is true counts. `needed(entity)`: whether this
    entity has anything to run. `cost(entity)`: the quantities of quota that it uses while admitted. `results`: None if a run computes
    nothing but files.
    """

    resource: CustomResource
    spec: Callable[[codecs.Json], codecs.Json]
    ended: Mapping[str, str]
    cost: Callable[[codecs.Json], costs.Cost]
    needed: Callable[[codecs.Json], bool] = lambda _: True
    results: Results | None = None


def created(_: codecs.Json) -> str:
    """The first status of most kinds."""
    return statuses.CREATED


def preconditions(entity: codecs.Json) -> list[str]:
    """IDs of the entities that must have succeeded before the entity can run, whatever its kind."""
    listed = (entity.get("metadata") or {}).get("preconditions") or []
    return [each["id"] for each in listed]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the registry.

    `name`: as in `entity.kind`. `plural`: the name of the resource in grants, and of the collection in the query store. `entity`:
    the struct of the whole entity, for readers. `creation`: None if requests do not create it.
    `embedded`: the fields of it that other entities embed; if empty, only its ID is kept. `first(entity)`: the status at creation;
    `success`, `failure`: the final statuses. `dependencies(entity)`: IDs of the entities that must have succeeded before it can run
    or become `success`. `uses(entity)`: further IDs whose stored data its run can read. `query`: parameter name to path, in
    addition to `COMMON_QUERY`. `elements`: parameters with several values, with commas. `edits`: see `Edit`. `upload`, `download`,
    `logs`, `run`: its optional features; None if absent.
    `resource`: a custom resource that people can create for it but the orchestrator does not; None if there is only `run`'s, or none.
    `documentation`: the response to an edit of its documentation: the Documentation (`separate`), or the entity that includes the
    texts (`entity`), as the published clients expect for newer kinds. It is stored in the entity either way.
    `members`: the field that maps tags to entities, if `ID@tag` is a reference to one of them; None if not.
    `own_routes`: whether it has routes in addition to those derived from this row, or in place of them.
    `page`: the path of the document in its data, which readers see on a page of its own (ADR 42); None if it has none. Its documentation
    then also states a claim. `stays`: whether a deleted entity stays, without its data, and is never forgotten: what was run is counted.
    """

    name: str
    plural: str
    entity: type[identity.Entity]
    creation: Creation | None = None
    embedded: tuple[str, ...] = ()
    first: Callable[[codecs.Json], str] = created
    success: str = statuses.READY
    failure: str = statuses.ERROR
    dependencies: Callable[[codecs.Json], list[str]] = preconditions
    uses: Callable[[codecs.Json], list[str]] = lambda _: []
    query: Mapping[str, Path] = {}
    elements: Mapping[str, Elements] = {}
    edits: tuple[Edit, ...] = ()
    upload: Upload | None = None
    download: Download | None = None
    logs: Logs | None = None
    run: Run | None = None
    resource: CustomResource | None = None
    documentation: Literal["separate", "entity"] = "separate"
    members: str | None = None
    own_routes: bool = False
    page: str | None = None
    stays: bool = False

    @property
    def module(self) -> str:
        """The name of its file in `entities/kinds/`, and in the folders of other layers that have one file per kind."""
        return module(self.name)

    @property
    def queries(self) -> dict[str, Path]:
        """All its query parameters, each with the path that it refers to."""
        return {**COMMON_QUERY, **self.query}

    @property
    def collection(self) -> str:
        """The folder of the object store that holds what its run or its owner stores."""
        return self.download.collection if self.download else self.plural

    @property
    def collections(self) -> tuple[str, ...]:
        """All folders of the object store that can hold data of an entity."""
        return tuple(dict.fromkeys((self.plural, self.collection)))

    @property
    def custom_resource(self) -> CustomResource | None:
        """The type of its custom resource, whether or not the orchestrator creates it; None if it has none."""
        return self.run.resource if self.run else self.resource

    def runs(self, entity: codecs.Json) -> bool:
        """Whether `entity` needs a custom resource; if not, it becomes `success` as soon as its dependencies have succeeded."""
        return self.run is not None and self.run.needed(entity)

    def cost(self, entity: codecs.Json) -> costs.Cost:
        """The quantities of quota that `entity` uses while admitted.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: the entity does not fit its kind.
        """
        return self.run.cost(entity) if self.run is not None and self.run.needed(entity) else {}

    def create(self, request: Any, embedded: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
        """Build the whole new entity from `request`, which is a `creation.request`."""
        if self.creation is None:
            raise TypeError(f"a {self.name} is not created by a request")
        whole = identity.entity(self.name, entity_id, request, now, self.creation.spec(request, embedded))
        whole["status"] = self.first(whole)
        return whole

    def foreign(self, entity: codecs.Json) -> codecs.Json:
        """The fields of `entity` that other entities embed."""
        return {name: entity[name] for name in self.embedded if name in entity}


def module(name: str) -> str:
    """Convert a CamelCase name to that of its file: `InferenceSession` is in `inference_session.py`."""
    return _WORD.sub("_", name).lower()
