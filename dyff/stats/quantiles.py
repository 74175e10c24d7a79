"""Distributions. The normal one is in the standard library; the others need `scipy.special`, which is imported only then.

`scipy.stats` has all of them, too, but its import takes three times as long.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

_NORMAL = NormalDist()


def normal(share: float) -> float:
    """The quantile of the normal distribution."""
    return _NORMAL.inv_cdf(share)


def normal_share(value: float) -> float:
    """The share of the normal distribution below a value."""
    return _NORMAL.cdf(value)


def student(share: float, degrees_of_freedom: float) -> float:
    """The quantile of the t distribution."""
    return float(_special().stdtrit(degrees_of_freedom, share))


def beta(share: float, a: float, b: float) -> float:
    """The quantile of the beta distribution."""
    return float(_special().betaincinv(a, b, share))


def binomial_share(successes: int, n: int) -> float:
    """The probability of at most so many heads of a fair coin."""
    return float(_special().bdtr(successes, n, 0.5))


def shifted_student_share(value: float, degrees_of_freedom: float, shift: float) -> float:
    """The share of the noncentral t distribution below a value."""
    return float(_special().nctdtr(degrees_of_freedom, shift, value))


def _special() -> Any:
    """Raises ModuleNotFoundError with the command if scipy is not installed."""
    try:
        from scipy import special
    except ModuleNotFoundError as error:
        message = 'dyff.stats needs scipy for intervals by t and beta distributions: pip install "dyff-sdk[stats]"'
        raise ModuleNotFoundError(message, name="scipy") from error
    return special
