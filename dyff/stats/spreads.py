"""The standard error of a mean, and the interval from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dyff.stats import quantiles
from dyff.stats.estimates import Estimate

if TYPE_CHECKING:
    from dyff.stats.columns import Codes, Floats
    from dyff.stats.samples import Sample

FEW_CLUSTERS, FEW_ITEMS = 10, 30
"""With fewer, an interval is rough."""
_NOISE = 2.0**-46
"""A standard error below this share of the values is rounding."""


@dataclass(frozen=True)
class Spread:
    """`standard_error`: None if the data cannot tell it; then `why` is a sentence."""

    standard_error: float | None
    degrees_of_freedom: float | None
    why: str = ""


def of_mean(sample: Sample) -> Spread:
    """The standard error of the mean of a sample, by clusters if it has some.

    It is the cluster-robust one of a mean, times the root of clusters/(clusters - 1). With one item in each cluster, it is the usual one.
    """
    unit, count = sample.unit(), sample.count
    if count < 2:
        return Spread(None, None, f"there is only one {unit}, and one does not show how much {unit}s differ")
    if sample.values.min() == sample.values.max():
        return Spread(None, None, f"all {sample.n} values are equal, so they do not show how much others would differ")
    error = of_sums(sample.values - sample.values.mean(), sample.units, count) / sample.n
    if error <= _NOISE * float(abs(sample.values).max()):
        return Spread(None, None, "all clusters have the same mean, so they do not show how much others would differ")
    return Spread(error, float(count - 1))


def of_sums(deviations: Floats, units: Codes, count: int) -> float:
    """The standard error of the sum of deviations, whose units are independent; at least two of these."""
    import numpy as np

    sums = np.bincount(units, weights=deviations, minlength=count)
    return math.sqrt(count / (count - 1) * float(sums @ sums))


def by_t(sample: Sample, value: float, spread: Spread, level: float, method: str, notes: tuple[str, ...] = ()) -> Estimate:
    """The estimate with its t interval, if there is one."""
    error, freedom = spread.standard_error, spread.degrees_of_freedom
    low = high = None
    if error is None or freedom is None:
        notes = (spread.why, *notes)
    else:
        reach = quantiles.student((1 + level) / 2, freedom) * error
        low, high = value - reach, value + reach
        notes = (*notes, *few(sample))
    return Estimate(
        value, low, high, level, sample.n, sample.clusters, method, sample.outcomes, standard_error=error, degrees_of_freedom=freedom,
        notes=notes,
    )  # fmt: skip


def few(sample: Sample) -> tuple[str, ...]:
    """A note if there are few clusters, or few items."""
    if sample.clusters is None:
        return () if sample.n >= FEW_ITEMS else (f"{sample.n} items are few: the interval holds only if their values are spread evenly",)
    if sample.clusters >= FEW_CLUSTERS:
        return ()
    return (f"{sample.clusters} clusters are few: the interval can be too narrow if they are of different sizes",)
