"""Tests whether two systems differ on the same items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyff.stats import columns, drawing, quantiles, samples
from dyff.stats.estimates import PValue

if TYPE_CHECKING:
    from dyff.stats.columns import Column, Floats

EXACT_UNITS = 16
"""With at most so many items or clusters that differ, all 65,536 possibilities are counted."""
_ROUNDING = 1e-12


def permutation(
    a: Column,
    b: Column,
    *,
    cluster: Column | None = None,
    error_a: Column | None = None,
    error_b: Column | None = None,
    draws: int = drawing.DRAWS,
    seed: int = 0,
) -> PValue:
    """Test by swapping the two systems on items (sign-flip test of Fisher 1935); with clusters, on whole clusters.

    It assumes only that the two are alike if there is no difference. See `dyff.stats.paired_difference` for the columns.

    Args:
        a: numbers of the first system; null where an item has no verdict.
        b: those of the second system for the same items, in the same order.
        cluster: a label for each item.
        error_a: true where the first system failed.
        error_b: true where the second system failed.
        draws: how many of the possibilities are drawn, if there are too many to count all.
        seed: of the random numbers.

    Returns:
        The two-sided p. If no item differs, it is 1.

    Raises:
        Unfit: an argument cannot be used, or no item has both verdicts.
    """
    import numpy as np

    draws, seed = drawing.checked(draws, seed)
    _, _, found = samples.pairs(a, b, cluster=cluster, error_a=error_a, error_b=error_b)
    sums = np.asarray(np.bincount(found.units, weights=found.values, minlength=found.count), dtype=np.float64)
    noise = _ROUNDING * float(np.abs(found.values).sum())
    sums = sums[np.abs(sums) > noise]
    observed = abs(float(sums.sum())) - noise
    exact = sums.size <= EXACT_UNITS
    if exact:
        p, smallest = float((np.abs(_all_signs(sums)) >= observed).mean()), min(1.0, 2.0 ** (1 - sums.size))
    else:
        as_large = sum(int(np.count_nonzero(np.abs(each) >= observed)) for each in _some_signs(sums, draws, seed))
        p, smallest = (as_large + 1) / (draws + 1), 1 / (draws + 1)
    notes = ("no item differs",) if not sums.size else ()
    method = "sign-flip permutation" if found.clusters is None else "sign-flip permutation, by cluster"
    return PValue(
        p, float(found.values.mean()), method, found.n, found.clusters, smallest, exact, found.outcomes,
        seed=None if exact else seed, draws=None if exact else draws, notes=notes,
    )  # fmt: skip


def mcnemar(a: Column, b: Column, *, error_a: Column | None = None, error_b: Column | None = None) -> PValue:
    """Test by the items on which only one system is right (McNemar 1947, exact by the binomial distribution).

    Args:
        a: booleans, or 0 and 1, of the first system; null where an item has no verdict.
        b: those of the second system for the same items, in the same order.
        error_a: true where the first system failed.
        error_b: true where the second system failed.

    Returns:
        The two-sided p. If the systems agree on all items, it is 1. For items in clusters, use `permutation`.

    Raises:
        Unfit: an argument cannot be used, or no item has both verdicts.
    """
    first, second, found = samples.pairs(a, b, cluster=None, error_a=error_a, error_b=error_b)
    columns.binary(first, "a")
    columns.binary(second, "b")
    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    differ = only_a + only_b
    p = min(1.0, 2 * quantiles.binomial_share(min(only_a, only_b), differ)) if differ else 1.0
    notes = (f"only the first is right on {only_a} items, only the second on {only_b}",)
    smallest = min(1.0, 2.0 ** (1 - differ))
    return PValue(p, float(found.values.mean()), "McNemar, exact", found.n, None, smallest, True, found.outcomes, notes=notes)


def _all_signs(sums: Floats) -> Floats:
    """The total for each choice of signs."""
    import numpy as np

    totals = np.zeros(1)
    for each in sums:
        totals = np.concatenate((totals + each, totals - each))
    return totals


def _some_signs(sums: Floats, draws: int, seed: int) -> list[Floats]:
    """The totals for signs that are drawn, in parts."""
    import numpy as np

    rng = np.random.default_rng(seed)
    at_once = max(1, drawing.AT_ONCE // sums.size)
    parts = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    return [(rng.integers(0, 2, (each, sums.size)) * 2 - 1) @ sums for each in parts]
