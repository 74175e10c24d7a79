"""The systems that one method has measured on one dataset, with the ranks that the data allows. Ties share them."""

from __future__ import annotations

import html
from typing import Annotated

import msgspec

from dyff.entities import described, showing, stored
from dyff.entities.comparisons import LEVEL, ComparedSystem

MAX_RANKED = 16
"""Limit of the systems that are ranked: 120 pairs."""


class Ranks(stored.Part, frozen=True):
    """The ranks that a system can have, from 1: `first` is 1 more than the systems that are shown to be better; `last` is less than the
    number of systems by those that are shown to be worse.
    """

    first: int
    last: int

    def __str__(self) -> str:
        """Such as `1` or `1-3`."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class AgainstReference(stored.Part, frozen=True):
    """A system compared with the reference on the same items.

    `verdict`: `better`, `worse`, of a neutral score `higher` or `lower`, or `no difference shown`. `difference`: the mean of this system
    minus that of the reference over the pairs with two verdicts, with its interval from `low` to `high`; None if there is none. `p`:
    without a correction; `pCorrected`: with Holm's for all pairs. `n`, `clusters`, `detectable`, `power`, `notes`: as of a comparison.
    """

    verdict: str
    difference: float
    p: float
    pCorrected: float
    n: int
    test: str
    power: float = 0.8
    low: float | None = None
    high: float | None = None
    clusters: int | None = None
    detectable: float | None = None
    notes: list[str] = msgspec.field(default_factory=list)


class RankedSystem(ComparedSystem, frozen=True):
    """A system. `ranks`: None if the score does not say which direction is better. `against`: None for the reference itself, and if the
    two have no item with two verdicts.
    """

    ranks: Ranks | None = None
    against: AgainstReference | None = None


class NotRanked(stored.Part, frozen=True):
    """A system that could not be compared with the others, and why."""

    name: str
    measurement: str
    why: str


class Leaderboard(stored.Part, frozen=True):
    """The systems that a method has measured on a dataset, by ranks, and those with the same ranks by name.

    `method`, `dataset`: IDs. `score`, `title`, `valence`, `unit`, `minimum`, `maximum`: of the score; None or empty if there is no system.
    `reference`: the ID in `systems` of the one with which the others are compared; None without a system. `comparisons`: how many pairs
    were compared; p is corrected for all of them. `notRanked`: what could not be compared. `leftOut`: how many systems were measured
    too long ago to be among these. `notes`: what a reader has to know.
    """

    method: str
    dataset: str
    score: str
    title: str
    methodName: str = ""
    systems: list[RankedSystem] = msgspec.field(default_factory=list)
    valence: Annotated[str, described.says(enum=["positive", "negative", "neutral"])] = "neutral"
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    reference: str | None = None
    comparisons: int = 0
    notRanked: list[NotRanked] = msgspec.field(default_factory=list)
    leftOut: int = 0
    notes: list[str] = msgspec.field(default_factory=list)
    level: float = LEVEL

    def __str__(self) -> str:
        """For a terminal: a line for each system."""
        return "\n".join(_lines(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _lines(found: Leaderboard) -> list[str]:
    names = [showing.harmless(each.name) for each in found.systems]
    width = max(map(len, names), default=0)
    lines = [f"{showing.harmless(found.title)} ({found.score}), {len(names)} systems"]
    for each, name in zip(found.systems, names, strict=True):
        ranks = "" if each.ranks is None else str(each.ranks)
        lines.append(f"  {ranks:>5}  {name:<{width}}  {showing.harmless(each.quantityString)}{_against(found, each)}")
    lines += [f"  not ranked: {showing.harmless(each.name)}: {showing.harmless(each.why)}" for each in found.notRanked]
    return [*lines, *(f"  {showing.harmless(each)}" for each in found.notes)]


def _against(found: Leaderboard, system: RankedSystem) -> str:
    if system.id == found.reference:
        return "  the reference"
    if system.against is None:
        return ""
    return f"  {system.against.difference:+.4g}, p = {system.against.pCorrected:.3g}: {system.against.verdict}"
