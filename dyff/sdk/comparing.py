"""What is sent to compare systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from dyff.entities.comparisons import MAX_SYSTEMS
from dyff.entities.differing import SHOWN
from dyff.sdk import arguments, models

Measured: TypeAlias = str | models.Measurement | models.SafetyCase
"""A measurement, a safety case that reads one, or the ID of either."""


Comparable: TypeAlias = Measured | models.Evaluation
"""What can be compared: also an evaluation, of which there are measurements."""

ITEMS = 200
"""That are asked for at a time."""


def parameters(a: Measured | Sequence[Measured], b: Measured | None, score: str | None) -> dict[str, Any]:
    """The parameters of a comparison. `a`: one of two, or a list of all; then `b` is None.

    Raises:
        TypeError: one is no ID and has none.
        ValueError: they are too few or too many, or both a list and `b` are given.
    """
    if isinstance(a, list | tuple):
        if b is not None:
            raise ValueError("b: must be left out, because a is a list; add it to the list")
        return {"ids": several(a, "a"), "score": arguments.key(score, "score")}
    if b is None:
        raise ValueError("b: must be given, unless a is a list of what to compare")
    return {"a": identifier(a, "a"), "b": identifier(b, "b"), "score": arguments.key(score, "score")}


def several(entities: Sequence[Comparable], name: str) -> str:
    """The IDs of what is compared, with commas between them. `name`: of the argument.

    Raises:
        TypeError: it is no list, or one is no ID and has none.
        ValueError: they are too few or too many.
    """
    if not isinstance(entities, list | tuple):
        raise TypeError(f"{name}: must be a list of what to compare")
    if not 2 <= len(entities) <= MAX_SYSTEMS:
        raise ValueError(f"{name}: must have from 2 to {MAX_SYSTEMS} measurements or safety cases, not {len(entities)}")
    return ",".join(identifier(each, f"{name}[{n}]") for n, each in enumerate(entities))


def of_items(
    measured: Sequence[Measured], score: str | None, between: tuple[Measured, Measured] | None, higher: Measured | None, show: str
) -> dict[str, Any]:
    """The parameters of a page of items.

    Raises:
        TypeError, ValueError: see `several`; or `between` are not two, or `higher` is given without it.
    """
    if higher is not None and between is None:
        raise ValueError("higher: needs between, the two of which it is one")
    if between is not None and len(between) != 2:
        raise ValueError(f"between: must be two of those that are compared, not {len(between)}")
    return {
        "ids": several(measured, "measured"), "score": arguments.key(score, "score"), "limit": ITEMS,
        "show": arguments.choice(show, "show", SHOWN), "higher": None if higher is None else identifier(higher, "higher"),
        "between": None if between is None else ",".join(identifier(each, f"between[{n}]") for n, each in enumerate(between)),
    }  # fmt: skip


def identifier(value: Any, name: str) -> str:
    """The ID of an entity, or the ID that it is. `name`: of the argument.

    Raises:
        TypeError: it is no ID and has none.
    """
    return arguments.identifier(value if isinstance(value, str) else getattr(value, "id", value), name)
