"""Intervals for a measure that is a function of a table of counts: by leaving out each item or cluster (Fleiss and Davies 1982)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dyff.stats import quantiles, spreads
from dyff.stats.estimates import Estimate

if TYPE_CHECKING:
    from dyff.stats.columns import Floats
    from dyff.stats.samples import Sample

Measure = Callable[["Floats"], "float | None"]


def estimate(value: float, tables: Floats, measure: Measure, sample: Sample, level: float, method: str) -> Estimate:
    """Return a value with its jackknife interval by t. Its upper end is at most 1, as a measure of agreement is.

    Args:
        value: the measure of the sum of all tables.
        tables: an array whose first dimension are the units.
        measure: the measure of a table; None if it is not defined.
        sample: says what the units are.
        level: of the interval.
        method: the name of the measure.
    """
    import numpy as np

    count, total = int(tables.shape[0]), tables.sum(axis=0)
    shapes, which = np.unique(tables.reshape(count, -1), axis=0, return_inverse=True)
    rest = [measure(total - each.reshape(total.shape)) for each in shapes]
    low = high = error = freedom = None
    if any(each is None for each in rest):
        why = "without one of them, the measure is not defined, so it is not known how much it depends on them"
    else:
        without = np.array(rest, dtype=np.float64)[which.reshape(-1)]
        error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
        why = "it is the same whatever is left out, so the data do not show how much others would differ"
    if not error or error < 1e-12:
        notes: tuple[str, ...] = (why,)
        error = None
    else:
        freedom = float(count - 1)
        reach = quantiles.student((1 + level) / 2, freedom) * error
        low, high, notes = value - reach, min(1.0, value + reach), spreads.few(sample)
    by = "jackknife" if sample.clusters is None else "jackknife by cluster"
    return Estimate(
        value, low, high, level, sample.n, sample.clusters, f"{method}, {by}", sample.outcomes, standard_error=error,
        degrees_of_freedom=freedom, notes=notes,
    )  # fmt: skip
