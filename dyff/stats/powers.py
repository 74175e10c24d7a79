"""How small a difference a study can find, and how many items it needs (Miller 2024, section 5; by the noncentral t distribution)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dyff.stats import quantiles, unfit
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.estimates import Estimate

MAX_ITEMS = 10**9
_STEPS = 200


def power(difference: float, *, standard_deviation: float, n: int, level: float = 0.95) -> float:
    """Return the probability to find a difference: that the interval of `paired_difference` or `mean` excludes 0.

    Args:
        difference: the true one. Its sign does not matter.
        standard_deviation: of the differences between items; with clusters, of their means.
        n: the number of items; with clusters, of these.
        level: of the interval.

    Raises:
        Unfit: an argument cannot be used.
    """
    deviation, level = unfit.positive(standard_deviation, "standard_deviation"), unfit.confidence(level)
    n = unfit.whole(n, "n", 2, MAX_ITEMS)
    size = unfit.positive(abs(difference), "difference")
    return _power(size / deviation * math.sqrt(n), n - 1, level)


def smallest_difference(*, standard_deviation: float, n: int, level: float = 0.95, power: float = 0.8) -> float:
    """Return the smallest difference that is found with the given probability. See `power` for the arguments.

    Raises:
        Unfit: an argument cannot be used.
    """
    deviation, level = unfit.positive(standard_deviation, "standard_deviation"), unfit.confidence(level)
    n = unfit.whole(n, "n", 2, MAX_ITEMS)
    return _shift(n - 1, level, _wanted(power, level)) * deviation / math.sqrt(n)


def items_needed(difference: float, *, standard_deviation: float, level: float = 0.95, power: float = 0.8) -> int:
    """Return the smallest number of items, or clusters, with which a difference is found with the given probability. See `power`.

    Raises:
        Unfit: an argument cannot be used, or more than 10**9 would be needed.
    """
    deviation, level = unfit.positive(standard_deviation, "standard_deviation"), unfit.confidence(level)
    size, wanted = unfit.positive(abs(difference), "difference") / deviation, _wanted(power, level)

    def enough(n: int) -> bool:
        return _power(size * math.sqrt(n), n - 1, level) >= wanted

    low, high = 1, 2
    while not enough(high):
        low, high = high, high * 2
        if high > MAX_ITEMS:
            raise Unfit(f"difference is {difference:g}, for which more than {MAX_ITEMS} items are needed; give a larger one")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable(estimate: Estimate, *, power: float = 0.8) -> float | None:
    """Return the smallest true difference that would have been found with the given probability; None if the data cannot tell.

    A difference that was not shown may still be as large as this.

    Args:
        estimate: of `paired_difference` or `mean`, whose standard error it uses.
        power: the probability.

    Raises:
        Unfit: the estimate has no t interval, for instance since it is a proportion, or `power` cannot be used.
    """
    wanted = _wanted(power, estimate.level)
    if estimate.standard_error is None or estimate.degrees_of_freedom is None:
        if estimate.low is None and "t" in estimate.method.replace(",", " ").split():
            return None
        raise Unfit(f"estimate is by {estimate.method}; give one of dyff.stats.paired_difference or dyff.stats.mean")
    return _shift(estimate.degrees_of_freedom, estimate.level, wanted) * estimate.standard_error


def _wanted(power: float, level: float) -> float:
    wanted = unfit.share(power, "power", "0.8")
    if wanted <= 1 - level:
        raise Unfit(f"power is {power}, which chance alone reaches at the level {level}; give a larger one, such as 0.8")
    return wanted


def _power(shift: float, freedom: float, level: float) -> float:
    """`shift`: the true difference in standard errors."""
    edge = quantiles.student((1 + level) / 2, freedom)
    if shift > edge + 40:
        return 1.0  # to all digits, and out of the range of the function
    above = 1 - quantiles.shifted_student_share(edge, freedom, shift)
    return min(1.0, above + quantiles.shifted_student_share(-edge, freedom, shift))


def _shift(freedom: float, level: float, wanted: float) -> float:
    """The difference in standard errors that is found with this probability."""
    low, high = 0.0, 1.0
    while _power(high, freedom, level) < wanted:
        low, high = high, high * 2
    for _ in range(_STEPS):  # pragma: no branch: neighbouring floats are reached long before
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if _power(middle, freedom, level) >= wanted else (middle, high)
    return high
