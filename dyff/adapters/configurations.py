"""Reads the configuration of adapters. Errors name the location and the fix. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dyff.kernel import errors

Location = tuple[str | int, ...]
"""The path to a value in a request, as in `errors.Problem.loc`."""


def invalid(location: Location, message: str, kind: str = "value_error") -> errors.InvalidFields:
    """Make an error for a problem at `location`."""
    return errors.InvalidFields(errors.Problem(location, message, kind))


def an_object(value: Any, location: Location, keys: Collection[str]) -> dict[str, Any]:
    """Return `value` if it is an object with no keys other than `keys`.

    Raises:
        InvalidFields: it is not.
    """
    if not isinstance(value, dict):
        raise invalid(location, f"must be an object with the keys {', '.join(keys)}", "type_error")
    for key in value:
        if key not in keys:
            raise invalid((*location, key), f"is not known here; known are {', '.join(keys)}", "extra_forbidden")
    return value


def names(configuration: dict[str, Any], key: str, location: Location) -> list[str]:
    """Return the list of field names under `key`.

    Raises:
        InvalidFields: it is missing or not a list of strings.
    """
    value = configuration.get(key)
    if value is None:
        raise invalid((*location, key), "is missing: give a list of field names", "missing")
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid((*location, key), "must be a list of field names", "type_error")
    return value
