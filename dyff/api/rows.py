"""Rows: entities of which a list only carries some fields. Which fields there are, and what a request may ask for. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import msgspec
import msgspec.inspect

from dyff.accounts import grants
from dyff.api import queries
from dyff.api.route import Parameter
from dyff.entities import kind, registry
from dyff.kernel import errors, suggestions
from dyff.query import columns, filters

MAX_FIELDS = 50
MAX_CHARS = 4000
NAME = "fields"
_ALWAYS: tuple[filters.Path, ...] = (columns.ID,)
_LISTED: tuple[filters.Path, ...] = (
    ("id",), ("kind",), ("account",), ("name",), ("status",), ("reason",), ("creationTime",), ("lastTransitionTime",), ("labels",),
    ("metadata", "documentation", "title"),
)  # fmt: skip


def listed(row: kind.Kind) -> tuple[filters.Path, ...]:
    """The fields of a row for which nothing else was asked: what all kinds share, and what one can ask this kind for."""
    return _listed(row.plural)


@functools.cache
def _listed(plural: str) -> tuple[filters.Path, ...]:
    row = registry.BY_PLURAL[plural]
    found = dict.fromkeys((*_LISTED, *row.queries.values()))
    return tuple(path for path in found if _problem(row, path) is None)


def parameters(row: kind.Kind) -> dict[str, Parameter]:
    """The URL's parameters by name: those of a query, and the fields."""
    words = (
        "the fields of each row, with commas; dots lead into objects, as in `metadata.documentation.title`. `id` and the field of orderBy "
        "are always there. Without it: what all kinds share, and the keys of the kind"
    )
    return {**queries.parameters(row), NAME: Parameter(words, {"type": "string", "minLength": 1, "maxLength": MAX_CHARS})}


def find(row: kind.Kind, pairs: Iterable[tuple[str, str]], scope: grants.Scope) -> filters.Find:
    """Build the query of rows. `pairs`, `scope`: as `queries.find` has them.

    Raises:
        FixRequest: the JSON in a parameter is wrong, or the query has too many terms.
        InvalidFields: a parameter or a field is unknown, is given twice, or has an invalid value.
    """
    given = list(pairs)
    asked = [value for name, value in given if name == NAME]
    if len(asked) > 1:
        raise _refused("the parameter is there twice; put commas between the fields")
    found = queries.find(row, [each for each in given if each[0] != NAME], scope, further=(NAME,))
    fields = _fields(row, asked[0]) if asked else listed(row)
    order = (found.order_by,) if found.order_by else ()
    return msgspec.structs.replace(found, fields=tuple(dict.fromkeys((*_ALWAYS, *fields, *order))))


def _fields(row: kind.Kind, text: str) -> list[filters.Path]:
    names = list(dict.fromkeys(each.strip() for each in text.split(",")))
    if len(names) > MAX_FIELDS or len(text) > MAX_CHARS:
        raise _refused(f"can have at most {MAX_FIELDS} fields and {MAX_CHARS} characters")
    paths = [tuple(name.split(".")) for name in names]
    for path in paths:
        if problem := _problem(row, path):
            raise _refused(problem)
    return paths


def _refused(text: str) -> errors.InvalidFields:
    return errors.InvalidFields(errors.Problem(("query", NAME), text))


def _problem(row: kind.Kind, path: filters.Path) -> str | None:
    """Why entities of the kind have no field at `path`; None if they can have one."""
    types = [_type(row.entity)]
    for number, step in enumerate(path):
        inner = [each for one in types for each in _alternatives(one)]
        if any(isinstance(each, msgspec.inspect.AnyType | msgspec.inspect.DictType | msgspec.inspect.RawType) for each in inner):
            return None
        fields = {each.encode_name: each.type for one in inner if isinstance(one, msgspec.inspect.StructType) for each in one.fields}
        if step not in fields:
            shown = suggestions.shown(".".join(path))
            if not fields:
                return f"{shown!r}: {suggestions.shown('.'.join(path[:number]))!r} is no object; ask for that"
            return f"{row.plural} have no field {shown!r}; {suggestions.hint(step, sorted(fields))}"
        types = [fields[step]]
    return None


@functools.cache
def _type(form: type[Any]) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(form)


def _alternatives(given: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    """The types that a value can have."""
    if isinstance(given, msgspec.inspect.Metadata):
        return _alternatives(given.type)
    if isinstance(given, msgspec.inspect.UnionType):
        return [each for one in given.types for each in _alternatives(one)]
    return [given]
