"""Ranks of which ties share a range. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dyff.entities import comparisons, leaderboards

BETTER, WORSE, HIGHER, LOWER = "better", "worse", "higher", "lower"


def ranks(systems: Sequence[str], pairs: Sequence[comparisons.ComparedPair]) -> dict[str, leaderboards.Ranks]:
    """The ranks that each system can have. `systems`: their IDs. `pairs`: those that were compared.

    A pair without a difference that is shown, or that was not compared, ranks neither.
    """
    better, worse = dict.fromkeys(systems, 0), dict.fromkeys(systems, 0)
    for each in pairs:
        if each.better is not None:
            worse[each.better] += 1
            better[each.b if each.better == each.a else each.a] += 1
    return {each: leaderboards.Ranks(first=1 + better[each], last=len(systems) - worse[each]) for each in systems}


def against(reference: str, other: str, pairs: Sequence[comparisons.ComparedPair]) -> leaderboards.AgainstReference | None:
    """How `other` compares with the reference; None if the two were not compared. Both: IDs."""
    pair = next((each for each in pairs if {each.a, each.b} == {reference, other}), None)
    if pair is None:
        return None
    sign, low, high = (1, pair.estimate.low, pair.estimate.high) if pair.a == reference else (-1, pair.estimate.high, pair.estimate.low)
    return leaderboards.AgainstReference(
        verdict=_verdict(pair, other), difference=sign * pair.difference,
        low=None if low is None else sign * low, high=None if high is None else sign * high,
        p=pair.test.p, pCorrected=pair.test.pCorrected, test=pair.test.method, n=pair.estimate.n, clusters=pair.estimate.clusters,
        detectable=pair.detectable, power=pair.power, notes=pair.notes,
    )  # fmt: skip


def _verdict(pair: comparisons.ComparedPair, other: str) -> str:
    if pair.higher is None:
        return comparisons.NONE_SHOWN
    if pair.better is None:
        return HIGHER if pair.higher == other else LOWER
    return BETTER if pair.better == other else WORSE


def notes(pairs: Sequence[comparisons.ComparedPair], level: float) -> list[str]:
    """What a reader has to know of all pairs: whether their number alone is why nothing is shown."""
    found = sum(len(pairs) * each.test.smallest > 1 - level for each in pairs)
    if len(pairs) < 2 or not found:
        return []
    what = "one pair has" if found == 1 else f"{found} pairs have"
    return [
        f"{what} so few items that differ, or so few draws of the test, that {len(pairs)} comparisons together cannot show a difference"
    ]
