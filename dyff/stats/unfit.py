"""The one error of this package."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class Unfit(ValueError):
    """An argument cannot be used. The message names it and says how to fix it."""


def one_of(value: object, known: Sequence[str], name: str) -> str:
    """Return the value if it is known.

    Raises:
        Unfit: it is not; the message has those that are, and the most similar one.
    """
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1)
    raise Unfit(f"{name} is {value!r}; give one of {', '.join(known)}{f' (did you mean {near[0]}?)' if near else ''}")


def share(value: float, name: str, example: str) -> float:
    """Return a number between 0 and 1, without these.

    Raises:
        Unfit: it is another one. NaN is another one, too.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise Unfit(f"{name} is {value!r}; give a number between 0 and 1, such as {example}")
    return float(value)


def confidence(level: float) -> float:
    """Return the level of an interval.

    Raises:
        Unfit: it is not between 0 and 1.
    """
    return share(level, "level", "0.95")


def whole(value: int, name: str, least: int, most: int) -> int:
    """Return a whole number within bounds.

    Raises:
        Unfit: it is another one.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or not least <= value <= most:
        raise Unfit(f"{name} is {value!r}; give a whole number from {least} to {most}")
    return int(value)


def positive(value: float, name: str) -> float:
    """Return a finite number above 0.

    Raises:
        Unfit: it is another one.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise Unfit(f"{name} is {value!r}; give a finite number above 0")
    return float(value)
