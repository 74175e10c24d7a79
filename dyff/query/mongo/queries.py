"""Predicates as filters of MongoDB. Pure.

Nothing that a caller chooses becomes an operator: values are never objects, and keys are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from dyff.kernel import mongo
from dyff.query import columns, filters
from dyff.query.mongo import stored

_TYPES = ("number", "string", "object", "binData", "bool")
"""In MongoDB's order; null, and what is not there, come before them."""


class Search(msgspec.Struct, frozen=True):
    """Filters whose results, one after another and up to the limit, are the answer, each in this order."""

    filters: tuple[mongo.Json, ...]
    order: tuple[tuple[str, Literal[1, -1]], ...]


def search(find: filters.Find) -> Search:
    """How `find` is answered.

    A comparison of MongoDB sees values of the same type only. So where a page does not begin with the first value, its type's
    values come first, then those of the types beyond.
    """
    where = compiled(find.where)
    path = stored.field(find.order_by or columns.CREATED)
    direction: Literal[1, -1] = -1 if find.order == "descending" else 1
    order = tuple((each, direction) for each in dict.fromkeys([path, stored.ID]))
    parts = [{}] if find.after is None else _after(find.after, path, direction)
    return Search(tuple(_all([stored.LIVE, where, part]) for part in parts), order)


def compiled(predicate: filters.Predicate) -> mongo.Json:
    """`predicate` as a filter."""
    match predicate:
        case filters.Equals(path, value):
            return _one_of(path, (value,))
        case filters.OneOf(path, values):
            return _one_of(path, values)
        case filters.AnyElement(path, key, values):
            return _any_element(path, key, values)
        case filters.AllOf(terms):
            return _all([compiled(term) for term in terms])
        case filters.AnyOf(terms):
            return {"$or": [compiled(term) for term in terms]} if terms else mongo.NEVER
    raise TypeError(f"not a predicate: {predicate!r}")


def _all(terms: Sequence[mongo.Json]) -> mongo.Json:
    """All of them, in one level as far as no key is there twice: what fits an index is seen at once."""
    together: dict[str, Any] = {}
    apart: list[mongo.Json] = []
    for term in terms:
        if "$and" in term or together.keys() & term.keys():
            apart.append(term)
        else:
            together.update(term)
    return {**together, "$and": apart} if apart else together


def _one_of(path: filters.Path, values: Sequence[filters.Scalar]) -> mongo.Json:
    field = stored.field(path)
    wanted = list(values) if field == stored.ID else _values(values)
    return {field: {"$in": wanted}} if wanted else mongo.NEVER


def _any_element(path: filters.Path, key: str, values: Sequence[filters.Scalar]) -> mongo.Json:
    """An element that is an array has no fields, but looks as if all of them were null."""
    wanted = _values(values)
    element: dict[str, Any] = {stored.step(key): {"$in": wanted}}
    if None in wanted:
        element[stored.ARRAY] = {"$exists": False}
    return {f"{stored.field(path)}.{stored.ARRAY}": {"$elemMatch": element}} if wanted else mongo.NEVER


def _values(values: Sequence[filters.Scalar]) -> list[Any]:
    """Those that can be there: a number that is too large equals nothing, also not null."""
    found = [(each, stored.value(each)) for each in values]
    return [there for given, there in found if given is None or there is not None]


def _after(after: filters.After, path: str, direction: Literal[1, -1]) -> list[dict[str, Any]]:
    value = after.value if path == stored.ID else stored.value(after.value)
    beyond, types = ("$lt", _TYPES[::-1]) if direction < 0 else ("$gt", _TYPES)
    tied = {stored.ID: {beyond: after.id}}
    if value is None:
        return [{path: None, **tied}, *({path: {"$type": each}} for each in types if direction > 0)]
    further = types[types.index(_type(value)) + 1 :]
    own = {path: {f"{beyond}e": value}, "$or": [{path: {beyond: value}}, tied]}
    return [own, *({path: {"$type": each}} for each in further), *([{path: None}] if direction < 0 else [])]


def _type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case bytes():
            return "binData"
    return "number"
