"""Find what a method names: a function or a class of one of its modules."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import Any

from . import places
from .failures import Failed

SHOWN = 20
"""Names that a message lists."""


def symbol(place: places.Place, name: str) -> Any:
    """Import what has a fully qualified name.

    Raises:
        Failed: there is no such module, or it has no such name. What the module itself raises is passed on.
    """
    module_name, _, member = name.rpartition(".")
    if not module_name or not all(each.isidentifier() for each in name.split(".")):
        raise Failed(f"the method's fullyQualifiedName is {name!r}; it must be the name of a module, a dot, and a name in it")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise Failed(_not_found(place, error.name, name)) from error
        raise
    try:
        return getattr(module, member)
    except AttributeError:
        has = shown(each for each in dir(module) if not each.startswith("_"))
        raise Failed(f"the module {module_name} has no {member!r}, which the method's fullyQualifiedName names; it has {has}") from None


def shown(names: Iterable[str]) -> str:
    """List names, as far as a message may have them."""
    found = sorted(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (", ".join(found[:SHOWN]) or "nothing") + more


def _not_found(place: places.Place, missing: str, name: str) -> str:
    found = "; ".join(f"{each} has {shown(_entries(place, each))}" for each in place.modules[:SHOWN])
    where = f"The module folders that were searched: {found}" if found else "The method names no modules"
    return f"no Python module {missing!r} was found, which the method's fullyQualifiedName {name!r} names. {where}"


def _entries(place: places.Place, module: str) -> list[str]:
    try:
        return [each for each in os.listdir(place.root / module) if not each.startswith((".", "__pycache__"))]
    except OSError:
        return []
