"""The form of a row of the registry: everything that Dyff knows about one kind of entity. Pure.

A row is data and pure functions. Routes, checks, storage, custom resources, queries, the SDK and OpenAPI follow from it; which
other files a kind may need is in ARCHITECTURE.md ("Where to change what"). The planned kinds and how each fits this form are in
docs/adr/0016-one-row-per-kind.md.
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
"""The names that lead to a value inside JSON."""

COMMON_QUERY: dict[str, Path] = {"id": ("id",), "account": ("account",), "status": ("status",), "reason": ("reason",)}
"""Query parameters that all kinds share."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Check(msgspec.Struct, frozen=True):
    """Something that the api checks in a create request besides its struct, because it needs more than a pure function.

    `rule`: `schema` (a data schema), `indexed-schema` (one whose rows have `_index_`), `pipeline` (a list of adapters),
    `upload-pipeline` (one that may end in a file upload), `paths` (the paths of the files of one tree), `future` (a time that
    has not passed). `at`: where in the request; `*` stands for each element of a list. What is absent or null is fine.
    """

    rule: Literal["schema", "indexed-schema", "pipeline", "upload-pipeline", "paths", "future"]
    at: Path


def _own_fields(request: Any, _: identity.Embedded) -> codecs.Json:
    return identity.spec_of(request)


def no_references(_: Any) -> list[identity.Reference]:
    """Of a kind whose requests refer to nothing."""
    return []


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """How entities of a kind are created by a request.

    `request`: the struct of the body. `references(request)`: the entities that must exist and be usable. `spec(request, embedded)`:
    the fields of the new entity that are its kind's own; `embedded` has what is embedded of the references, by ID.
    `checks`: what the api checks besides.
    """

    request: type[Any]
    references: Callable[[Any], list[identity.Reference]] = no_references
    spec: Callable[[Any, identity.Embedded], codecs.Json] = _own_fields
    checks: tuple[Check, ...] = ()


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A change that a kind allows besides those of labels and documentation: PATCH on a path below the entity.

    `path`: below the entity, such as `members` or `tasks/{task}/rules`; names in braces are parameters. `summary`: a line for
    people. `request`: the struct of the body. `command`: the published name of the command. `fields`: the top-level
    fields of the entity that it may change. `attributes(request, entity, parameters, now)`: what the command says, a JSON merge
    patch of those fields; null removes a key, so a field for which null means "the default again" is set to its default here.
    It raises ValueError, with a sentence that names the field, where the change does not fit the entity.

    `command` and `fields` are part of the fold: they never change once a release has them.
    """

    path: str
    summary: str
    request: type[Any]
    command: str
    fields: tuple[str, ...]
    attributes: Callable[[Any, codecs.Json, Mapping[str, str], datetime], codecs.Json]

    @property
    def operation(self) -> str:
        """What the API's description and the client call it: `edit_` and the words of the path."""
        return "_".join(["edit", *(step for step in self.path.split("/") if not step.startswith("{"))])


class DeclaredFile(msgspec.Struct, frozen=True):
    """A file that the owner of an entity uploads. `md5`: base64. `size`: in bytes, None: it was not declared."""

    path: str
    md5: str
    kind: str | None = None
    size: int | None = None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """Files that an entity accepts. It waits for them in the status `WaitingForUpload` and is `success` after finalize.

    `files(entity)`: those that were declared; none: this entity takes no upload. `contents`: what the files must hold; `arrow`:
    rows of the entity's `schema`, each with its own `_index_`; None: anything.
    """

    files: Callable[[codecs.Json], list[DeclaredFile]]
    contents: Literal["arrow"] | None = None


class Download(msgspec.Struct, frozen=True):
    """Files that an entity provides: what its manifest lists. `collection`: the folder of the object store in which they are."""

    collection: str


