"""Translates predicates into MongoDB filters. Pure.

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
"""In MongoDB's sort order; null and absent values come before them."""


class Search(msgspec.Struct, frozen=True):
    """The results of the filters, concatenated up to the limit, are the answer, each sorted in this order."""

    filters: tuple[mongo.Json, ...]
    order: tuple[tuple[str, Literal[1, -1]], ...]


def search(find: filters.Find) -> Search:
    """The search that answers `find`.

    MongoDB's comparisons only match values of the same type. So if a page does not start with the first value, the values of
    its type come first, then those of the types after it.
    """
    where = compiled(find.where)
    path = stored.field(find.order_by or columns.CREATED)
    direction: Literal[1, -1] = -1 if find.order == "descending" else 1
    order = tuple((each, direction) for each in dict.fromkeys([path, stored.ID]))
    parts = [{}] if find.after is None else _after(find.after, path, direction)
    return Search(tuple(_all([stored.LIVE, where, part]) for part in parts), order)


def counting(find: filters.Find) -> list[mongo.Json]:
    """The pipeline that counts what matches, up to the limit. It gives nothing if none does."""
    limit = [{"$limit": find.limit}] if find.limit and find.limit > 0 else [{"$match": mongo.NEVER}]
    return [{"$match": _all([stored.LIVE, compiled(find.where)])}, *limit, {"$count": "count"}]


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
    """Combine the terms, on one level unless a key occurs twice, so that MongoDB can match them with an index."""
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
    """Excludes elements that are arrays: they have no fields, and would look as if all their fields were null."""
    wanted = _values(values)
    element: dict[str, Any] = {stored.step(key): {"$in": wanted}}
    if None in wanted:
        element[stored.ARRAY] = {"$exists": False}
    return {f"{stored.field(path)}.{stored.ARRAY}": {"$elemMatch": element}} if wanted else mongo.NEVER


def _values(values: Sequence[filters.Scalar]) -> list[Any]:
    """The values that can be stored: a number that is too large equals nothing, not even null."""
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
