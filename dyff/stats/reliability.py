"""How well any number of raters agree, with missing ratings: Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dyff.stats import columns, jackknife, samples, scales, unfit
from dyff.stats.estimates import Estimate, Outcomes
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Column, Floats

SCALES = ("nominal", "ordinal", "interval")


def krippendorff_alpha(
    values: Column,
    item: Column,
    *,
    scale: str = "nominal",
    rater: Column | None = None,
    categories: Sequence[Any] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Krippendorff's alpha (2011), with a jackknife interval over items.

    Args:
        values: one label for each rating; null where a rater gave none.
        item: for each rating, which item it is about.
        scale: how labels differ. `nominal`: they are the same or not. `ordinal`: they have an order. `interval`: they are numbers.
        rater: for each rating, who gave it; only to check that nobody rated an item twice.
        categories: the labels in their order, for `ordinal` labels that are no numbers.
        level: of the interval.

    Returns:
        Alpha: 1 if they agree on all, 0 if as much as by chance. `n` is the number of items with two ratings or more; the others count
        as not scored. There is no interval if they agree on all.

    Raises:
        Unfit: an argument cannot be used, no item has two ratings, or alpha is not defined, since there is only one label.
    """
    import numpy as np

    level = unfit.confidence(level)
    unfit.one_of(scale, SCALES, "scale")
    codes, found = columns.labels(values, "values", nulls=True)
    items, known = columns.labels(item, "item")
    columns.same_length(values=int(codes.size), item=int(items.size))
    if rater is not None:
        _check_raters(codes, items, rater, known)
    order = scales.order(found, categories, ordered=scale == "ordinal", name="values")
    if scale == "interval" and not all(isinstance(each, int | float) for each in order):
        raise Unfit("values has labels that are no numbers, which the scale 'interval' needs; use 'ordinal' with categories, or 'nominal'")
    rated = codes >= 0
    places = scales.renumbered(codes[rated], found, order)
    counts = np.bincount(items[rated] * len(order) + places, minlength=len(known) * len(order))
    counts = counts.reshape(len(known), -1).astype(np.float64)
    paired = counts.sum(axis=1) >= 2
    if not paired.any():
        raise Unfit(f"values has no item with two ratings ({len(known)} items); agreement needs items that at least two raters have rated")
    scales.bounded(len(known), len(order), "values")
    outcomes = Outcomes(int(paired.sum()), 0, int((~paired).sum()))
    sample = samples.of(np.zeros(len(known)), paired, None, outcomes, "values")
    tables = _coincidences(counts[paired])
    numbers = np.array(order, dtype=np.float64) if scale == "interval" else np.arange(len(order), dtype=np.float64)

    def alpha(table: Floats) -> float | None:
        return _alpha(table, scale, numbers)

    value = alpha(tables.sum(axis=0))
    if value is None:
        raise Unfit("values has only one label among all items with two ratings, so agreement by chance is not known: alpha is not defined")
    return jackknife.estimate(value, tables, alpha, sample, level, f"Krippendorff's alpha, {scale}")


def _coincidences(counts: Floats) -> Floats:
    """The coincidence matrix of each item. `counts`: of items and labels."""
    import numpy as np

    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= counts
    matrices: Floats = pairs / (counts.sum(axis=1) - 1)[:, None, None]
    return matrices


def _alpha(table: Floats, scale: str, numbers: Floats) -> float | None:
    """None if it is not defined."""
    marginal = table.sum(axis=0)
    n = float(marginal.sum())
    distance = _distances(scale, marginal, numbers)
    expected = float((marginal[:, None] * marginal[None, :] * distance).sum())
    return None if expected == 0 or n <= 1 else 1 - (n - 1) * float((table * distance).sum()) / expected


def _distances(scale: str, marginal: Floats, numbers: Floats) -> Floats:
    """The squared difference of each pair of labels. `numbers`: the values of the labels."""
    import numpy as np

    if scale == "ordinal":
        ranks = np.cumsum(marginal) - marginal / 2
        ordinal: Floats = (ranks[:, None] - ranks[None, :]) ** 2
        return ordinal
    apart: Floats = (numbers[:, None] - numbers[None, :]) ** 2
    return apart if scale == "interval" else np.minimum(apart, 1.0)


def _check_raters(codes: columns.Codes, items: columns.Codes, rater: Column, known: list[Any]) -> None:
    import numpy as np

    raters, names = columns.labels(rater, "rater")
    columns.same_length(values=int(codes.size), rater=int(raters.size))
    rated = codes >= 0
    keys = items[rated] * max(1, len(names)) + raters[rated]
    found, times = np.unique(keys, return_counts=True)
    if (times > 1).any():
        key = int(found[times > 1][0])
        raise Unfit(f"rater {names[key % len(names)]!r} has rated the item {known[key // len(names)]!r} twice; keep one of the two ratings")
