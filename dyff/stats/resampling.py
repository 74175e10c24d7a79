"""The bootstrap: intervals of any statistic, by drawing items or clusters again and again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dyff.stats import drawing, quantiles, samples, spreads, unfit
from dyff.stats.estimates import Estimate
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Codes, Column, Floats

    Statistic = str | Callable[[Floats], float]

MAX_VALUES = 20_000_000_000
"""That are drawn in all, which takes minutes."""
NAMED = ("mean", "median")


def bootstrap(
    values: Column,
    statistic: Statistic = "mean",
    *,
    cluster: Column | None = None,
    error: Column | None = None,
    level: float = 0.95,
    draws: int = drawing.DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return a statistic with its BCa interval (Efron 1987): corrected for bias and for a spread that changes with the value.

    Args:
        values: numbers; null where an item has no verdict.
        statistic: `mean`, `median`, or a function that gets an array and returns a finite number.
        cluster: a label for each item, see `dyff.stats.mean`. Whole clusters are drawn.
        error: true for each item where the system or the method failed; these have no verdict.
        level: of the interval.
        draws: how often.
        seed: of the random numbers. The same seed, data and release of numpy give the same interval.

    Returns:
        The estimate. It has no interval if all draws give the same.

    Raises:
        Unfit: an argument cannot be used, no item has a verdict, or the statistic is not a finite number.
    """
    level, (draws, seed) = unfit.confidence(level), drawing.checked(draws, seed)
    if not callable(statistic):
        unfit.one_of(statistic, NAMED, "statistic")
    found = samples.sample(values, cluster=cluster, error=error)
    rounds = draws + (0 if statistic == "mean" else found.count)
    if rounds * found.n > MAX_VALUES:
        raise Unfit(f"draws is {draws}, which is too much work for {found.n} values; give at most {max(100, MAX_VALUES // found.n // 2)}")
    calculated = _Calculated(found, statistic)
    value = calculated.of_all()
    interval, why = _bca(value, calculated, level, draws, seed)
    low, high = interval or (None, None)
    notes = (*((why,) if why else ()), *spreads.few(found))
    method = "BCa bootstrap" if found.clusters is None else "BCa bootstrap, by cluster"
    return Estimate(value, low, high, level, found.n, found.clusters, method, found.outcomes, seed=seed, draws=draws, notes=notes)


class _Calculated:
    """A statistic of a sample, and of samples that are drawn from it."""

    def __init__(self, found: samples.Sample, statistic: Statistic) -> None:
        import numpy as np

        self._np, self.count = np, found.count
        self._by_mean = statistic == "mean"
        self._statistic: Callable[[Floats], float] = statistic if callable(statistic) else getattr(np, statistic)
        self._plain = found.clusters is None
        self._values = found.values
        self._sums = np.bincount(found.units, weights=found.values, minlength=found.count)
        self._sizes = np.bincount(found.units, minlength=found.count)
        ordered = found.values[np.argsort(found.units, kind="stable")]
        self._parts = [] if self._by_mean or self._plain else np.split(ordered, np.cumsum(self._sizes)[:-1])

    def of_all(self) -> float:
        return self._of(self._values)

    def drawn(self, draws: int, seed: int) -> Floats:
        """The statistic of each draw."""
        rng = self._np.random.default_rng(seed)
        at_once = max(1, drawing.AT_ONCE // self.count)
        made = []
        for done in range(0, draws, at_once):
            picks = rng.integers(0, self.count, (min(at_once, draws - done), self.count))
            made.append(self._of_picks(picks))
        return self._np.concatenate(made)

    def without_each(self) -> Floats:
        """The statistic of the sample without each unit; there are at least two."""
        if self._by_mean:
            rest: Floats = (self._sums.sum() - self._sums) / (self._sizes.sum() - self._sizes)
            return rest
        every = self._np.arange(self.count)
        return self._np.array([self._of(self._picked(self._np.delete(every, each))) for each in every])

    def _of_picks(self, picks: Codes) -> Floats:
        if self._by_mean and self._plain:
            means: Floats = self._values[picks].mean(axis=1)
            return means
        if self._by_mean:
            ratios: Floats = self._sums[picks].sum(axis=1) / self._sizes[picks].sum(axis=1)
            return ratios
        return self._np.array([self._of(self._picked(each)) for each in picks])

    def _picked(self, picks: Codes) -> Floats:
        return self._values[picks] if self._plain else self._np.concatenate([self._parts[each] for each in picks])

    def _of(self, values: Floats) -> float:
        found = self._statistic(values)
        try:
            number = float(found)
        except (TypeError, ValueError):
            raise Unfit(f"statistic returned {type(found).__name__}; it must return a number") from None
        if not math.isfinite(number):
            raise Unfit(f"statistic returned {number} for a sample of {values.size} values; it must return a finite number for every one")
        return number


def _bca(value: float, calculated: _Calculated, level: float, draws: int, seed: int) -> tuple[tuple[float, float] | None, str]:
    """The interval; None if there is none, with the reason."""
    import numpy as np

    if calculated.count < 2:
        return None, "there is only one item or cluster, and one does not show how much others differ"
    drawn = calculated.drawn(draws, seed)
    if drawn.min() == drawn.max():
        return None, "all draws give the same, so they do not show how much other items would differ"
    below = (float((drawn < value).mean()) + float((drawn <= value).mean())) / 2
    deviations = (rest := calculated.without_each()).mean() - rest
    scale = float((deviations**2).sum()) ** 1.5
    if not 0 < below < 1 or scale == 0:
        return None, "the statistic is at the edge of all draws, for which this interval is not defined"
    bias, skew = quantiles.normal(below), float((deviations**3).sum()) / (6 * scale)
    shares = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        z = bias + quantiles.normal(share)
        shares.append(quantiles.normal_share(bias + z / (1 - skew * z)))
    low, high = np.quantile(drawn, shares)
    return (float(low), float(high)), ""
