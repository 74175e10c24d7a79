"""Translates queries into SQL statements that use an index, so that a page costs the same wherever it starts. Pure.

SQLite has no statistics about our data, so the index is chosen here: by the most selective term of the query. A term with several
alternatives ("one of my accounts, or one of these IDs") becomes one ordered index scan ("walk") per alternative, merged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dyff.entities import registry, statuses
from dyff.query import checked, columns, conditions, filters, projection
from dyff.query.conditions import Condition

_MAX_WALKS = 100
"""With more alternatives, that many walks would be too expensive; then one walk reads every document in order."""


_PAGE = 1000
"""The longest page whose rows SQLite may sort with the small bodies in them. What is longer is sorted without them."""


class Statement(msgspec.Struct, frozen=True):
    """A SELECT of rows (`checked.columns`) in order. Its last parameter, the limit (negative for none), is supplied by the caller."""

    text: str
    parameters: tuple[columns.Value, ...]


class Plan(msgspec.Struct, frozen=True):
    """The statements whose results, concatenated up to `limit` (negative for none), are the answer.

    There are two if a page starts among the documents that have the order field and ends among those that don't,
    or the other way round: in one statement, SQLite could not start in the middle of an index.
    `reads_bodies`: a condition or the order is about a field without a column, so that SQLite reads whole bodies, however large.
    `cut`: what is left of each document.
    """

    collection: str
    statements: tuple[Statement, ...]
    limit: int
    reads_bodies: bool
    cut: projection.Cut


def plan(find: filters.Find) -> Plan:
    """The plan that answers `find`."""
    terms = _flat(find.where)
    walks = _walks(terms, find)
    by = find.order_by or columns.CREATED
    order = conditions.field(by)
    limit = -1 if find.limit is None else max(find.limit, 0)
    statements = tuple(_statement(find, [_where(find.collection, walk, part) for walk in walks], order) for part in _parts(find, order))
    return Plan(find.collection, statements, limit, _reads_bodies_of(by, terms), projection.cut(find.fields))


def counting(find: filters.Find) -> Plan:
    """The plan whose one row is how many documents match, at most the limit. `find` has no `after`."""
    terms = _flat(find.where)
    by = find.order_by or columns.CREATED
    order = conditions.field(by)
    merged = _merged([_where(find.collection, walk, Condition("1")) for walk in _walks(terms, find)], order, "ASC")
    counted = Statement(f"SELECT count(*) FROM ({merged.text})", merged.parameters)
    return Plan(find.collection, (counted,), max(find.limit or 0, 0), _reads_bodies_of(by, terms), projection.cut(None))


def _reads_bodies_of(order: filters.Path, terms: Sequence[filters.Predicate]) -> bool:
    return columns.name(order) is None or any(map(_reads_bodies, terms))


def _statement(find: filters.Find, walks: Sequence[Condition], order: Condition) -> Statement:
    direction = "DESC" if find.order == "descending" else "ASC"
    read = checked.columns(find.collection, known=find.collection in registry.BY_PLURAL)
    if len(walks) == 1 and find.limit is not None and find.limit <= _PAGE:
        where = walks[0]
        text = f"SELECT {read} FROM documents WHERE {where.text} ORDER BY {order.text} {direction}, id {direction} LIMIT ?"
        return Statement(text, (*where.parameters, *order.parameters))
    merged = _merged(walks, order, direction)
    joined = f"({merged.text}) AS found CROSS JOIN documents ON documents.rowid = found.row"
    return Statement(f"SELECT {read} FROM {joined} ORDER BY found.place {direction}, found.id {direction}", merged.parameters)


def _merged(walks: Sequence[Condition], order: Condition, direction: str) -> Statement:
    """The places, IDs and rows of all walks, each once, in order; SQLite reads no more of a walk than the limit needs."""
    walk = f"SELECT {order.text} AS place, id, rowid AS row FROM documents WHERE "
    text = " UNION ".join(walk + each.text for each in walks) + f" ORDER BY place {direction}, id {direction}, row {direction} LIMIT ?"
    return Statement(text, tuple(value for each in walks for value in (*order.parameters, *each.parameters)))


def _where(collection: str, walk: Condition, part: Condition) -> Condition:
    """SQLite only uses an index of a single collection if the collection is a literal in the statement."""
    known = collection in registry.BY_PLURAL
    of = Condition(f"collection = '{collection}'") if known else Condition("collection = ?", (collection,))
    return conditions.joined([of, walk, part], "AND")


def _parts(find: filters.Find, order: Condition) -> list[Condition]:
    """The conditions for everything after `find.after`; their results follow each other. NULL sorts before all values."""
    if find.after is None:
        return [Condition("1")]
    beyond = "<" if find.order == "descending" else ">"
    value, last = columns.value(find.after.value), find.after.id
    if value is None:
        tied = Condition(f"({order.text} IS NULL AND id {beyond} ?)", (*order.parameters, last))
        return [tied, Condition(f"{order.text} IS NOT NULL", order.parameters)] if beyond == ">" else [tied]
    text = f"({order.text} {beyond}= ? AND ({order.text} {beyond} ? OR id {beyond} ?))"
    further = Condition(text, (*order.parameters, value, *order.parameters, value, last))
    return [further, Condition(f"{order.text} IS NULL", order.parameters)] if beyond == "<" else [further]


def _reads_bodies(predicate: filters.Predicate) -> bool:
    match predicate:
        case filters.Equals(path) | filters.OneOf(path):
            return columns.name(path) is None
        case filters.AllOf(terms) | filters.AnyOf(terms):
            return any(map(_reads_bodies, terms))
    return True


def _flat(predicate: filters.Predicate) -> list[filters.Predicate]:
    """The terms that must all match."""
    if isinstance(predicate, filters.AllOf):
        return [each for term in predicate.terms for each in _flat(term)]
    return [predicate]


def _walks(terms: Sequence[filters.Predicate], find: filters.Find) -> list[Condition]:
    """All `terms`, once per alternative of the most selective one; only that one may choose the index."""
    candidates = [(rank, len(found), number, found) for number, (rank, found) in enumerate(map(_alternatives, terms)) if found]
    if not candidates:
        return [conditions.joined([conditions.compiled(term, indexed=False) for term in terms], "AND")]
    _, count, chosen, found = min(candidates, key=lambda each: each[:3])
    others = [conditions.compiled(term, indexed=False) for number, term in enumerate(terms) if number != chosen]
    if count > 1 and find.limit is None:
        return [conditions.joined([conditions.compiled(terms[chosen], indexed=True), *others], "AND")]
    return [conditions.joined([conditions.compiled(each, indexed=True), *others], "AND") for each in found]


def _alternatives(term: filters.Predicate) -> tuple[int, list[filters.Equals]]:
    """The rank of `term` (lower is more selective), and the equalities on indexed columns whose union it is; empty if it is not one."""
    match term:
        case filters.Equals(path, value) if value is not None and columns.name(path):
            return _rank(path, (value,)), [term]
        case filters.OneOf(path, values) if values and None not in values and columns.name(path):
            found = [filters.Equals(path, value) for value in dict.fromkeys(values)]
            return (_rank(path, values), found) if len(found) <= _MAX_WALKS else (0, [])
        case filters.AnyOf(terms) if terms:
            parts = [_alternatives(each) for each in terms]
            found = [each for _, part in parts for each in part]
            return (max(rank for rank, _ in parts), found) if all(part for _, part in parts) and len(found) <= _MAX_WALKS else (0, [])
    return 0, []


def _rank(path: filters.Path, values: Sequence[filters.Scalar]) -> int:
    """IDs are unique; few documents share a key of their kind or a non-terminal status; many share an account or a terminal status."""
    if path == columns.ID:
        return 0
    if path == columns.STATUS:
        return 3 if any(statuses.is_terminal(str(value)) for value in values) else 1
    return 2 if path == columns.ACCOUNT else 1
