"""The labels of raters, in an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Codes

MAX_LABELS = 200
"""Different labels: tables of all pairs are calculated."""
MAX_CELLS = 50_000_000
"""Of these tables, one for each item or cluster."""


def order(used: Sequence[Any], categories: Sequence[Any] | None, *, ordered: bool, name: str) -> list[Any]:
    """Return all labels once, in their order.

    Args:
        used: those that occur; some may be there twice.
        categories: their order as the caller gave it.
        ordered: whether the order matters.
        name: of the argument that has the labels.

    Raises:
        Unfit: the order matters and is not known, a label is not in it, or there are too many.
    """
    found = list(dict.fromkeys(used))
    if categories is not None:
        known = list(dict.fromkeys(categories))
        missing = [each for each in found if each not in known]
        if missing:
            raise Unfit(f"categories has no {missing[0]!r}, which is a label in {name}; add it at its place")
        found = known
    elif all(isinstance(each, int | float) for each in found):
        found = sorted(found)
    elif ordered:
        raise Unfit(f"categories is not given, and {name} has labels that are no numbers; give all labels in their order")
    if len(found) > MAX_LABELS:
        raise Unfit(f"{name} has {len(found)} different labels, more than {MAX_LABELS}; put them into fewer groups")
    return found


def renumbered(codes: Codes, labels: Sequence[Any], ordered: Sequence[Any]) -> Codes:
    """Translate the numbers of labels into their places in the order. No code is -1."""
    import numpy as np

    places = {each: place for place, each in enumerate(ordered)}
    return np.array([places[each] for each in labels] or [0], dtype=np.int64)[codes]


def bounded(units: int, labels: int, name: str) -> None:
    """Check that the tables of all units fit into memory.

    Raises:
        Unfit: they do not.
    """
    if units * labels**2 > MAX_CELLS:
        raise Unfit(f"{name} has {labels} different labels, too many for {units} items; put them into fewer groups")
