"""What a function calculates with: the values of the items that have a verdict, their clusters, and the count of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dyff.stats import columns
from dyff.stats.estimates import Outcomes
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Codes, Column, Floats, Mask

_ROUNDING = 1e-12
"""Of the size of two numbers: a smaller difference is none."""


@dataclass(frozen=True)
class Sample:
    """Values of items with a verdict.

    `values`: floats, one row or more. `units`: for each, the number of its cluster, from 0; without clusters, each is one of its own.
    `clusters`: how many there are; None without clusters.
    """

    values: Floats
    units: Codes
    count: int
    clusters: int | None
    outcomes: Outcomes

    @property
    def n(self) -> int:
        """The number of values."""
        return int(self.values.size)

    def unit(self) -> str:
        """What is independent, as a word."""
        return "item" if self.clusters is None else "cluster"


def outcomes(values: Column, *, error: Column | None = None) -> Outcomes:
    """Count what became of each item.

    Args:
        values: the verdicts of any type; null where an item has none.
        error: booleans, true where the system or the method failed. Of the other items without a verdict, none was asked for.

    Raises:
        Unfit: an item has both a verdict and an error.
    """
    codes, _ = columns.labels(values, "values", nulls=True)
    return counted(codes >= 0, error, "values")


def sample(values: Column, *, cluster: Column | None, error: Column | None, name: str = "values") -> Sample:
    """Read a column with what belongs to it.

    Raises:
        Unfit: a column cannot be used, or no item has a verdict.
    """
    numbers, there = columns.numbers(values, name)
    return of(numbers, there, cluster, counted(there, error, name), name)


def of(numbers: Floats, there: Mask, cluster: Column | None, found: Outcomes, name: str) -> Sample:
    """Put together what was read. `there`: which rows have a verdict.

    Raises:
        Unfit: no row has one, or the clusters cannot be used.
    """
    codes = None
    if cluster is not None:
        codes, _ = columns.labels(cluster, "cluster")
        columns.same_length(**{name: int(numbers.size), "cluster": int(codes.size)})
    if not found.verdicts:
        raise Unfit(f"{name} has no verdict ({found}). There is nothing to calculate: give at least one value that is not null")
    units, count = numbered(None if codes is None else codes[there], found.verdicts)
    return Sample(numbers[there], units, count, None if codes is None else count, found)


def pairs(a: Column, b: Column, *, cluster: Column | None, error_a: Column | None, error_b: Column | None) -> tuple[Floats, Floats, Sample]:
    """Read two columns about the same items.

    A pair has a verdict if both have one, an error if one of them has one, and is otherwise not scored.

    Returns:
        Both columns and the sample of their differences, all of pairs with a verdict.

    Raises:
        Unfit: a column cannot be used, or no pair has a verdict.
    """
    first, there_a = columns.numbers(a, "a")
    second, there_b = columns.numbers(b, "b")
    columns.same_length(a=int(first.size), b=int(second.size))
    failed_a, failed_b = failures(there_a, error_a, "a", "error_a"), failures(there_b, error_b, "b", "error_b")
    there = there_a & there_b
    errors = int((failed_a | failed_b).sum())
    found = Outcomes(int(there.sum()), errors, int(there.size) - int(there.sum()) - errors)
    difference = first - second
    difference[abs(difference) <= _ROUNDING * (abs(first) + abs(second))] = 0.0
    return first[there], second[there], of(difference, there, cluster, found, "a and b")


def counted(there: Mask, error: Column | None, name: str) -> Outcomes:
    """Count outcomes. `there`: which rows have a verdict.

    Raises:
        Unfit: a row has both a verdict and an error.
    """
    failed = failures(there, error, name, "error")
    verdicts, errors = int(there.sum()), int(failed.sum())
    return Outcomes(verdicts, errors, int(there.size) - verdicts - errors)


def failures(there: Mask, error: Column | None, name: str, error_name: str) -> Mask:
    """Read which rows have an error.

    Raises:
        Unfit: one has a verdict as well.
    """
    import numpy as np

    if error is None:
        return np.zeros(there.size, dtype=np.bool_)
    failed = columns.flags(error, error_name)
    columns.same_length(**{name: int(there.size), error_name: int(failed.size)})
    both = np.flatnonzero(failed & there)
    if both.size:
        raise Unfit(
            f"row {int(both[0])} has a verdict in {name} and is true in {error_name}; an item has one outcome, so make one of them null"
        )
    return failed


def numbered(codes: Codes | None, n: int) -> tuple[Codes, int]:
    """Number the units of a sample without gaps; None: each row is one of its own. Returns the numbers, and how many units there are."""
    import numpy as np

    if codes is None:
        return np.arange(n, dtype=np.int64), n
    _, found = np.unique(codes, return_inverse=True)
    units: Codes = found.astype(np.int64)
    return units, int(units.max()) + 1
