"""All kinds of entities, and all custom resource types, collected from the files in `kinds/`. Pure.

To add a kind, add its file there; see ARCHITECTURE.md. Importing this module fails with the name of any file that is malformed.
"""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union

import msgspec

from dyff.entities import analysis, codecs, custom_resource, kind, kinds
from dyff.entities.custom_resource import CustomResource
from dyff.entities.kind import Kind
from dyff.kernel import errors, ids


def load(folder: Iterable[str], package: str) -> tuple[Kind, ...]:
    """Load the rows of all modules in `folder`, ordered by module name.

    Raises:
        Incomplete: a module has no row, or is not named after its kind.
    """
    rows = []
    for name in sorted(each.name for each in pkgutil.iter_modules(folder)):
        place = f"dyff/entities/kinds/{name}.py"
        row = getattr(importlib.import_module(f"{package}.{name}"), "KIND", None)
        if not isinstance(row, Kind):
            raise errors.Incomplete(f"{place} must have a row, KIND = kind.Kind(...)")
        if row.module != name:
            raise errors.Incomplete(f"{place} has the kind {row.name}; it must be called {row.module}.py")
        rows.append(row)
    check(rows)
    return tuple(rows)


def check(rows: Iterable[Kind]) -> None:
    """Check the rules that all rows together must satisfy.

    Raises:
        Incomplete: a name occurs twice, or a row contradicts itself.
    """
    several = list(rows)
    _unique("the plural", (row.plural for row in several))
    _unique("the command", (command for row in several for command in _commands(row)))
    resources = _resources(several)
    for what in ("kind", "plural", "short"):
        _unique(f"the {what} of the custom resource", (getattr(each, what) for each in resources))
    for row in several:
        place = f"dyff/entities/kinds/{row.module}.py"
        for problem in _contradictions(row):
            raise errors.Incomplete(f"{place}: {problem}")


def _commands(row: Kind) -> dict[str, tuple[str, ...]]:
    """The commands that only this kind has, with the fields that they can change."""
    found = {each.command: each.fields for each in row.edits}
    if row.run is not None and row.run.results is not None:
        found[row.run.results.command] = row.run.results.fields
    return found


def _contradictions(row: Kind) -> Iterator[str]:
    """What cannot be right in one row, as sentences."""
    if row.logs is not None and row.logs.pods and row.run is None:
        yield f"a {row.name} has logs, but no `run` whose pods could write any"
    if row.upload is not None:
        yield from _upload_problems(row)
    for name, path in {**row.query, **{name: each.path for name, each in row.elements.items()}}.items():
        if name in kind.COMMON_QUERY:
            yield f"the query parameter {name!r} is one that all kinds have; choose another name"
        if path[0] not in _fields(row.entity):
            yield f"the query parameter {name!r} asks for {'.'.join(path)}, but {row.entity.__name__} has no field {path[0]!r}"
    for missing in sorted(set(row.embedded) - _fields(row.entity)):
        yield f"`embedded` names {missing!r}, but {row.entity.__name__} has no such field"
    for each in row.creation.checks if row.creation is not None else ():
        assert row.creation is not None
        if not _leads(row.creation.request, each.at):
            yield f"the check {each.rule!r} is at {'.'.join(each.at)}, which leads nowhere in {row.creation.request.__name__}"


def _upload_problems(row: Kind) -> Iterator[str]:
    if row.creation is None:
        yield f"a {row.name} has an `upload`, but no `creation` that could declare its files"
    if row.download is None or row.collection != row.plural:
        yield f"what is uploaded to a {row.name} lies in {row.plural}, so `download` must say that folder"
    if row.first is kind.created:
        yield f"a {row.name} has an `upload`, so `first` must say when it begins in the status WaitingForUpload"
    if row.upload is not None and row.upload.contents == "arrow" and "schema" not in _fields(row.entity):
        yield f"the files of a {row.name} are Arrow data, so {row.entity.__name__} needs a field `schema`"


