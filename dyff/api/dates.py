"""Refuses times in requests with which no calculation is possible: those that, expressed in UTC, are outside of the years 1 to 9999."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from dyff.kernel import errors

Loc = tuple[str | int, ...]
Step = Callable[[Any, Loc], Iterable[tuple[Loc, Any]]]
"""From a value and its location to the values one level below it."""

FIX = "must be a time between the years 1 and 9999 in UTC, such as 2026-01-31T12:00:00Z"


def check(request: Any, type_: Any) -> None:
    """Check all times in a decoded request, wherever its type has one. A time without a zone is taken to be in UTC.

    Raises:
        InvalidFields: lists those that cannot be used.
    """
    paths = _paths(type_)
    if paths:
        problems = [errors.Problem(loc, FIX) for path in paths for loc, time in _values(request, path, ("body",)) if not _is_usable(time)]
        if problems:
            raise errors.InvalidFields(*problems)


def _is_usable(time: Any) -> bool:
    if not isinstance(time, datetime) or time.tzinfo is None:
        return True
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _values(value: Any, path: tuple[Step, ...], loc: Loc) -> Iterator[tuple[Loc, Any]]:
    if not path:
        yield loc, value
        return
    for below, each in path[0](value, loc):
        yield from _values(each, path[1:], below)


@lru_cache(1000)
def _paths(type_: Any) -> tuple[tuple[Step, ...], ...]:
    """The paths to all times in values of a type, found once for each type of request."""
    return tuple(_found(type_, ()))


def _found(type_: Any, above: tuple[Any, ...]) -> Iterator[tuple[Step, ...]]:
    """`above`: the structs around the type, in which it cannot be again: request structs are finite."""
    origin = get_origin(type_)
    if origin is Annotated:
        yield from _found(get_args(type_)[0], above)
    elif origin in (Union, types.UnionType):
        for each in get_args(type_):
            yield from _found(each, above)
    elif origin in (tuple, list, dict):
        element = get_args(type_)[1 if origin is dict else 0]
        for path in _found(element, above):
            yield (_each, *path)
    elif type_ is datetime:
        yield ()
    elif isinstance(type_, type) and issubclass(type_, msgspec.Struct) and type_ not in above:
        for field in msgspec.structs.fields(type_):
            for path in _found(field.type, (*above, type_)):
                yield (_field(type_, field.name, field.encode_name), *path)


def _field(struct: type[msgspec.Struct], name: str, encoded: str) -> Step:
    def step(value: Any, loc: Loc) -> Iterable[tuple[Loc, Any]]:
        return (((*loc, encoded), getattr(value, name)),) if isinstance(value, struct) else ()

    return step


def _each(value: Any, loc: Loc) -> Iterable[tuple[Loc, Any]]:
    if isinstance(value, dict):
        return (((*loc, str(key)), each) for key, each in value.items())
    return (((*loc, n), each) for n, each in enumerate(value)) if isinstance(value, list | tuple) else ()
