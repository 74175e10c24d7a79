"""Helpers for the checks, which yield problems at paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from dyff.kernel import errors

Path: TypeAlias = tuple[str | int, ...]
Found: TypeAlias = Iterator[errors.Problem]


def problem(path: Path, message: str) -> errors.Problem:
    """A problem at `path`."""
    return errors.Problem(path, message)


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any, path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """The objects of a list, each with its path. Items of other types become empty objects; a value that is not a list yields nothing."""
    for index, each in enumerate(value if isinstance(value, list) else ()):
        yield mapping(each), (*path, index)
