"""What is sent to compare systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from dyff.entities.comparisons import MAX_SYSTEMS
from dyff.sdk import arguments, models

Measured: TypeAlias = str | models.Measurement | models.SafetyCase
"""A measurement, a safety case that reads one, or the ID of either."""


def parameters(a: Measured | Sequence[Measured], b: Measured | None, score: str | None) -> dict[str, Any]:
    """The parameters of a comparison. `a`: one of two, or a list of all; then `b` is None.

    Raises:
        TypeError: one is no ID and has none.
        ValueError: they are too few or too many, or both a list and `b` are given.
    """
    if isinstance(a, list | tuple):
        if b is not None:
            raise ValueError("b: must be left out, because a is a list; add it to the list")
        if not 2 <= len(a) <= MAX_SYSTEMS:
            raise ValueError(f"a: must have from 2 to {MAX_SYSTEMS} measurements or safety cases, not {len(a)}")
        found = [_identifier(each, f"a[{n}]") for n, each in enumerate(a)]
        return {"ids": ",".join(found), "score": arguments.key(score, "score")}
    if b is None:
        raise ValueError("b: must be given, unless a is a list of what to compare")
    return {"a": _identifier(a, "a"), "b": _identifier(b, "b"), "score": arguments.key(score, "score")}


def _identifier(value: Any, name: str) -> str:
    return arguments.identifier(value.id if isinstance(value, models.Measurement | models.SafetyCase) else value, name)
