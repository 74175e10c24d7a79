"""Run a method that is a Python function.

It is called with one dict of all arguments, and the inputs as keywords. A function with the published decorator
`dyff.schema.annotations.method` declares each argument as a keyword of its own, so it is called like that. Arguments are always text.
"""

from __future__ import annotations

import sys
from typing import Any

from . import datasets, loading, places, writing
from .failures import Failed


def run(place: places.Place, implementation: dict[str, Any]) -> None:
    """Call the function with the arguments and the inputs, and write what it yields.

    Raises:
        Failed: there is no such function, or it does not make what the method declares.
    """
    name = str(implementation.get("fullyQualifiedName") or "")
    function = loading.symbol(place, name)
    if not callable(function):
        raise Failed(f"{name} is a {type(function).__name__}, not a function")
    inputs = {keyword: datasets.opened(place, entity) for keyword, entity in place.inputs.items()}
    output = function(**place.arguments, **inputs) if is_decorated(function) else function(place.arguments, **inputs)
    writing.write(output, declared(place), place.result, name, function)


def is_decorated(function: Any) -> bool:
    """Whether a function has the published decorator. Its module is loaded then, so it need not be imported to find out."""
    published = sys.modules.get("dyff.schema.annotations")
    return published is not None and isinstance(function, published.MethodPrototype)


def declared(place: places.Place) -> Any:
    """Return the schema of the method's output.

    Raises:
        Failed: it declares none.
    """
    measurement = (place.method.get("output") or {}).get("measurement") or {}
    schema = (measurement.get("schema") or measurement.get("schema_") or {}).get("arrowSchema")
    if not isinstance(schema, str):
        raise Failed("the method's output.measurement has no schema.arrowSchema")
    return datasets.decoded(schema)
