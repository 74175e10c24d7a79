"""Proportions with intervals that hold for small n and near 0 and 1 (Bowyer et al. 2025, arXiv 2503.01747)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dyff.stats import columns, quantiles, samples, spreads, unfit
from dyff.stats.estimates import Estimate

if TYPE_CHECKING:
    from dyff.stats.columns import Column

SMALL = 30
"""Below so many items, the exact interval is used."""
EFFECTIVE = ", effective sample size of Korn and Graubard"


def proportion(values: Column, *, cluster: Column | None = None, error: Column | None = None, level: float = 0.95) -> Estimate:
    """Return the share of true values, with Wilson's interval; below 30 items, with that of Clopper and Pearson.

    With clusters, both use the effective sample size of Korn and Graubard (1998): how many independent items would tell as much.

    Args:
        values: booleans, or 0 and 1; null where an item has no verdict.
        cluster: a label for each item, see `dyff.stats.mean`.
        error: true for each item where the system or the method failed; these have no verdict.
        level: of the interval.

    Returns:
        The estimate. It has no interval if there is one cluster only.

    Raises:
        Unfit: an argument cannot be used, or no item has a verdict.
    """
    level = unfit.confidence(level)
    found = samples.sample(values, cluster=cluster, error=error)
    columns.binary(found.values, "values")
    share, size = float(found.values.mean()), float(found.n)
    notes: tuple[str, ...] = ()
    if found.clusters is not None:
        size, notes = _effective(found, share, level)
    exact = size < SMALL
    method = ("Clopper-Pearson" if exact else "Wilson") + (EFFECTIVE if found.clusters is not None else "")
    low = high = None
    if found.clusters != 1:
        low, high = clopper_pearson(share, size, level) if exact else wilson(share, size, level)
    return Estimate(share, low, high, level, found.n, found.clusters, method, found.outcomes, notes=notes)


def wilson(share: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's score interval (1927), without correction for continuity."""
    z = quantiles.normal((1 + level) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (0.0 if share == 0 else max(0.0, middle - reach)), (1.0 if share == 1 else min(1.0, middle + reach))


def clopper_pearson(share: float, n: float, level: float) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson (1934), also for an n that is no whole number."""
    successes, failures = share * n, (1 - share) * n
    low = 0.0 if share == 0 else quantiles.beta((1 - level) / 2, successes, failures + 1)
    high = 1.0 if share == 1 else quantiles.beta((1 + level) / 2, successes + 1, failures)
    return low, high


def _effective(found: samples.Sample, share: float, level: float) -> tuple[float, tuple[str, ...]]:
    """The effective sample size, and notes. It is at most the number of items."""
    if found.count == 1:
        return float(found.n), ("there is only one cluster, and one does not show how much clusters differ",)
    if share in (0.0, 1.0):
        return float(found.count), ("all verdicts are equal, so each cluster counts as one item",)
    spread = spreads.of_mean(found)
    notes = spreads.few(found)
    if spread.standard_error is None:
        return float(found.n), notes  # clusters that are all alike are no reason to claim more than independent items
    independent = share * (1 - share) / spread.standard_error**2
    student = quantiles.student((1 + level) / 2, found.n - 1) / quantiles.student((1 + level) / 2, found.count - 1)
    return min(float(found.n), independent * student**2), notes
