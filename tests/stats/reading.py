"""What tests read of estimates that have an interval."""

from __future__ import annotations

from dyff import stats
from tests.narrowing import sure


def ends(estimate: stats.Estimate) -> tuple[float, float]:
    """The ends of the interval."""
    return sure(estimate.low), sure(estimate.high)


def width(estimate: stats.Estimate) -> float:
    """How wide the interval is."""
    low, high = ends(estimate)
    return high - low
