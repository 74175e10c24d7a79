"""Translates the query parameters for scores and curves, which are parts of their entities. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dyff.accounts import grants
from dyff.api import queries
from dyff.api.route import Parameter
from dyff.entities import codecs, kind
from dyff.kernel import errors
from dyff.query import filters

_OF_RESULTS = {
    "id": "the ID of a result, or of the entity that has it",
    "name": "the name of a result",
    "analysis": "the ID of the entity that has it",
}
_COMMON = ("query", "limit")


class OfResults(msgspec.Struct, frozen=True):
    """A query for results. `find`: the entities that can have some. `wanted`: what each result must be, by parameter. `limit`: None for
    no limit.
    """

    find: filters.Find
    wanted: tuple[tuple[str, tuple[filters.Scalar, ...]], ...]
    limit: int | None

    def wants(self, entity: codecs.Json, result: codecs.Json) -> bool:
        """Whether a result of an entity that was found is one of those that were asked for."""
        return all(result.get(name) in values or (name == "id" and entity["id"] in values) for name, values in self.wanted)


def parameters(row: kind.Kind) -> dict[str, Parameter]:
    """The URL's parameters by name."""
    known = queries.parameters(row)
    own = {name: Parameter(meaning) for name, meaning in _OF_RESULTS.items()}
    return {**own, **{name: known[name] for name in row.query}, "query": queries.term_parameter(_keys(row)), "limit": known["limit"]}


def find(row: kind.Kind, field: str, pairs: Iterable[tuple[str, str]], scope: grants.Scope) -> OfResults:
    """Build the query. `field`: of the entity, with the results. `pairs`: the parameters of the URL. `scope`: what the caller may see.

    Raises:
        FixRequest: the JSON in a parameter is wrong, or the query has too many terms.
        InvalidFields: a parameter is unknown, is given twice, or has an invalid value.
    """
    given = queries.once(pairs, [*_keys(row), *_COMMON])
    terms: list[tuple[str, tuple[filters.Scalar, ...]]] = [(key, (given[key],)) for key in _keys(row) if key in given]
    terms += [(key, queries.scalars(key, wanted)) for key, wanted in queries.entries(queries.parsed(given, "query"), _keys(row))]
    if len(terms) > queries.MAX_TERMS:
        raise errors.FixRequest(f"the query has more than {queries.MAX_TERMS} terms")
    where = [queries.visible(scope), filters.Equals(("status",), row.success)]
    where += [_of_entities(row, field, key, values) for key, values in terms]
    wanted = tuple((key, values) for key, values in terms if key in ("id", "name"))
    asked = filters.Find(collection=row.plural, where=filters.AllOf(tuple(where)), order_by=("creationTime",))
    return OfResults(asked, wanted, queries.limit(given.get("limit")))


def _keys(row: kind.Kind) -> list[str]:
    return [*_OF_RESULTS, *row.query]


def _of_entities(row: kind.Kind, field: str, key: str, values: tuple[filters.Scalar, ...]) -> filters.Predicate:
    """What must be true of an entity that has a result that fits."""
    if key == "analysis":
        return filters.OneOf(("id",), values)
    if key == "id":
        return filters.AnyOf((filters.OneOf(("id",), values), filters.AnyElement((field,), "id", values)))
    return filters.AnyElement((field,), "name", values) if key == "name" else filters.OneOf(row.query[key], values)
