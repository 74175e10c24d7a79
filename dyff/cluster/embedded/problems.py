"""The vocabulary of the checks: problems at paths, found one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from dyff.kernel import errors

Path: TypeAlias = tuple[str | int, ...]
Found: TypeAlias = Iterator[errors.Problem]


def problem(path: Path, message: str) -> errors.Problem:
    """One thing that is wrong at `path`."""
    return errors.Problem(path, message)


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is an object, an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def items(value: Any, path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """The objects of a list, each with its path; anything else in it, or no list, yields empty ones, which lack everything."""
    for index, each in enumerate(value if isinstance(value, list) else ()):
        yield mapping(each), (*path, index)
