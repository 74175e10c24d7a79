"""Translates the query parameters of a URL into a `filters.Find`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from dyff.accounts import grants
from dyff.api import json_limits
from dyff.api.route import Parameter
from dyff.entities import codecs, described, kind, labels, statuses
from dyff.kernel import errors, suggestions
from dyff.query import filters

MAX_TERMS = 1000
MAX_LIMIT = 999_999_999
MAX_ELEMENTS_CHARS = 40_000
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_LABELS = {
    "type": "object",
    "propertyNames": {"pattern": described.pattern(labels.KEY_PATTERN), "maxLength": labels.MAX_KEY_CHARS},
    "additionalProperties": {"type": "string"},
}
PARAMETERS = ("query", "labels", "orderBy", "order", "limit", "after")
"""What every query takes in addition to the keys of its kind."""

_ORDERABLE: dict[str, filters.Path] = {"creationTime": ("creationTime",), "lastTransitionTime": ("lastTransitionTime",)}
_STATUS: filters.Path = ("status",)
_NUMBER = re.compile(r"[0-9]{1,9}")


def parameters(row: kind.Kind) -> dict[str, Parameter]:
    """The URL's parameters by name."""
    terms = {key: _or_list(_value(path)) for key, path in row.queries.items()}
    ordered = sorted({**row.queries, **_ORDERABLE})
    last = {"type": "array", "prefixItems": [_SCALAR, {"type": "string"}], "minItems": 2, "maxItems": 2}
    return {
        **{key: _parameter(path) for key, path in row.queries.items()},
        **{key: _elements(each) for key, each in row.elements.items()},
        "query": _query_parameter({**terms, "labels": _or_null(_LABELS)}),
        "labels": Parameter("labels that must all match", _or_null(_LABELS), is_json=True),
        "orderBy": Parameter("sort by this key", {"type": "string", "enum": ordered}),
        "order": Parameter("ignored without orderBy", {"type": "string", "enum": ["ascending", "descending"], "default": "ascending"}),
        "limit": Parameter("return at most this many", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
        "after": Parameter("value of orderBy, and id, of the last result seen; needs orderBy", _or_null(last), is_json=True),
    }


def term_parameter(keys: Iterable[str]) -> Parameter:
    """The parameter `query` for what has these keys, each with values of any kind."""
    return _query_parameter(dict.fromkeys(keys, _or_list(_SCALAR)))


def _query_parameter(properties: codecs.Json) -> Parameter:
    """`properties`: schemas by key."""
    query = {"type": "object", "properties": properties, "additionalProperties": False}
    words = "keys and values, or lists of values (one of them), that must all match; or a list of such objects"
    return Parameter(words, _or_null({"anyOf": [query, {"type": "array", "items": query}]}), is_json=True)


def _parameter(path: filters.Path) -> Parameter:
    about = f"equals {'.'.join(path)}"
    return Parameter(about, {"type": "string", "enum": list(statuses.PUBLISHED)}) if path == _STATUS else Parameter(about)


def _elements(asked: kind.Elements) -> Parameter:
    about = f"one of {'.'.join((*asked.path, asked.key))} is one of these, with commas between them"
    return Parameter(about, {"type": "string", "maxLength": MAX_ELEMENTS_CHARS})


def _value(path: filters.Path) -> codecs.Json:
    return {"enum": [*statuses.PUBLISHED, None]} if path == _STATUS else _SCALAR


def _or_list(schema: codecs.Json) -> codecs.Json:
    return {"anyOf": [schema, {"type": "array", "items": schema, "maxItems": MAX_TERMS}]}


def _or_null(schema: codecs.Json) -> codecs.Json:
    return {"anyOf": [schema, {"type": "null"}]}


def find(row: kind.Kind, pairs: Iterable[tuple[str, str]], scope: grants.Scope, further: Iterable[str] = ()) -> filters.Find:
    """Build the query. `pairs`: the parameters of the URL. `scope`: what the caller may see. `further`: other parameters, for messages.

    Raises:
        FixRequest: the JSON in a parameter is wrong, or the query has too many terms.
        InvalidFields: a parameter is unknown, is given twice, or has an invalid value.
    """
    given = once(pairs, [*row.queries, *row.elements, *PARAMETERS, *further])
    order_by = _order_by(row, given.get("orderBy"))
    terms = [
        visible(scope),
        *_equal(row, given),
        *_among(row, given),
        *_labels(parsed(given, "labels")),
        *_query(row, parsed(given, "query")),
    ]
    if len(terms) > MAX_TERMS:
        raise errors.FixRequest(f"the query has more than {MAX_TERMS} terms")
    return filters.Find(
        collection=row.plural,
        where=filters.AllOf(tuple(terms)),
        order_by=order_by,
        order=_order(given.get("order")),
        limit=limit(given.get("limit")),
        after=_after(parsed(given, "after"), order_by),
    )


def visible(scope: grants.Scope) -> filters.Predicate:
    """What a caller may see."""
    if scope.everything:
        return filters.AllOf()
    return filters.AnyOf((filters.OneOf(("account",), scope.accounts), filters.OneOf(("id",), scope.entities)))


def once(pairs: Iterable[tuple[str, str]], known: list[str]) -> dict[str, str]:
    """The parameters by name, each of which must be known and there once."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            text = f"the parameter is not known; {suggestions.hint(name, sorted(known))}"
            raise errors.InvalidFields(errors.Problem(("query", name), text, "extra_forbidden"))
        if name in given:
            raise errors.InvalidFields(
                errors.Problem(("query", name), "the parameter is there twice; 'query' can ask for one of several values")
            )
        given[name] = value
    return given


def _equal(row: kind.Kind, given: dict[str, str]) -> list[filters.Predicate]:
    found = [(key, path) for key, path in row.queries.items() if key in given]
    for key, path in found:
        if problem := _never_found(path, given[key]):
            raise errors.InvalidFields(errors.Problem(("query", key), problem, "enum"))
    return [filters.Equals(path, given[key]) for key, path in found]


def _among(row: kind.Kind, given: dict[str, str]) -> list[filters.Predicate]:
    found: list[filters.Predicate] = []
    for key, each in row.elements.items():
        if key in given:
            values = tuple(dict.fromkeys(filter(None, map(str.strip, given[key].split(",")))))
            if len(values) > MAX_TERMS or len(given[key]) > MAX_ELEMENTS_CHARS:
                text = f"can have at most {MAX_TERMS} values and {MAX_ELEMENTS_CHARS} characters; ask in parts"
                raise errors.InvalidFields(errors.Problem(("query", key), text))
            found.append(filters.AnyElement(each.path, each.key, values))
    return found


def _never_found(path: filters.Path, wanted: Any) -> str | None:
    """Why no entity can have this value; None if one can. An empty list of entities would look as if there were none yet."""
    if path != _STATUS or wanted is None or wanted in statuses.PUBLISHED:
        return None
    return f"{suggestions.shown(str(wanted))!r} is no status; {suggestions.hint(str(wanted), statuses.ALL)}"


def parsed(given: dict[str, str], name: str) -> Any:
    """The JSON in a parameter; None if it is absent."""
    text = given.get(name)
    if text is None:
        return None
    if problem := json_limits.problem(text.encode()):
        raise errors.FixRequest(f"the JSON of the parameter {name!r} {problem}")
    try:
        return codecs.decode(text)
    except ValueError as error:
        raise errors.FixRequest(f"the parameter {name!r} is not valid JSON: {error}") from error


def _labels(value: Any) -> list[filters.Predicate]:
    if value is None:
        return []
    wrong = _wrong_label(value)
    if wrong is not None:
        raise errors.FixRequest(f'labels must be a JSON object of label keys and strings, for instance {{"purpose": "test"}}{wrong}')
    return [filters.Equals(("labels", key), each) for key, each in value.items()]


def _wrong_label(value: Any) -> str | None:
    """The end of a sentence that says which label is wrong; None if none is."""
    if not isinstance(value, dict):
        return ""
    for key, each in value.items():
        if not isinstance(each, str):
            return f"; the value of {suggestions.shown(key)!r} is no string"
        try:
            msgspec.convert(key, labels.Key)
        except msgspec.ValidationError:
            return f"; {suggestions.shown(key)!r} is no label key"
    return None


def _query(row: kind.Kind, value: Any) -> list[filters.Predicate]:
    terms: list[filters.Predicate] = []
    for key, wanted in entries(value, [*row.queries, "labels"]):
        terms += _labels(wanted) if key == "labels" else [_term(row, key, wanted)]
    return terms


def entries(value: Any, known: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The keys of the parameter `query`, each with what it must be. `value`: its JSON; None if it is absent.

    Raises:
        FixRequest: it has another form, or a key that is not known.
    """
    names = sorted(known)
    for each in value if isinstance(value, list) else [] if value is None else [value]:
        if not isinstance(each, dict):
            raise errors.FixRequest("query must be a JSON object of keys and values, or a list of such objects")
        for key in each:
            if key not in names:
                hint = suggestions.hint(key, names)
                raise errors.FixRequest(f"query: the key {suggestions.shown(key)!r} is not known; {hint}")
        yield from each.items()


def _term(row: kind.Kind, key: str, wanted: Any) -> filters.Predicate:
    path = row.queries[key]
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if _is_scalar(each) and (problem := _never_found(path, each)):
            raise errors.FixRequest(f"query: the value for {key!r}: {problem}")
    if isinstance(wanted, list):
        return filters.OneOf(path, scalars(key, wanted))
    return filters.Equals(path, scalars(key, wanted)[0])


def scalars(key: str, wanted: Any) -> tuple[filters.Scalar, ...]:
    """The values that `query` has for a key: one, or a list of which one must match."""
    if isinstance(wanted, list):
        if len(wanted) > MAX_TERMS or not all(_is_scalar(each) for each in wanted):
            raise errors.FixRequest(f"query: the list for {key!r} must have at most {MAX_TERMS} strings, numbers, true, false or null")
        return tuple(wanted)
    if not _is_scalar(wanted):
        raise errors.FixRequest(f"query: the value for {key!r} must be a string, a number, true, false, null or a list of these")
    return (wanted,)


def _is_scalar(value: Any) -> bool:
    """Whether it is null or a value that databases can compare. An integer must fit in 64 bits."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str | float)


def _order_by(row: kind.Kind, key: str | None) -> filters.Path | None:
    if key is None:
        return None
    known = {**row.queries, **_ORDERABLE}
    if key not in known:
        raise errors.InvalidFields(errors.Problem(("query", "orderBy"), f"must be one of {', '.join(sorted(known))}"))
    return known[key]


def _order(value: str | None) -> Literal["ascending", "descending"]:
    if value in (None, "ascending"):
        return "ascending"
    if value == "descending":
        return "descending"
    raise errors.InvalidFields(errors.Problem(("query", "order"), "must be ascending or descending"))


def limit(value: str | None) -> int | None:
    """The limit of a query; None for none."""
    if value is None:
        return None
    if not _NUMBER.fullmatch(value) or int(value) < 1:
        raise errors.InvalidFields(errors.Problem(("query", "limit"), f"must be a whole number from 1 to {MAX_LIMIT}"))
    return int(value)


def _after(value: Any, order_by: filters.Path | None) -> filters.After | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not _is_scalar(value[0]) or not isinstance(value[1], str):
        raise errors.FixRequest("after must be the JSON list [value of orderBy, id] of the last result")
    if order_by is None:
        raise errors.FixRequest("after needs orderBy")
    return filters.After(value[0], value[1])
