"""Corrections of p-values for several comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from dyff.stats import columns
from dyff.stats.unfit import Unfit


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the chance of even one false finding stays below the level (Holm 1979).

    Args:
        p: those of all comparisons that were made, also of those that will not be reported.

    Returns:
        The corrected ones, in the same order.

    Raises:
        Unfit: one is missing, or not between 0 and 1.
    """
    values = _checked(p)
    count, largest = len(values), 0.0
    corrected = [0.0] * count
    for rank, place in enumerate(sorted(range(count), key=values.__getitem__)):
        largest = max(largest, min(1.0, (count - rank) * values[place]))
        corrected[place] = largest
    return corrected


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the expected share of false findings among all findings stays below the level (1995).

    It is for many comparisons of which some may be wrong, and assumes that they are independent or depend positively. See `holm`.
    """
    values = _checked(p)
    count, smallest = len(values), 1.0
    corrected = [0.0] * count
    for rank, place in enumerate(sorted(range(count), key=values.__getitem__, reverse=True)):
        smallest = min(smallest, count / (count - rank) * values[place])
        corrected[place] = smallest
    return corrected


def _checked(p: Sequence[float]) -> list[float]:
    values = [float(each) for each in columns.complete(p, "p")]
    for row, each in enumerate(values):
        if not 0 <= each <= 1:
            raise Unfit(f"p: row {row} is {each:g}; give numbers from 0 to 1")
    return values
