"""Translates predicates into SQL conditions. Pure.

Nothing that a caller chooses becomes part of a statement's text: values and JSON paths are bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dyff.entities import codecs
from dyff.query import columns, filters

_ALWAYS, _NEVER = "1", "0"


class Condition(msgspec.Struct, frozen=True):
    """An SQL expression and the values of its question marks, in order."""

    text: str
    parameters: tuple[columns.Value, ...] = ()


def compiled(predicate: filters.Predicate, *, indexed: bool) -> Condition:
    """`predicate` as SQL. `indexed`: whether SQLite may choose an index for its columns (a unary plus prevents it)."""
    match predicate:
        case filters.Equals(path, value):
            return _one_of(path, (value,), indexed)
        case filters.OneOf(path, values):
            return _one_of(path, values, indexed)
        case filters.AnyElement(path, key, values):
            return _any_element(path, key, values)
        case filters.AllOf(terms):
            return joined([compiled(term, indexed=indexed) for term in terms], "AND")
        case filters.AnyOf(terms):
            return joined([compiled(term, indexed=indexed) for term in terms], "OR")
    raise TypeError(f"not a predicate: {predicate!r}")


def field(path: filters.Path) -> Condition:
    """The value at `path`, for comparisons and for sorting."""
    column = columns.name(path)
    return Condition(column) if column else Condition("json_extract(body, ?)", (json_path(path),))


def joined(conditions: Sequence[Condition], word: str) -> Condition:
    """Join the conditions with `word`, as a balanced tree, since SQLite limits the depth of an expression."""
    if len(conditions) <= 1:
        return conditions[0] if conditions else Condition(_ALWAYS if word == "AND" else _NEVER)
    middle = len(conditions) // 2
    left, right = joined(conditions[:middle], word), joined(conditions[middle:], word)
    return Condition(f"({left.text} {word} {right.text})", left.parameters + right.parameters)


def json_path(path: filters.Path) -> str:
    """The path in SQLite's notation: each step quoted as a JSON string, so that it is one step whatever it contains."""
    return "$" + "".join("." + codecs.encode(step).decode() for step in path)


def _one_of(path: filters.Path, values: Sequence[filters.Scalar], indexed: bool) -> Condition:
    column = columns.name(path)
    if column is None:
        return _among("body", json_path(path), values)
    found = [] if None not in values else [Condition(f"{column} IS NULL")]
    wanted = tuple(columns.value(value) for value in values if value is not None)
    if wanted:
        compared = "= ?" if len(wanted) == 1 else f"IN ({', '.join('?' * len(wanted))})"
        found.append(Condition(f"{'' if indexed else '+'}{column} {compared}", wanted))
    return joined(found, "OR")


def _among(json: str, path: str, values: Sequence[filters.Scalar]) -> Condition:
    """The field of the JSON text `json` is one of `values`: equal, and of a type for which SQL's equality has the same meaning."""
    texts = tuple(value for value in values if isinstance(value, str))
    found = [_equal(json, path, value) for value in values if not isinstance(value, str)]
    if texts:  # extracted once, however many there are
        marks = ", ".join("?" * len(texts))
        found.append(Condition(f"(json_extract({json}, ?) IN ({marks}) AND json_type({json}, ?) = 'text')", (path, *texts, path)))
    return joined(found, "OR")


def _equal(json: str, path: str, value: float | bool | None) -> Condition:
    if value is None:
        return Condition(f"json_extract({json}, ?) IS NULL", (path,))
    if isinstance(value, bool):
        return Condition(f"json_type({json}, ?) = ?", (path, str(value).lower()))
    return Condition(f"(json_extract({json}, ?) = ? AND json_type({json}, ?) IN ('integer', 'real'))", (path, columns.value(value), path))


def _any_element(path: filters.Path, key: str, values: Sequence[filters.Scalar]) -> Condition:
    """Only elements that are objects are compared: JSON functions would fail on the bare text of the others."""
    wanted = _among("CASE WHEN element.type = 'object' THEN element.value END", json_path((key,)), values)
    text = (
        "(json_type(body, ?) = 'array' AND EXISTS "
        f"(SELECT 1 FROM json_each(body, ?) AS element WHERE element.type = 'object' AND {wanted.text}))"
    )
    return Condition(text, (json_path(path), json_path(path), *wanted.parameters))