class Logs(msgspec.Struct, frozen=True):
    """What the pods of an entity's run wrote. `stored`: it can also be fetched as a file."""

    stored: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How an entity is run in the cluster: as a custom resource that the orchestrator makes.

    `resource`: its type; several kinds may share one. `spec(entity)`: its spec, without `id` and `account`. `ended`: from a
    condition that is true to the status that the entity ends in; the first that applies counts. `needed(entity)`: whether this
    entity has anything to run. `cost(entity)`: quantities of quota that it uses while admitted.
    """

    resource: CustomResource
    spec: Callable[[codecs.Json], codecs.Json]
    ended: Mapping[str, str]
    cost: Callable[[codecs.Json], costs.Cost]
    needed: Callable[[codecs.Json], bool] = lambda _: True


def preconditions(entity: codecs.Json) -> list[str]:
    """IDs of what must have succeeded before the entity may run, whatever its kind."""
    listed = (entity.get("metadata") or {}).get("preconditions") or []
    return [each["id"] for each in listed]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the registry.

    `name`: as in `entity.kind`. `plural`: the name of the resource in grants, and the collection in the query store. `entity`:
    the struct of the whole entity as readers see it. `creation`: None: requests do not create it.
    `embedded`: the fields that other entities embed of it; empty: only its ID is kept. `first(entity)`: the status at creation;
    `success`, `failure`: the statuses in which it ends. `dependencies(entity)`: IDs of what must have succeeded before it may run
    or become `success`. `uses(entity)`: IDs whose stored data its run may read besides those. `query`: parameter name to path,
    besides `COMMON_QUERY`. `edits`: see `Edit`. `upload`, `download`, `logs`, `run`: what it can do besides; None: it cannot.
    `resource`: a custom resource that people may create for it but the orchestrator does not; None: there is none besides `run`'s.
    `documentation`: what an edit of its documentation answers: the Documentation (`separate`), or the entity with the texts
    inside (`entity`), as the published clients have it for newer kinds. It is stored in the entity either way.
    `own_routes`: whether it has routes besides those that follow from this row, or in place of them.
    """

    name: str
    plural: str
    entity: type[identity.Entity]
    creation: Creation | None = None
    embedded: tuple[str, ...] = ()
    first: Callable[[codecs.Json], str] = lambda _: statuses.CREATED
    success: str = statuses.READY
    failure: str = statuses.ERROR
    dependencies: Callable[[codecs.Json], list[str]] = preconditions
    uses: Callable[[codecs.Json], list[str]] = lambda _: []
    query: Mapping[str, Path] = {}
    edits: tuple[Edit, ...] = ()
    upload: Upload | None = None
    download: Download | None = None
    logs: Logs | None = None
    run: Run | None = None
    resource: CustomResource | None = None
    documentation: Literal["separate", "entity"] = "separate"
    own_routes: bool = False

    @property
    def module(self) -> str:
        """The name of its file in `entities/kinds/`, and of those in the folders of other layers that have one for each kind."""
        return module(self.name)

    @property
    def queries(self) -> dict[str, Path]:
        """All its query parameters, each with the path that it asks about."""
        return {**COMMON_QUERY, **self.query}

    @property
    def collection(self) -> str:
        """The folder of the object store that has what its run, or its owner, stores."""
        return self.download.collection if self.download else self.plural

    @property
    def collections(self) -> tuple[str, ...]:
        """All folders of the object store in which something of an entity may be."""
        return tuple(dict.fromkeys((self.plural, self.collection)))

    @property
    def custom_resource(self) -> CustomResource | None:
        """The type of its custom resource, whoever makes it; None: it has none."""
        return self.run.resource if self.run else self.resource

    def runs(self, entity: codecs.Json) -> bool:
        """Whether `entity` needs a custom resource; if not it becomes `success` as soon as its dependencies have succeeded."""
        return self.run is not None and self.run.needed(entity)

    def cost(self, entity: codecs.Json) -> costs.Cost:
        """Quantities of quota that `entity` uses while admitted.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: the entity is not as its kind must be.
        """
        return self.run.cost(entity) if self.run is not None and self.run.needed(entity) else {}

    def create(self, request: Any, embedded: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
        """The whole new entity that `request`, of `creation.request`, becomes."""
        if self.creation is None:
            raise TypeError(f"a {self.name} is not created by a request")
        whole = identity.entity(self.name, entity_id, request, now, self.creation.spec(request, embedded))
        whole["status"] = self.first(whole)
        return whole

    def foreign(self, entity: codecs.Json) -> codecs.Json:
        """What others embed of `entity`."""
        return {name: entity[name] for name in self.embedded if name in entity}


def module(name: str) -> str:
    """A name in CamelCase as that of a file: `InferenceSession` is in `inference_session.py`."""
    return _WORD.sub("_", name).lower()
