"""The scores of a case as readers see them. Pure.

What a score says about its precision is written by the method's author, so each value is checked, and left out if it makes no sense.
"""

from __future__ import annotations

import math
from typing import Any

from dyff.entities import codecs, dossiers

_MAX_METHOD_CHARS = 200
_EXACT = 2**53
"""Larger whole numbers are not exact everywhere in JSON."""

_COUNTS = {"n": ("n",), "clusters": ("clusters",), "errors": ("errors",), "unscored": ("unscored", "not_scored", "notScored")}
"""The counts, with the names under which methods write them."""


def shown(score: codecs.Json) -> dossiers.ShownScore | None:
    """A score of an entity; None if it has no quantity."""
    quantity = _number(score.get("quantity"))
    if quantity is None:
        return None
    return dossiers.ShownScore(
        name=_text(score.get("name")),
        title=_text(score.get("title")) or _text(score.get("name")),
        summary=_text(score.get("summary")),
        text=_text(score.get("text")),
        quantity=quantity,
        quantityString=_text(score.get("quantityString")) or str(quantity),
        unit=_text(score.get("unit")) or None,
        minimum=_number(score.get("minimum")),
        maximum=_number(score.get("maximum")),
        valence=_text(score.get("valence")) or "neutral",
        priority=_text(score.get("priority")) or "primary",
        uncertainty=uncertainty(score.get("metadata"), quantity),
    )


def uncertainty(metadata: Any, quantity: float) -> dossiers.Uncertainty:
    """What the metadata of a score say. An interval needs both ends, around the quantity, and a level between 0 and 1."""
    if not isinstance(metadata, dict):
        return dossiers.Uncertainty()
    low, high, level = (_number(metadata.get(name)) for name in ("low", "high", "level"))
    if low is None or high is None or not low <= quantity <= high:
        low = high = None
    if level is None or not 0 < level < 1:
        level = None
    counts = {
        name: next((_count(metadata.get(each)) for each in spellings if each in metadata), None) for name, spellings in _COUNTS.items()
    }
    method = _text(metadata.get("method"))[:_MAX_METHOD_CHARS]
    return dossiers.Uncertainty(low=low, high=high, level=level, method=method or None, **counts)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _EXACT and number == int(number) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
