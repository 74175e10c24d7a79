"""What repeated answers to the same items tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dyff.stats import columns, samples, spreads, unfit
from dyff.stats.estimates import Estimate, Outcomes
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Column

MAX_SAMPLES = 100_000
"""Of one item, in pass@k."""


@dataclass(frozen=True)
class Components:
    """Where the variance of a score comes from.

    Attributes:
        within: variance of repeated answers to the same item; None if no item was answered twice.
        between: variance of the items' true means; None if there is only one item, or `within` is not known.
        items: how many there are.
        replications: answers for each item; on average, if they are not the same.
        outcomes: of all answers.
        notes: what a reader has to know.
    """

    within: float | None
    between: float | None
    items: int
    replications: float
    outcomes: Outcomes
    notes: tuple[str, ...] = ()

    def standard_error(self, items: int, replications: int) -> float | None:
        """Of the mean, with so many items and answers for each; None if a component is not known.

        It tells what helps more: other items, or asking again (Miller 2024, section 3).
        """
        items = unfit.whole(items, "items", 1, 10**12)
        replications = unfit.whole(replications, "replications", 1, 10**12)
        if self.within is None or self.between is None:
            return None
        return math.sqrt((self.between + self.within / replications) / items)


def variance_components(values: Column, item: Column, *, error: Column | None = None) -> Components:
    """Split the variance of replicated answers into that between items and that within items (analysis of variance, one way).

    Args:
        values: one number for each answer; null where it has no verdict.
        item: for each answer, which item it is about, for instance `_index_`.
        error: true for each answer where the system or the method failed.

    Returns:
        The components. `between` is never negative: if chance makes the estimate so, it is 0 and a note says it.

    Raises:
        Unfit: an argument cannot be used, or no answer has a verdict.
    """
    import numpy as np

    numbers, there = columns.numbers(values, "values")
    codes, _ = columns.labels(item, "item")
    columns.same_length(values=int(numbers.size), item=int(codes.size))
    found = samples.of(numbers, there, None, samples.counted(there, error, "values"), "values")
    units, count = samples.numbered(codes[there], found.n)
    sizes = np.bincount(units)
    means = np.bincount(units, weights=found.values) / sizes
    average = found.n / count
    if found.n == count:
        why = "no item has two answers with a verdict, so it is not known how much answers to one item differ"
        return Components(None, None, count, average, found.outcomes, (why,))
    within = float(((found.values - means[units]) ** 2).sum()) / (found.n - count)
    if count < 2:
        return Components(within, None, count, average, found.outcomes, ("there is only one item, and one does not show how items differ",))
    among = float((sizes * (means - found.values.mean()) ** 2).sum()) / (count - 1)
    size = (found.n - float((sizes**2).sum()) / found.n) / (count - 1)
    between = (among - within) / size
    notes = ("the estimate of the variance between items was below 0, which stands for 0",) if between < 0 else ()
    return Components(within, max(0.0, between), count, average, found.outcomes, notes)


def pass_at_k(
    passed: Column, k: int, *, samples_each: Column | int, cluster: Column | None = None, error: Column | None = None, level: float = 0.95
) -> Estimate:
    """Return the probability that at least one of k answers passes, without bias (Chen et al. 2021, arXiv 2107.03374).

    It says little about what one answer is worth, and ranks systems less reliably than their means (arXiv 2510.04265).

    Args:
        passed: for each item, how many of its answers passed; null where it has no verdict.
        k: how many answers one may try.
        samples_each: how many answers were looked at, for each item or as one number for all; at least k.
        cluster: a label for each item, see `dyff.stats.mean`.
        error: true for each item where the system or the method failed.
        level: of the interval.

    Returns:
        The mean over items with its t interval.

    Raises:
        Unfit: an argument cannot be used, for instance since k is larger than the number of answers.
    """
    import numpy as np

    level, k = unfit.confidence(level), unfit.whole(k, "k", 1, MAX_SAMPLES)
    numbers, there = columns.numbers(passed, "passed")
    one = [samples_each] * int(numbers.size) if isinstance(samples_each, int) else samples_each
    tried = columns.complete(one, "samples_each")
    columns.same_length(passed=int(numbers.size), samples_each=int(tried.size))
    for row in np.flatnonzero(there):
        _check(int(row), numbers[row], tried[row], k)
    chances = {(c, n): _pass(int(n), int(c), k) for c, n in {*zip(numbers[there], tried[there], strict=True)}}
    each = np.array([chances[c, n] if ok else 0.0 for c, n, ok in zip(numbers, tried, there, strict=True)])
    found = samples.of(each, there, cluster, samples.counted(there, error, "passed"), "passed")
    method = f"pass@{k} without bias, t over items" + (", cluster-robust standard error" if cluster is not None else "")
    made = spreads.by_t(found, float(found.values.mean()), spreads.of_mean(found), level, method)
    if made.low is None or made.high is None:
        return made
    return replace(made, low=max(0.0, made.low), high=min(1.0, made.high))  # it is a probability


def _check(row: int, passed: float, tried: float, k: int) -> None:
    if tried != int(tried) or not k <= tried <= MAX_SAMPLES:
        raise Unfit(f"samples_each: row {row} is {tried:g}; give a whole number from k, which is {k}, to {MAX_SAMPLES}, or a smaller k")
    if passed != int(passed) or not 0 <= passed <= tried:
        raise Unfit(f"passed: row {row} is {passed:g}; give a whole number from 0 to samples_each, which is {tried:g}")


def _pass(n: int, c: int, k: int) -> float:
    """One minus the probability that k answers drawn from n miss all c that passed, in exact whole numbers."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)
