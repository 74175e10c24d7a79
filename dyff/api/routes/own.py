"""Collects the routes that are specific to a kind."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from dyff.api.context import Context
from dyff.api.route import Route
from dyff.api.routes import kinds
from dyff.entities import registry
from dyff.kernel import errors


def routes(context: Context) -> list[Route]:
    """Return those of all kinds.

    Raises:
        Incomplete: a row has `own_routes` but its file is missing, or the other way round.
    """
    files = {each.name for each in pkgutil.iter_modules(kinds.__path__)}
    for name in sorted(files - {row.module for row in registry.ROWS}):
        raise errors.Incomplete(f"dyff/api/routes/kinds/{name}.py belongs to no kind: add dyff/entities/kinds/{name}.py, or remove it")
    found: list[Route] = []
    for row in registry.ROWS:
        place, entity = f"dyff/api/routes/kinds/{row.module}.py", f"dyff/entities/kinds/{row.module}.py"
        if row.own_routes != (row.module in files):
            fix = f"add {place}, or remove own_routes" if row.own_routes else f"set own_routes=True, or remove {place}"
            raise errors.Incomplete(f"{entity}: a {row.name} has {'' if row.own_routes else 'no '}routes of its own: {fix}")
        if row.own_routes:
            module = importlib.import_module(f"{kinds.__name__}.{row.module}")
            if not callable(getattr(module, "routes", None)):
                raise errors.Incomplete(f"{place} must have the function `routes(context)`, which gives the routes of a {row.name}")
            found += module.routes(context)
    return found


def combined(derived: Iterable[Route], own: Iterable[Route]) -> list[Route]:
    """Return all routes. One of `own` replaces the derived one with the same method and path."""
    known = {(route.method, route.path): route for route in (*derived, *own)}
    return list(known.values())
