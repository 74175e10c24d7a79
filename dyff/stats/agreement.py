"""How well two raters agree, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dyff.stats import columns, jackknife, samples, scales, unfit
from dyff.stats.estimates import Estimate, Outcomes
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Codes, Column, Floats

WEIGHTS = ("none", "linear", "quadratic")


def cohen_kappa(
    a: Column,
    b: Column,
    *,
    weights: str = "none",
    categories: Sequence[Any] | None = None,
    cluster: Column | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Cohen's kappa (1960, weighted 1968) of two raters, with a jackknife interval.

    Args:
        a: labels of the first rater; null where it gave none.
        b: those of the second rater for the same items, in the same order.
        weights: `none`: labels agree or not. `linear`, `quadratic`: by how far apart they are.
        categories: the labels in their order, for weights; numbers have one of their own.
        cluster: a label for each item, see `dyff.stats.mean`.
        level: of the interval.

    Returns:
        Kappa: 1 if they agree on all, 0 if as much as by chance. Items that only one has rated count as not scored. There is no interval
        if they agree on all.

    Raises:
        Unfit: an argument cannot be used, or kappa is not defined, since both used the same single label.
    """
    import numpy as np

    level = unfit.confidence(level)
    unfit.one_of(weights, WEIGHTS, "weights")
    first, labels_a = columns.labels(a, "a", nulls=True)
    second, labels_b = columns.labels(b, "b", nulls=True)
    columns.same_length(a=int(first.size), b=int(second.size))
    order = scales.order([*labels_a, *labels_b], categories, ordered=weights != "none", name="a and b")
    both = (first >= 0) & (second >= 0)
    found = Outcomes(int(both.sum()), 0, int((~both).sum()))
    sample = samples.of(np.zeros(first.size), both, cluster, found, "a and b")
    scales.bounded(sample.count, len(order), "a and b")
    rows = scales.renumbered(first[both], labels_a, order)
    cells = rows * len(order) + scales.renumbered(second[both], labels_b, order)
    distance = _distances(len(order), weights)
    tables = _tables(cells, sample, len(order))
    value = _kappa(tables.sum(axis=0), distance)
    if value is None:
        raise Unfit("a and b have one and the same label for all items, and all agree by chance as well: kappa is not defined")
    name = "Cohen's kappa" if weights == "none" else f"Cohen's kappa with {weights} weights"
    return jackknife.estimate(value, tables, lambda table: _kappa(table, distance), sample, level, name)


def _tables(cells: Codes, sample: samples.Sample, size: int) -> Floats:
    """For each unit, how often it has each pair of labels; an array of units, first and second labels."""
    import numpy as np

    counts = np.bincount(sample.units * size * size + cells, minlength=sample.count * size * size)
    return counts.reshape(sample.count, size, size).astype(np.float64)


def _distances(size: int, weights: str) -> Floats:
    import numpy as np

    places = np.arange(size)
    apart: Floats = np.abs(places[:, None] - places[None, :]).astype(np.float64)
    if weights == "none":
        return np.minimum(apart, 1.0)
    return apart if weights == "linear" else np.square(apart)


def _kappa(table: Floats, distance: Floats) -> float | None:
    """None if it is not defined."""
    n = table.sum()
    if n == 0:
        return None
    expected = float((table.sum(axis=1)[:, None] * table.sum(axis=0)[None, :] * distance).sum()) / float(n)
    return None if expected == 0 else 1 - float((table * distance).sum()) / expected
