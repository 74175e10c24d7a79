"""What the comparison of systems on the same items has found: each system, and each pair with a verdict that refuses to rank a tie."""

from __future__ import annotations

import html
from typing import Annotated

import msgspec

from dyff.entities import analyses, described, showing, stored, uncertainties

MAX_SYSTEMS = 8
"""Limit of the systems that are compared together: 28 pairs."""

LEVEL = 0.95
NONE_SHOWN = "no difference shown"
"""The verdict where a difference is not shown."""


class ComparedSystem(stored.Part, frozen=True):
    """A system that is compared. `id`: as it was asked for, of a measurement or a safety case. `measurement`: the ID of the rows.

    `name`: of the system, as far as the caller may see it. `inferenceService`, `evaluation`: IDs of what the measurement is about; None:
    it does not say. `quantity`, `quantityString`, `uncertainty`: its score over all of its items. `outcomes`: what became of its rows.
    `safetycase`: the ID of a safety case that reads the measurement and that the reader may see; None if none was looked for, or found.
    """

    id: str
    measurement: str
    name: str
    quantity: float
    quantityString: str
    inferenceService: str | None = None
    evaluation: str | None = None
    uncertainty: uncertainties.Uncertainty = uncertainties.Uncertainty()
    outcomes: analyses.Outcomes | None = None
    safetycase: str | None = None


class ComparedSide(stored.Part, frozen=True):
    """One of two systems, over the same items.

    `mean`: of the score, over the pairs with two verdicts. `outcomes`: of its rows. `missing`: rows that only the other system has.
    """

    mean: float
    outcomes: analyses.Outcomes
    missing: int = 0


class DifferenceTest(stored.Part, frozen=True):
    """A test of no difference.

    `p`: how often a difference at least so large would come by chance alone. `pCorrected`: with Holm's correction for `comparisons` that
    were made together. `smallest`: the smallest p that data of this size can give. `exact`: whether all possibilities were counted;
    otherwise `draws` were drawn with the `seed`.
    """

    p: float
    pCorrected: float
    comparisons: int
    method: str
    smallest: float
    exact: bool
    seed: int | None = None
    draws: int | None = None
    notes: list[str] = msgspec.field(default_factory=list)


class ComparedPair(stored.Part, frozen=True):
    """Two systems on the same items.

    `a`, `b`: their IDs, as in `systems`. `verdict`: `A is better`, `B is better`, `no difference shown`, or of a neutral score `A is
    higher` or `B is higher`. `better`: the ID of the better one, `higher`: of the one with the higher score; None if no difference is
    shown. `difference`: the mean of b minus a over the pairs with two verdicts; `estimate`: its interval, and the outcomes of all pairs.
    `detectable`: the smallest true difference that would have been found with the probability `power`; None if the data cannot tell.
    """

    a: str
    b: str
    verdict: str
    difference: float
    estimate: analyses.Estimate
    test: DifferenceTest
    ofA: ComparedSide
    ofB: ComparedSide
    power: float = 0.8
    better: str | None = None
    higher: str | None = None
    detectable: float | None = None
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def shown(self) -> bool:
        """Whether a difference is shown."""
        return self.higher is not None


class Comparisons(stored.Part, frozen=True):
    """The comparison of systems by one score.

    `score`, `title`, `valence`, `unit`: of the score. `method`, `methodName`: ID and name of the method that measured all. `dataset`: the
    ID of the items. `level`: of all intervals; a difference is shown if its corrected p is at most 1 - level and its interval does not
    include 0.
    """

    score: str
    title: str
    method: str
    methodName: str
    systems: list[ComparedSystem]
    pairs: list[ComparedPair]
    valence: Annotated[str, described.says(enum=["positive", "negative", "neutral"])] = "neutral"
    unit: str | None = None
    dataset: str | None = None
    level: float = LEVEL

    def name(self, system: str) -> str:
        """The name of a system, by its ID in `systems`."""
        return next(each.name for each in self.systems if each.id == system)

    def __str__(self) -> str:
        """For a terminal: a line for each system, and a few for each pair."""
        return "\n".join(_lines(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def words(pair: ComparedPair, name_a: str, name_b: str) -> str:
    """The verdict of a pair with the names of its systems."""
    if pair.higher is None:
        return NONE_SHOWN
    ends = {pair.a: name_a, pair.b: name_b}
    return f"{ends[pair.better]} is better" if pair.better is not None else f"{ends[pair.higher]} is higher"


def _lines(found: Comparisons) -> list[str]:
    lines = [f"{showing.harmless(found.title)} ({found.score}), {_VALENCE[found.valence]}"]
    letters = {each.id: chr(ord("A") + n) for n, each in enumerate(found.systems)}
    names = {each.id: showing.harmless(each.name) for each in found.systems}
    width = max(map(len, names.values()), default=0)
    for each in found.systems:
        interval = _interval(each.uncertainty.low, each.uncertainty.high)
        lines.append(f"  {letters[each.id]}  {names[each.id]:<{width}}  {showing.harmless(each.quantityString)}{interval}")
    for pair in found.pairs:
        lines += _of_pair(pair, letters[pair.a], letters[pair.b])
    return lines


def _of_pair(pair: ComparedPair, a: str, b: str) -> list[str]:
    interval, clusters = _interval(pair.estimate.low, pair.estimate.high), pair.estimate.clusters
    lines = [f"  {b} - {a} = {pair.difference:+.4g}{interval}, p = {pair.test.pCorrected:.3g}: {words(pair, a, b)}"]
    together = "" if pair.test.comparisons == 1 else f", Holm's correction for {pair.test.comparisons} comparisons"
    lines.append(f"    {pair.estimate.n} pairs{'' if clusters is None else f' in {clusters} clusters'}; {pair.test.method}{together}")
    if pair.detectable is not None and not pair.shown:
        lines.append(f"    a difference of {pair.detectable:.3g} would have been found in {100 * pair.power:.0f} % of such studies")
    return [*lines, *(f"    {showing.harmless(note)}" for note in pair.notes)]


_VALENCE = {"positive": "more is better", "negative": "less is better", "neutral": "neither more nor less is better"}


def _interval(low: float | None, high: float | None) -> str:
    return f" ({100 * LEVEL:.0f} % interval {low:.4g} to {high:.4g})" if low is not None and high is not None else " (no interval)"
