"""Compiles JSONPath queries. Pure.

Nearly all queries consist only of field names, whole numbers and `*`. These are evaluated directly, which is about ten times
as fast; all others are left to jsonpath-ng. Queries use its basic grammar, which has no filters, no regular expressions and
nothing that could run code.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jsonpath_ng.exceptions
import jsonpath_ng.jsonpath as syntax
import jsonpath_ng.parser

_MISSING = object()
_EVERY = object()
_SHOWN = 200
MAX_LENGTH = 1_000
MAX_DESCENTS = 3
"""How often a query may contain `..`: in the worst case each one multiplies the cost by the depth of the item."""


def every_match(expression: str) -> Callable[[Any], list[Any]]:
    """Return a function from a JSON value to all matches of `expression` in it, in order.

    Raises:
        ValueError: `expression` is not a JSONPath, or exceeds a limit.
    """
    path = _parse(expression)
    steps = _steps(path)
    if steps is None:
        return lambda value: [found.value for found in path.find(value)]
    return lambda value: _follow_all(steps, value)


def only_match(expression: str) -> Callable[[Any], Any]:
    """Return a function from a JSON value to the only match of `expression` in it. It raises ValueError for no match or several.

    Raises:
        ValueError: `expression` is not a JSONPath, or exceeds a limit.
    """
    path = _parse(expression)
    steps = _steps(path)
    if steps is not None and _EVERY not in steps:
        return lambda value: _follow_one(expression, steps, value)
    find = every_match(expression)
    return lambda value: _only(expression, find(value), value)


def root(expression: str) -> str | None:
    """Return the one field of the item at which `expression` begins; None if it can reach others, too, or is not a JSONPath."""
    try:
        steps = _steps(_parse(expression))
    except ValueError:
        return None
    return steps[0] if steps and isinstance(steps[0], str) else None


def shown(value: Any) -> str:
    """Format `value` for people, truncated."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@functools.lru_cache(maxsize=1024)
def _parse(expression: str) -> syntax.JSONPath:
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"the JSONPath {shown(expression)} is longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # for operators that the published implementation has
            path = jsonpath_ng.parser.parse(expression)
    except (jsonpath_ng.exceptions.JSONPathError, ValueError, RecursionError) as error:
        raise ValueError(f"{expression!r} is not a JSONPath such as $.text or $.choices[0].text: {error}") from error
    parts = list(_parts(path))
    if any(type(part).__name__.endswith("Intersect") for part in parts):
        raise ValueError(f"{expression!r} uses &, which can be parsed but not evaluated")
    if any(isinstance(part, syntax.Slice) and part.step == 0 for part in parts):
        raise ValueError(f"{expression!r} has a slice with step 0")
    if sum(isinstance(part, syntax.Descendants) for part in parts) > MAX_DESCENTS:
        raise ValueError(f"{expression!r} has more than {MAX_DESCENTS} times '..': name the fields between them")
    return path


def _parts(path: syntax.JSONPath) -> Iterator[syntax.JSONPath]:
    """Yield `path` and all its parts."""
    yield path
    for side in ("left", "right"):
        if isinstance(inner := getattr(path, side, None), syntax.JSONPath):
            yield from _parts(inner)


def _steps(path: syntax.JSONPath) -> list[Any] | None:
    """The fields, indices and `_EVERY` to follow in turn; None if the query has anything else."""
    match path:
        case syntax.Root() | syntax.This():
            return []
        case syntax.Fields(fields=(str() as field,)):
            return [field]
        case syntax.Index(indices=(int() as index,)):
            return [index]
        case syntax.Wildcard():
            return [_EVERY]
        case syntax.Child(left=left, right=right) if not isinstance(right, syntax.Root):
            before, after = _steps(left), _steps(right)
            return None if before is None or after is None else [*before, *after]
    return None


def _step(value: Any, step: Any) -> Any:
    """Follow one step; returns `_MISSING` if nothing matches."""
    if type(step) is str:
        return value.get(step, _MISSING) if isinstance(value, dict) else _MISSING
    return value[step] if isinstance(value, list | tuple) and -len(value) <= step < len(value) else _MISSING


def _follow_one(expression: str, steps: list[Any], value: Any) -> Any:
    found = value
    for step in steps:
        found = _step(found, step)
        if found is _MISSING:
            return _only(expression, [], value)
    return found


def _follow_all(steps: list[Any], value: Any) -> list[Any]:
    found = [value]
    for step in steps:
        if step is _EVERY:
            found = [child for each in found for child in _children(each)]
        else:
            found = [child for each in found if (child := _step(each, step)) is not _MISSING]
    return found


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _only(expression: str, found: list[Any], value: Any) -> Any:
    if len(found) != 1:
        count = "nothing" if not found else f"{len(found)} values"
        raise ValueError(f"{expression} must match exactly one value and matches {count} in {shown(value)}")
    return found[0]
