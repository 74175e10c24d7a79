"""The difference of two proportions on the same items, with an interval that holds for few items and near 0 and 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dyff.stats import columns, proportions, samples, spreads, unfit
from dyff.stats.estimates import Estimate

if TYPE_CHECKING:
    from dyff.stats.columns import Column


def paired_proportions(
    a: Column, b: Column, *, error_a: Column | None = None, error_b: Column | None = None, level: float = 0.95
) -> Estimate:
    """Return the share of a minus that of b over the same items, with the interval of Newcombe (1998, method 10).

    It combines Wilson's intervals of both shares, so it exists also if all items are equal, and stays between -1 and 1. For items in
    clusters, use `paired_difference`.

    Args:
        a: booleans, or 0 and 1, of the first system; null where an item has no verdict.
        b: those of the second system for the same items, in the same order.
        error_a: true where the first system failed.
        error_b: true where the second system failed.
        level: of the interval.

    Returns:
        The estimate, over the items where both have a verdict.

    Raises:
        Unfit: an argument cannot be used, or no item has both verdicts.
    """
    level = unfit.confidence(level)
    first, second, found = samples.pairs(a, b, cluster=None, error_a=error_a, error_b=error_b)
    columns.binary(first, "a")
    columns.binary(second, "b")
    n = found.n
    both, only_a, only_b = int((first * second).sum()), int((first > second).sum()), int((second > first).sum())
    low, high = newcombe(both, only_a, only_b, n - both - only_a - only_b, level)
    return Estimate((only_a - only_b) / n, low, high, level, n, None, "Newcombe, paired", found.outcomes, notes=spreads.few(found))


def newcombe(both: int, only_a: int, only_b: int, neither: int, level: float) -> tuple[float, float]:
    """The interval of the difference of two paired proportions; the arguments are counts of items."""
    n = both + only_a + only_b + neither
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    (low_a, high_a), (low_b, high_b) = proportions.wilson(share_a, n, level), proportions.wilson(share_b, n, level)
    difference, related = share_a - share_b, _correlation(both, only_a, only_b, neither)

    def reach(of_a: float, of_b: float) -> float:
        return math.sqrt(max(0.0, of_a**2 - 2 * related * of_a * of_b + of_b**2))

    return max(-1.0, difference - reach(share_a - low_a, high_b - share_b)), min(1.0, difference + reach(high_a - share_a, share_b - low_b))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Of the verdicts of both systems, moved towards 0 if it is positive. 0 if one system has equal verdicts only."""
    sides = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if not sides:
        return 0.0
    product: float = both * neither - only_a * only_b
    if product > 0:
        product = max(0.0, product - (both + only_a + only_b + neither) / 2)
    return product / math.sqrt(sides)
