"""Whether one of two systems is better on the same items: everything that a reader needs to judge that, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dyff.stats import corrections, drawing, joins, means, paired_shares, permutations, powers, unfit
from dyff.stats.estimates import VERSION, Estimate, Outcomes, PValue
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Floats
    from dyff.stats.joins import Joined, Table

VALENCES = ("positive", "negative", "neutral")
NONE_SHOWN = "no difference shown"


@dataclass(frozen=True)
class Side:
    """One of two systems that are compared.

    Attributes:
        mean: of the score, over the pairs with two verdicts.
        outcomes: of the rows of this system.
        missing: how many rows the other system has for which this one has none.
    """

    mean: float
    outcomes: Outcomes
    missing: int

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"mean": self.mean, "outcomes": self.outcomes.document(), "missing": self.missing}


@dataclass(frozen=True)
class Comparison:
    """The comparison of two systems on the same items.

    Attributes:
        a, b: the systems.
        difference: the mean of b minus a over the pairs with two verdicts, with its interval. Its outcomes are those of all pairs; a row
            without a partner counts as not scored.
        test: the exact McNemar or the permutation test of no difference.
        p_corrected: p with Holm's correction for all comparisons that were made together; p itself if there is one.
        comparisons: how many were made together.
        detectable: the smallest true difference that would have been found with the probability `power`; None if the data cannot tell.
        power: see `detectable`.
        valence: `positive`: more is better; `negative`: less is better; `neutral`: neither.
        notes: what a reader has to know, each a sentence.
    """

    a: Side
    b: Side
    difference: Estimate
    test: PValue
    p_corrected: float
    comparisons: int
    detectable: float | None
    power: float
    valence: str
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: the corrected p is small enough, and the interval does not include 0."""
        return self.p_corrected <= 1 - self.difference.level and self.difference.excludes(0) is not False

    @property
    def higher(self) -> str | None:
        """`a` or `b`, whose score is higher; None if no difference is shown."""
        if not self.shown:
            return None
        return "b" if self.difference.value > 0 else "a"

    @property
    def better(self) -> str | None:
        """`a` or `b`, which is better; None if no difference is shown, or if the score does not say which direction is better."""
        if self.higher is None or self.valence == "neutral":
            return None
        return self.higher if self.valence == "positive" else {"a": "b", "b": "a"}[self.higher]

    @property
    def verdict(self) -> str:
        """The result in words. Without a difference that is shown, it ranks nothing."""
        if self.better is not None:
            return f"{self.better.upper()} is better"
        return NONE_SHOWN if self.higher is None else f"{self.higher.upper()} is higher"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "a": self.a.document(), "b": self.b.document(),
            "difference": {"value": self.difference.value, **self.difference.document()},
            "test": self.test.document(), "pCorrected": self.p_corrected, "comparisons": self.comparisons,
            "detectable": self.detectable, "power": self.power, "valence": self.valence,
            "verdict": self.verdict, "better": self.better, "higher": self.higher, "notes": list(self.notes), "by": f"dyff.stats {VERSION}",
        }  # fmt: skip

    def __str__(self) -> str:
        """One line."""
        found = self.difference
        return f"{self.verdict}: b - a = {found.value:.4g} ({found.interval()}; p = {self.p_corrected:.3g}; {found.n} pairs)"


def compare(
    a: Table,
    b: Table,
    score: str,
    *,
    replications: tuple[Sequence[Any], Sequence[Any]] | None = None,
    valence: str = "neutral",
    level: float = 0.95,
    power: float = 0.8,
    draws: int = drawing.DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same items.

    A table has a row for each item and replication: the columns `_index_`, the score (numbers or booleans, null where there is no
    verdict), and if need be `_replication_`, `_error_` (true where the system or the method failed) and `_cluster_` (a label: items with
    the same one are not independent). Without `_cluster_`, the replications of one item are a cluster.

    The interval is that of Newcombe for booleans without clusters, otherwise by t. The test is McNemar's for booleans without clusters,
    otherwise by permutation.

    Args:
        a: the rows of the first system: an Arrow table, a pandas DataFrame, or a dict of columns.
        b: those of the second system.
        score: the name of the column.
        replications: the values of `_replication_` on each side in their order, if they differ, as those of two evaluations do. Each
            is paired with that at the same place. None: equal values belong together.
        valence: `positive` if more is better, `negative` if less is, or `neutral`.
        level: of the interval; a difference is shown if the corrected p is at most 1 - level.
        power: the probability for the smallest difference that could have been detected.
        draws: of the permutation test, if there are too many possibilities to count all.
        seed: of the random numbers.

    Raises:
        Unfit: an argument cannot be used, the tables have no item in common, or no item has two verdicts.
    """
    import numpy as np

    valence, level = unfit.one_of(valence, VALENCES, "valence"), unfit.confidence(level)
    found = joins.joined(a, b, score, replications=replications)
    pairs = found.paired
    if not pairs.any():
        raise Unfit(f"{score}: no item has a verdict on both sides (a: {found.outcomes_a}; b: {found.outcomes_b})")
    first, second = (np.asarray(each[pairs]) for each in (found.a, found.b))
    errors: dict[str, Any] = {"error_a": found.error_b, "error_b": found.error_a}
    by_t = means.paired_difference(found.b, found.a, cluster=found.cluster, level=level, **errors)
    if found.cluster is None and means.is_binary(first) and means.is_binary(second):
        difference = paired_shares.paired_proportions(found.b, found.a, level=level, **errors)
        test = permutations.mcnemar(found.b, found.a, **errors)
    else:
        difference = by_t
        test = permutations.permutation(found.b, found.a, cluster=found.cluster, draws=draws, seed=seed, **errors)
    made = Comparison(
        a=Side(float(first.mean()), found.outcomes_a, found.only_b), b=Side(float(second.mean()), found.outcomes_b, found.only_a),
        difference=difference, test=replace(test, notes=(_counts(first, second),)), p_corrected=test.p, comparisons=1,
        detectable=powers.detectable(by_t, power=power), power=power, valence=valence,
    )  # fmt: skip
    return replace(made, notes=_notes(made, found))


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons that were made together, with Holm's correction of their p.

    Args:
        comparisons: all that were made, also those that will not be reported.
    """
    p = corrections.holm([each.test.p for each in comparisons])
    return [replace(each, p_corrected=value, comparisons=len(p)) for each, value in zip(comparisons, p, strict=True)]


def _counts(first: Floats, second: Floats) -> str:
    return f"b is higher on {int((second > first).sum())} pairs, a on {int((first > second).sum())}"


def _notes(made: Comparison, found: Joined) -> tuple[str, ...]:
    notes = []
    if made.test.smallest > 1 - made.difference.level:
        notes.append(f"so few pairs differ that no p can be below {made.test.smallest:.3g}: nothing can be shown with them")
    unpaired = found.only_a + found.only_b
    if unpaired:
        notes.append(f"{unpaired} rows have no partner in the other system, and are left out")
    lost = abs(made.a.outcomes.errors - made.b.outcomes.errors)
    if lost:
        notes.append("the systems have different numbers of errors, whose items are left out: that can favour the one with more errors")
    return tuple(notes)
