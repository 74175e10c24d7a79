"""What the functions of this package return: values with what makes them comparable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VERSION = "1"
"""Of the formulas. It changes when a result can change. Provenance has it next to the digest of the files."""


@dataclass(frozen=True)
class Outcomes:
    """How many items have which of the three outcomes.

    `verdicts`: have a value. `errors`: have none, because the system or the method failed. `not_scored`: have none for another reason,
    for instance since they do not apply. Errors are no wrong answers, and leave the denominator only if that is said.
    """

    verdicts: int
    errors: int = 0
    not_scored: int = 0

    @property
    def items(self) -> int:
        """All of them."""
        return self.verdicts + self.errors + self.not_scored

    def document(self) -> dict[str, int]:
        """As JSON."""
        return {"items": self.items, "verdicts": self.verdicts, "errors": self.errors, "notScored": self.not_scored}

    def __str__(self) -> str:
        """One line."""
        return f"of {self.items} items, {self.verdicts} have a verdict, {self.errors} an error, {self.not_scored} were not scored"


@dataclass(frozen=True)
class Estimate:
    """A value and how exact it is.

    Attributes:
        value: the estimate.
        low: the lower end of the interval; None if there is none, and then `notes` says why.
        high: the upper end; None as `low`.
        level: of the interval, for instance 0.95.
        n: the number of values that it rests on; of a paired difference, the number of pairs.
        clusters: the number of clusters; None if the items count as independent.
        method: how the interval was calculated.
        outcomes: of all items that were given.
        standard_error: None if it is not known, or is not part of the method.
        degrees_of_freedom: of the t distribution; None if it is not used.
        seed, draws: of random numbers; None if there are none.
        notes: what a reader has to know, each a sentence.
    """

    value: float
    low: float | None
    high: float | None
    level: float
    n: int
    clusters: int | None
    method: str
    outcomes: Outcomes
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    seed: int | None = None
    draws: int | None = None
    notes: tuple[str, ...] = ()

    def excludes(self, value: float = 0.0) -> bool | None:
        """Whether the interval excludes a value; None if there is no interval. A difference whose interval has 0 in it ranks nothing."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= value <= self.high

    def document(self) -> dict[str, Any]:
        """As JSON: what the metadata of a score has. What is None is there as null, except what the method does not use."""
        used = {
            "standardError": self.standard_error, "degreesOfFreedom": self.degrees_of_freedom, "seed": self.seed, "draws": self.draws,
        }  # fmt: skip
        return {
            "low": self.low, "high": self.high, "level": self.level, "n": self.n, "clusters": self.clusters, "method": self.method,
            "outcomes": self.outcomes.document(), **{name: value for name, value in used.items() if value is not None},
            "notes": list(self.notes), "by": f"dyff.stats {VERSION}",
        }  # fmt: skip

    def interval(self) -> str:
        """The interval as words."""
        if self.low is None or self.high is None:
            return f"no {self.level * 100:.4g} % interval: {self.notes[0] if self.notes else 'it is not known'}"
        return f"{self.level * 100:.4g} % interval {self.low:.4g} to {self.high:.4g}"

    def __str__(self) -> str:
        """One line."""
        clusters = "" if self.clusters is None else f"; clusters: {self.clusters}"
        return f"{self.value:.4g} ({self.interval()}; {self.method}; {self.outcomes}{clusters})"


@dataclass(frozen=True)
class PValue:
    """The result of a test of no difference.

    Attributes:
        p: how often a difference at least so large would come by chance alone, if there were none; both directions count.
        difference: the observed one, first minus second.
        method: the name of the test.
        n: the number of pairs.
        clusters: None if the pairs count as independent.
        smallest: the smallest p that data of this size can give. If it is above what is asked for, the test cannot show anything.
        exact: whether all possibilities were counted; otherwise they were drawn.
        outcomes: of all pairs that were given.
        seed, draws: of random numbers; None if there are none.
        notes: what a reader has to know, each a sentence.
    """

    p: float
    difference: float
    method: str
    n: int
    clusters: int | None
    smallest: float
    exact: bool
    outcomes: Outcomes
    seed: int | None = None
    draws: int | None = None
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON."""
        drawn = {} if self.exact else {"seed": self.seed, "draws": self.draws}
        return {
            "p": self.p, "difference": self.difference, "method": self.method, "n": self.n, "clusters": self.clusters,
            "smallest": self.smallest, "exact": self.exact, "outcomes": self.outcomes.document(), **drawn,
            "notes": list(self.notes), "by": f"dyff.stats {VERSION}",
        }  # fmt: skip
