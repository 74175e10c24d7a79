"""Means and differences of means, with t intervals (Miller 2024, arXiv 2411.00640)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyff.stats import samples, spreads, unfit
from dyff.stats.estimates import Estimate

if TYPE_CHECKING:
    from dyff.stats.columns import Column, Floats

ONLY_BINARY = "the values are only 0 and 1: dyff.stats.proportion has a better interval for these"


def mean(values: Column, *, cluster: Column | None = None, error: Column | None = None, level: float = 0.95) -> Estimate:
    """Return the mean with its t interval.

    Args:
        values: numbers; null where an item has no verdict.
        cluster: a label for each item. Items with the same label are not independent: questions about one text, say. The standard error
            is then cluster-robust, with clusters - 1 degrees of freedom.
        error: true for each item where the system or the method failed; these have no verdict.
        level: of the interval.

    Returns:
        The estimate. It has no interval if there is one item or cluster only, or if all are equal.

    Raises:
        Unfit: an argument cannot be used, or no item has a verdict.
    """
    level = unfit.confidence(level)
    found = samples.sample(values, cluster=cluster, error=error)
    notes = (ONLY_BINARY,) if is_binary(found.values) else ()
    return spreads.by_t(found, float(found.values.mean()), spreads.of_mean(found), level, _method("t", found), notes)


def paired_difference(
    a: Column,
    b: Column,
    *,
    cluster: Column | None = None,
    error_a: Column | None = None,
    error_b: Column | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean of a - b over the same items, with its t interval.

    It is narrower than that of two means, since how hard an item is concerns both. See `mean` for the arguments.

    Args:
        a: numbers of the first system; null where an item has no verdict.
        b: those of the second system for the same items, in the same order.
        cluster: a label for each item.
        error_a: true where the first system failed.
        error_b: true where the second system failed.
        level: of the interval.

    Returns:
        The estimate, over the items where both have a verdict. If its interval includes 0, no difference is shown.

    Raises:
        Unfit: an argument cannot be used, or no item has both verdicts.
    """
    level = unfit.confidence(level)
    _, _, found = samples.pairs(a, b, cluster=cluster, error_a=error_a, error_b=error_b)
    return spreads.by_t(found, float(found.values.mean()), spreads.of_mean(found), level, _method("paired t", found))


def is_binary(values: Floats) -> bool:
    """Whether there are only 0 and 1."""
    return bool(((values == 0) | (values == 1)).all())


def _method(name: str, found: samples.Sample) -> str:
    return name if found.clusters is None else f"{name}, cluster-robust standard error"
