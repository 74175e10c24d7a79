"""The adapter that turns the elements of lists in an item into separate items. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyff.adapters import configurations, fields, paths


def explode(configuration: fields.Json, location: configurations.Location) -> fields.Step:
    """`{"collections": [...], "index": {name: query or null}}`: one item for each place in the named lists.

    The lists must have the same length; all other fields are repeated. Each `index` field contains the position (null) or the
    match of the JSONPath query at that position. A query is applied to the original item and must have as many matches as the
    lists have elements.
    """
    configurations.an_object(configuration, location, ("collections", "index"))
    names = configurations.names(configuration, "collections", location)
    if not names:
        raise configurations.invalid((*location, "collections"), "must name at least one list")
    index = _index(configuration.get("index"), (*location, "index"))

    def exploded(item: Any) -> list[Any]:
        columns = {name: _collection(fields.an_object(item), name) for name in names}
        length = len(columns[names[0]])
        others = {name: value for name, value in item.items() if name not in columns}
        for name, find in index.items():
            columns[name] = list(range(length)) if find is None else find(item)
        _check_lengths(columns, length)
        return [{**others, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]

    return exploded


def _index(value: Any, location: configurations.Location) -> dict[str, Callable[[Any], list[Any]] | None]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise configurations.invalid(location, "must be an object from new field names to JSONPath queries or null", "type_error")
    compiled: dict[str, Callable[[Any], list[Any]] | None] = {}
    for name, query in value.items():
        if query is not None and not isinstance(query, str):
            raise configurations.invalid((*location, name), "must be a JSONPath query, or null for the position", "type_error")
        try:
            compiled[name] = None if query is None else paths.every_match(query)
        except ValueError as error:
            raise configurations.invalid((*location, name), str(error)) from error
    return compiled


def _collection(item: fields.Json, name: str) -> list[Any]:
    value = fields.field(item, name)
    if not isinstance(value, list | tuple):
        raise ValueError(f"the field {name!r} must be a list, not {paths.shown(value)}")
    return list(value)


def _check_lengths(columns: dict[str, list[Any]], length: int) -> None:
    if any(len(column) != length for column in columns.values()):
        lengths = ", ".join(f"{name!r} has {len(column)}" for name, column in columns.items())
        raise ValueError(f"the collections and their index fields must be of one length: {lengths}")
