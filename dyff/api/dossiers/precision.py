"""The scores of a case as readers see them. Pure.

What a score says about its precision is written by the method's author, so each value is checked, and left out if it makes no sense.
"""

from __future__ import annotations

import math
from typing import Any

from dyff.entities import codecs, dossiers, uncertainties

_MAX_METHOD_CHARS = 200
_EXACT = 2**53
"""Larger whole numbers are not exact everywhere in JSON."""


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
        uncertainty=uncertainty(_object(score.get("metadata")).get("estimate"), quantity),
    )


def uncertainty(estimate: Any, quantity: float) -> uncertainties.Uncertainty:
    """What the estimate of a score says. An interval needs both ends, around the quantity, and a level between 0 and 1."""
    found, outcomes = _object(estimate), _object(_object(estimate).get("outcomes"))
    low, high, level = (_number(found.get(name)) for name in ("low", "high", "level"))
    if low is None or high is None or not low <= quantity <= high:
        low = high = None
    if level is None or not 0 < level < 1:
        level = None
    return uncertainties.Uncertainty(
        low=low,
        high=high,
        level=level,
        n=_count(found.get("n")),
        clusters=_count(found.get("clusters")),
        errors=_count(outcomes.get("errors")),
        unscored=_count(outcomes.get("notScored")),
        method=_text(found.get("method"))[:_MAX_METHOD_CHARS] or None,
    )


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


def _object(value: Any) -> codecs.Json:
    return value if isinstance(value, dict) else {}