def _fields(struct: type[Any]) -> set[str]:
    return set(struct.__struct_encode_fields__)


def _leads(found: object, at: kind.Path) -> bool:
    """Whether a path leads somewhere, from the type of a struct or from what is inside a list or an optional.

    It looks only at the structs on the way: to describe all that a request can have takes a fifth of a second, at each start.
    """
    if not at:
        return True
    arguments = typing.get_args(found)
    origin = typing.get_origin(found)
    if origin is Annotated:
        return _leads(arguments[0], at)
    if origin in (Union, types.UnionType):
        return any(_leads(each, at) for each in arguments)
    if isinstance(found, type) and issubclass(found, msgspec.Struct):
        return any(field.encode_name == at[0] and _leads(field.type, at[1:]) for field in msgspec.structs.fields(found))
    return at[0] == "*" and origin in (list, tuple) and _leads(arguments[0], at[1:])


def _unique(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise errors.Incomplete(f"dyff/entities/kinds: {what} {twice[0]!r} is there twice")


def _resources(rows: Iterable[Kind]) -> tuple[CustomResource, ...]:
    """Each type once, although several kinds may share it."""
    found: dict[int, CustomResource] = {}
    for each in (*(row.custom_resource for row in rows), analysis.RESOURCE):
        if each is not None:
            found[id(each)] = each
    return tuple(found.values())


ROWS = load(kinds.__path__, kinds.__name__)
BY_KIND = {row.name: row for row in ROWS}
BY_PLURAL = {row.plural: row for row in ROWS}

RESOURCES = _resources(ROWS)
"""All custom resource types that the operator serves."""

RESOURCE_BY_KIND = {each.kind: each for each in RESOURCES}
MADE = tuple(each for each in RESOURCES if any(row.run is not None and row.run.resource is each for row in ROWS))
"""The types that the orchestrator creates."""

PARTS = tuple(each for each in RESOURCES if each.is_part)
"""The types that the operator creates, as parts of others."""

READ_BY_API = tuple(each for each in RESOURCES if each.read_by_api)

EDITS = {command: (row.name, fields) for row in ROWS for command, fields in _commands(row).items()}
"""Maps the name of a command that only one kind has to that kind and the fields that it can change."""


def resource_kind(name: str) -> str | None:
    """The kind of the custom resource that the orchestrator creates for entities of kind `name`; None if it creates none."""
    row = BY_KIND.get(name)
    return row.run.resource.kind if row is not None and row.run is not None else None


def resource_for(entity: codecs.Json) -> codecs.Json:
    """Build the custom resource of an admitted entity.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: its kind has no custom resource, or the entity does not fit its kind.
    """
    run = BY_KIND[entity["kind"]].run
    if run is None:
        raise KeyError(entity["kind"])
    resource = run.resource
    return {
        "apiVersion": custom_resource.GROUP_VERSION,
        "kind": resource.kind,
        "metadata": {
            "name": custom_resource.name(resource, entity["id"]),
            "labels": custom_resource.labels(resource.kind, resource.kind, entity["account"], entity["id"]),
            "finalizers": [custom_resource.FINALIZER],
        },
        "spec": {"id": entity["id"], "account": entity["account"], **run.spec(entity)},
    }


def used(entity: codecs.Json) -> frozenset[str]:
    """IDs of all entities whose stored data a run of `entity` can read.

    If its kind is unknown, or it does not fit its kind, every ID anywhere in it: a superset is safe, a missing ID is not.
    """
    row = BY_KIND.get(entity.get("kind", ""))
    if row is not None:
        try:
            return frozenset([*row.dependencies(entity), *row.uses(entity)])
        except (KeyError, TypeError, AttributeError):
            pass
    return frozenset(_ids_in(entity))


def _ids_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _ids_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _ids_in(each)
    elif isinstance(value, str) and ids.is_id(value):
        yield value
