"""Finds the client's group for each kind."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from dyff.entities import registry
from dyff.entities.kind import Kind
from dyff.kernel import errors
from dyff.sdk import groups, kinds


def group(row: Kind) -> type[groups.Group[Any, Any]]:
    """Return the class of a kind's group, from `sdk/kinds/`.

    Raises:
        Incomplete: it does not exist, or lacks an operation of the kind.
    """
    name = f"dyff.sdk.kinds.{row.module}"
    place = f"{name.replace('.', '/')}.py"
    try:
        found: Any = getattr(importlib.import_module(name), "GROUP", None)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise errors.Incomplete(f"the kind {row.name} needs {place}, with the client's operations on it and `GROUP`") from error
    if not (isinstance(found, type) and issubclass(found, groups.Group)):
        raise errors.Incomplete(f"{place} must have `GROUP`, a class made from those in dyff/sdk/groups.py")
    for base, has in (
        (groups.Uploadable, row.upload is not None),
        (groups.Downloadable, row.download is not None),
        (groups.Logged, row.logs is not None and row.logs.pods),
    ):
        if has and not issubclass(found, base):
            raise errors.Incomplete(f"{place}: {found.__name__} must be a groups.{base.__name__}, as the row of {row.name} says")
    needed = [*(["create"] if row.creation is not None else []), *(each.operation for each in row.edits)]
    for method in needed:
        if not hasattr(found, method):
            raise errors.Incomplete(f"{place}: {found.__name__} must have the operation `{method}`, as the row of {row.name} says")
    return found


def groups_of(client: type) -> dict[str, tuple[Kind, type[groups.Group[Any, Any]]]]:
    """Return all kinds with their groups, by the names under which `client` declares them.

    Raises:
        Incomplete: something is missing, or does not belong to any kind.
    """
    files = {each.name for each in pkgutil.iter_modules(kinds.__path__)}
    for name in sorted(files - {row.module for row in registry.ROWS}):
        raise errors.Incomplete(f"dyff/sdk/kinds/{name}.py belongs to no kind: add dyff/entities/kinds/{name}.py, or remove it")
    found = {row.plural: (row, group(row)) for row in registry.ROWS}
    declared = {name for each in client.__mro__ for name in inspect.get_annotations(each)}
    for plural, (row, its) in found.items():
        if plural not in declared:
            line = f"{plural}: {row.module}.{its.__name__}[S]"
            raise errors.Incomplete(f"the class _Server in dyff/sdk/client.py must have the line `{line}`, so that tools know the group")
    return found
