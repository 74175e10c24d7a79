"""Where systems and their differences are on the charts of a comparison, in percent of the width. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from dyff.api.pages import words
from dyff.entities import dossiers

_ROOM = 0.08
"""Room on either side of what is on a chart without bounds, of its width."""


class Mark(msgspec.Struct, frozen=True):
    """A row of a chart. `at`, `low`, `high`: in percent of the width; None without an interval. `is_own`: of the system of the page.

    `result`: in words; empty if there is none.
    """

    label: str
    at: float
    low: float | None
    high: float | None
    is_own: bool = False
    result: str = ""

    @property
    def width(self) -> float:
        """The width of the interval in percent, so much that it can be seen."""
        return max((self.high or 0) - (self.low or 0), 0.6)


class Chart(msgspec.Struct, frozen=True):
    """Rows on one scale from `first` to `last`. `zero`: where 0 is in percent; None if it is not marked. `text`: in words."""

    first: float
    last: float
    marks: tuple[Mark, ...]
    text: str
    zero: float | None = None


def scores(found: dossiers.OtherSystems) -> Chart | None:
    """The score of each system; None if there is nothing to compare."""
    if not found.pairs:
        return None
    values = [(each.quantity, each.uncertainty.low, each.uncertainty.high) for each in found.systems]
    least, most = _ends(values)
    room = _ROOM * (most - least) or 1.0
    first = found.minimum if found.minimum is not None and found.minimum <= least else least - room
    last = found.maximum if found.maximum is not None and found.maximum >= most else most + room
    names = [each.name for each in found.systems]
    marks = [_mark(name, value, first, last, is_own=place == 0) for place, (name, value) in enumerate(zip(names, values, strict=True))]
    text = "; ".join(f"{each.name}: {each.quantityString}" for each in found.systems)
    return Chart(first, last, tuple(marks), f"{found.title}. {text}")


def differences(found: dossiers.OtherSystems) -> Chart | None:
    """How much each other system differs from that of the page; None if there is nothing to compare."""
    if not found.pairs:
        return None
    values = [(each.difference, each.estimate.low, each.estimate.high) for each in found.pairs]
    reach = _round(max(map(abs, _ends(values))))
    names = [each.name for each in found.systems[1:]]
    results = [words.result(each) for each in found.pairs]
    marks = [_mark(name, value, -reach, reach, result=result) for name, result, value in zip(names, results, values, strict=True)]
    text = "; ".join(f"{name}: {words.difference(pair)}, {words.result(pair)}" for name, pair in zip(names, found.pairs, strict=True))
    return Chart(-reach, reach, tuple(marks), f"Differences from this system. {text}", zero=50.0)


def _ends(values: Iterable[tuple[float, float | None, float | None]]) -> tuple[float, float]:
    known = [each for several in values for each in several if each is not None and math.isfinite(each)]
    return min(known), max(known)


def _mark(label: str, value: tuple[float, float | None, float | None], first: float, last: float, **more: Any) -> Mark:
    at, low, high = (None if each is None else _percent(each, first, last) for each in value)
    assert at is not None
    return Mark(label, at, *((low, high) if low is not None and high is not None else (None, None)), **more)


def _round(value: float) -> float:
    """The next of 1, 2 and 5 with a power of ten, so that the ends of a scale can be read. 1 for 0."""
    if value == 0:
        return 1.0
    power = math.floor(math.log10(value))
    return next(float(f"{each}e{power}") for each in (1, 2, 5, 10) if value <= float(f"{each}e{power}") * (1 + 1e-9))


def _percent(value: float, first: float, last: float) -> float:
    return round(min(100.0, max(0.0, 100 * (value - first) / (last - first))), 2)
