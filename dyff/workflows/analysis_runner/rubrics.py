"""Run a method that is a rubric of the published package dyff-audit, or derived from one."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from . import datasets, functions, loading, places, writing
from .failures import Failed

PUBLISHED = "dyff.audit.scoring"
INPUTS = ("task_data", "predictions")


def run(place: places.Place, implementation: dict[str, Any]) -> None:
    """Apply the rubric to its two inputs, and write what it yields.

    Raises:
        Failed: there is no such rubric, or the method does not fit one.
    """
    name = str(implementation.get("fullyQualifiedName") or "")
    measurement = (place.method.get("output") or {}).get("measurement") or {}
    if measurement.get("level") != "Instance":
        raise Failed("the output.measurement.level of a PythonRubric must be Instance")
    if place.arguments:
        raise Failed("a PythonRubric takes no arguments")
    missing = [each for each in INPUTS if each not in place.inputs]
    if missing:
        raise Failed(f"a PythonRubric needs the inputs task_data and predictions; missing: {', '.join(missing)}")
    constructor = found(place, name)
    rubric = constructor() if callable(constructor) else constructor
    base = sys.modules.get(f"{PUBLISHED}.base")
    if base is None or not isinstance(rubric, base.Rubric):
        raise Failed(f"{name} is not a Rubric: it must be a class that is derived from {PUBLISHED}.Rubric")
    data = [datasets.opened(place, place.inputs[each]) for each in INPUTS]
    writing.write(rubric.apply(*data), functions.declared(place), place.result, f"{name}.apply", rubric.apply)


def found(place: places.Place, name: str) -> Any:
    """Find the class. A name that no module has may be one of the published package's, as in old methods: `text.ExactMatch`.

    Raises:
        Failed: neither has it.
    """
    try:
        return loading.symbol(place, name)
    except Failed as first:
        try:
            module, _, member = f"{PUBLISHED}.{name}".rpartition(".")
            return getattr(importlib.import_module(module), member)
        except (ImportError, AttributeError):
            raise first from None
