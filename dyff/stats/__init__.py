"""Statistics for audits: values with honest intervals, on columns of Arrow tables. docs/statistics.md says which function is for what.

It stands alone: Python's standard library and numpy; `scipy.special` only for intervals by t and beta distributions. Both are imported by
the functions that use them. It is part of dyff-sdk, and the server puts it into the environment of every method (docs/adr/0041).
"""

from dyff.stats.agreement import cohen_kappa
from dyff.stats.comparisons import Comparison, Side, compare, corrected
from dyff.stats.corrections import benjamini_hochberg, holm
from dyff.stats.estimates import VERSION, Estimate, Outcomes, PValue
from dyff.stats.judges import Corrected, judge_corrected_mean
from dyff.stats.means import mean, paired_difference
from dyff.stats.paired_shares import paired_proportions
from dyff.stats.permutations import mcnemar, permutation
from dyff.stats.powers import detectable, items_needed, power, smallest_difference
from dyff.stats.proportions import proportion
from dyff.stats.recording import score
from dyff.stats.reliability import krippendorff_alpha
from dyff.stats.replications import Components, pass_at_k, variance_components
from dyff.stats.resampling import bootstrap
from dyff.stats.samples import outcomes
from dyff.stats.unfit import Unfit

__all__ = [
    "VERSION",
    "Comparison",
    "Components",
    "Corrected",
    "Estimate",
    "Outcomes",
    "PValue",
    "Side",
    "Unfit",
    "benjamini_hochberg",
    "bootstrap",
    "cohen_kappa",
    "compare",
    "corrected",
    "detectable",
    "holm",
    "items_needed",
    "judge_corrected_mean",
    "krippendorff_alpha",
    "mcnemar",
    "mean",
    "outcomes",
    "paired_difference",
    "paired_proportions",
    "pass_at_k",
    "permutation",
    "power",
    "proportion",
    "score",
    "smallest_difference",
    "variance_components",
]
