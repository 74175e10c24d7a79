"""Means of a judge's verdicts, corrected by those of people (prediction-powered inference)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dyff.stats import columns, samples, spreads, unfit
from dyff.stats.estimates import Estimate
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    from dyff.stats.columns import Column, Floats, Mask


@dataclass(frozen=True)
class Corrected:
    """`estimate`: of what people would have said on average. `weight`: how much the judge counted; 0: only people did, 1: in full.

    `labelled`: the number of items with verdicts of both. `judge`: the judge's own mean, of all items. `bias`: judge minus people, of
    the labelled items.
    """

    estimate: Estimate
    weight: float
    labelled: int
    judge: float
    bias: float


def judge_corrected_mean(
    judge: Column, people: Column, *, cluster: Column | None = None, error: Column | None = None, level: float = 0.95, tuned: bool = True
) -> Corrected:
    """Return the mean that people would have given, from a judge of all items and people for some.

    The judge can be biased in any way: the items with both verdicts correct it (Angelopoulos et al. 2023, Science 382:669, arXiv
    2301.09633). People's items must be a random sample of all.

    Args:
        judge: numbers of the judge for all items; null where it has no verdict.
        people: numbers of people; null where they were not asked.
        cluster: a label for each item, see `dyff.stats.mean`.
        error: true for each item where the judge failed.
        level: of the interval.
        tuned: weight the judge by how well it agrees, so that a bad one does no harm (PPI++, arXiv 2311.01453). Otherwise its weight
            is 1.

    Returns:
        The corrected mean with its t interval, and what it was made of.

    Raises:
        Unfit: an argument cannot be used, or there are not at least two items with both verdicts and two with only that of the judge.
    """
    import numpy as np

    level = unfit.confidence(level)
    said, there = columns.numbers(judge, "judge")
    truth, asked = columns.numbers(people, "people")
    columns.same_length(judge=int(said.size), people=int(truth.size))
    found = samples.of(said, there, cluster, samples.counted(there, error, "judge"), "judge")
    labelled = asked[there]
    f, y = found.values, np.where(labelled, truth[there], 0.0)
    both, alone = int(labelled.sum()), int((~labelled).sum())
    if both < 2 or alone < 2:
        raise Unfit(
            f"people has a verdict for {both} of {found.n} items that the judge judged; give at least 2, and leave at least 2 to the judge "
            f"alone (if people judged all, use dyff.stats.mean of people)"
        )
    weight = _weight(f, y, labelled) if tuned else 1.0
    value = weight * float(f[~labelled].mean()) + float((y - weight * f)[labelled].mean())
    spread = _spread(found, f, y, labelled, weight)
    method = f"prediction-powered, {'tuned' if tuned else 'weight 1'}, t" + ("" if cluster is None else ", cluster-robust standard error")
    estimate = spreads.by_t(found, value, spread, level, method, (f"people judged {both} of {found.n} items",))
    bias = float((f - y)[labelled].mean())
    return Corrected(estimate, weight, both, float(f.mean()), bias)


def _weight(f: Floats, y: Floats, labelled: Mask) -> float:
    """The weight with the least variance, within 0 and 1."""
    import numpy as np

    both, alone = int(labelled.sum()), int((~labelled).sum())
    variance = float(f.var(ddof=1))
    if variance == 0:
        return 0.0
    common = float(np.cov(f[labelled], y[labelled], ddof=1)[0, 1])
    return min(1.0, max(0.0, common / ((1 + both / alone) * variance)))


def _spread(found: samples.Sample, f: Floats, y: Floats, labelled: Mask, weight: float) -> spreads.Spread:
    """The standard error of the sum of both parts. Without clusters, the parts are independent (Welch and Satterthwaite)."""
    import numpy as np

    both, alone = int(labelled.sum()), int((~labelled).sum())
    rest, differences = weight * f[~labelled], (y - weight * f)[labelled]
    if found.clusters is None:
        of_rest, of_both = float(rest.var(ddof=1)) / alone, float(differences.var(ddof=1)) / both
        if of_rest + of_both == 0:
            return spreads.Spread(None, None, "all differences are equal, so they do not show how much others would differ")
        freedom = (of_rest + of_both) ** 2 / (of_rest**2 / (alone - 1) + of_both**2 / (both - 1))
        return spreads.Spread(float(np.sqrt(of_rest + of_both)), freedom)
    if found.clusters < 2:
        return spreads.Spread(None, None, "there is only one cluster, and one does not show how much clusters differ")
    influence = np.empty_like(f)
    influence[~labelled] = (rest - rest.mean()) / alone
    influence[labelled] = (differences - differences.mean()) / both
    error = spreads.of_sums(influence, found.units, found.count)
    if error == 0:
        return spreads.Spread(None, None, "all differences are equal, so they do not show how much others would differ")
    return spreads.Spread(error, float(found.count - 1))
