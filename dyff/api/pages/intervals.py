"""Where a score and its interval are on a line, in percent of its length. Pure."""

from __future__ import annotations

import math

import msgspec

from dyff.entities import dossiers

_ROOM = 0.5
"""Room on either side of an interval whose score has no bounds, in widths of the interval."""


class Line(msgspec.Struct, frozen=True):
    """A line from `first` to `last`, and what is on it in percent: the quantity, and the ends of the interval if there is one.

    `bounded`: whether the ends of the line are the bounds of the score; if not, they were chosen around the interval.
    """

    first: float
    last: float
    at: float
    low: float | None = None
    high: float | None = None
    bounded: bool = True

    @property
    def width(self) -> float:
        """The width of the interval in percent, so much that it can be seen."""
        return max((self.high or 0) - (self.low or 0), 0.6)


def line(score: dossiers.ShownScore) -> Line | None:
    """The line of a score; None if it has neither bounds nor an interval, or a value is out of its bounds."""
    low, high = score.uncertainty.low, score.uncertainty.high
    first, last = score.minimum, score.maximum
    bounded = first is not None and last is not None
    if first is None or last is None:
        if low is None or high is None or low == high:
            return None
        first, last = low - _ROOM * (high - low), high + _ROOM * (high - low)
    span = last - first
    if not math.isfinite(span) or span <= 0 or not first <= score.quantity <= last:
        return None
    at = _percent(score.quantity, first, span)
    if low is None or high is None:
        return Line(first, last, at, bounded=bounded)
    return Line(first, last, at, _percent(max(low, first), first, span), _percent(min(high, last), first, span), bounded)


def _percent(value: float, first: float, span: float) -> float:
    return round(100 * (value - first) / span, 2)
