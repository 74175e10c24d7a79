"""Adapters that select, drop, rename and flatten the fields of an object. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dyff.adapters import configurations, paths

Json = dict[str, Any]
Step = Callable[[Any], Any]
"""A compiled adapter: maps an item to its replacement, or to the list of items that replace it."""


def an_object(item: Any) -> Json:
    """Return `item` if it is an object.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(item, dict):
        raise ValueError(f"the item must be an object with fields, not {paths.shown(item)}")
    return item


def field(item: Json, name: str) -> Any:
    """Return the field called `name`.

    Raises:
        ValueError: the item has no such field.
    """
    try:
        return item[name]
    except KeyError:
        raise _no_field(item, name) from None


def _no_field(item: Json, name: object) -> ValueError:
    return ValueError(f"the item has no field {name!r}; it has {', '.join(map(repr, item)) or 'none'}")


def drop(configuration: Json, location: configurations.Location) -> Step:
    """`{"fields": [...]}`: removes these fields. Absent ones are ignored."""
    configurations.an_object(configuration, location, ("fields",))
    unwanted = tuple(configurations.names(configuration, "fields", location))

    def dropped(item: Any) -> Json:
        result = (item if type(item) is dict else an_object(item)).copy()
        for name in unwanted:
            result.pop(name, None)
        return result

    return dropped


def select(configuration: Json, location: configurations.Location) -> Step:
    """`{"fields": [...]}`: keeps only these fields, all of which must exist."""
    configurations.an_object(configuration, location, ("fields",))
    wanted = tuple(configurations.names(configuration, "fields", location))

    def selected(item: Any) -> Json:
        given = item if type(item) is dict else an_object(item)
        try:
            return {name: given[name] for name in wanted}
        except KeyError as error:
            raise _no_field(given, error.args[0]) from None

    return selected


def rename(configuration: Json, location: configurations.Location) -> Step:
    """`{old: new, ...}`: renames fields. Every old name must exist; an existing field with a new name is replaced.

    Names that are both old and new are refused: the result would depend on the order of the keys, which JSON does not preserve.
    """
    for old, new in configuration.items():
        if not isinstance(new, str):
            raise configurations.invalid((*location, old), "must be the new name of this field, a string", "type_error")
        if new != old and new in configuration:
            raise configurations.invalid((*location, old), f"{new!r} is renamed itself: use two Rename adapters, one after the other")
    if len(set(configuration.values())) < len(configuration):
        raise configurations.invalid(location, "gives two fields the same new name")

    names = tuple(configuration.items())

    def renamed(item: Any) -> Json:
        result = an_object(item).copy()
        try:
            for old, new in names:
                result[new] = result.pop(old)
        except KeyError as error:
            raise _no_field(item, error.args[0]) from None
        return result

    return renamed


def flatten_hierarchy(configuration: Json, location: configurations.Location) -> Step:
    """`{"fields": [...], "depth": n, "addPrefix": bool}`: turns nested objects into fields of the item. Lists are kept.

    `fields`: the fields to flatten; if absent or empty, the whole item. `depth`: the number of levels to flatten; if absent or
    null, all. `addPrefix`: use paths such as `a.b` as names, otherwise only the last part. As published, it defaults to true if
    the configuration is empty and to false otherwise.
    """
    configurations.an_object(configuration, location, ("fields", "depth", "addPrefix"))
    chosen = configurations.names(configuration, "fields", location) if configuration.get("fields") is not None else []
    depth = configuration.get("depth")
    if depth is not None and (type(depth) is not int or depth < 0):
        raise configurations.invalid((*location, "depth"), "must be a whole number of levels, 0 or more, or null for all")
    prefix = configuration.get("addPrefix", not configuration)
    if not isinstance(prefix, bool | None):
        raise configurations.invalid((*location, "addPrefix"), "must be true or false", "type_error")

    def flat(item: Any) -> Json:
        if not chosen:
            return dict(_leaves(an_object(item), depth, bool(prefix)))
        result = dict(an_object(item))
        for name in chosen:
            value = field(result, name)
            del result[name]
            result.update(_leaves({name: value}, depth, bool(prefix)))
        return result

    return flat


def _leaves(value: Json, depth: int | None, prefix: bool, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and value of each leaf. `depth`: the remaining levels below this one; None for all."""
    for key, child in value.items():
        name = f"{path}{key}" if prefix else key
        if isinstance(child, dict) and depth != 0:
            yield from _leaves(child, None if depth is None else depth - 1, prefix, f"{name}.")
        else:
            yield name, child
