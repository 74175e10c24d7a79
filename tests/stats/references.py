"""A program for the environment of analyses: what scipy and statsmodels get for the data on its input, as JSON.

It runs there because statsmodels is there. It imports nothing of Dyff.
"""

import json
import sys

import numpy as np
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats import contingency_tables, inter_rater, multitest, power, proportion


def main() -> None:
    data = {name: np.array(value) for name, value in json.load(sys.stdin).items()}
    x, y, groups = data["x"], data["y"], data["groups"]
    t = scipy.stats.ttest_1samp(x, 0).confidence_interval(0.95)
    ols = sm.OLS(x, np.ones(len(x))).fit()
    by_cluster = ols.get_robustcov_results("cluster", groups=groups, use_t=True)
    paired = scipy.stats.ttest_rel(x, y).confidence_interval(0.9)
    boot = {
        name: scipy.stats.bootstrap((x,), statistic, n_resamples=2000, rng=np.random.default_rng(7), vectorized=False).confidence_interval
        for name, statistic in (("mean", np.mean), ("median", np.median))
    }
    flips = scipy.stats.permutation_test(
        (x[:12], y[:12]), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    table = np.zeros((3, 3))
    np.add.at(table, (data["first"], data["second"]), 1)
    kappa = {
        name: float(inter_rater.cohens_kappa(table, wt=wt).kappa)
        for name, wt in (("none", None), ("linear", "linear"), ("quadratic", "quadratic"))
    }
    flags_a, flags_b = x > 0.5, y > 0.5
    pairs = [[int((a & b).sum()) for b in (flags_b, ~flags_b)] for a in (flags_a, ~flags_a)]
    common, at_a, at_b = np.intersect1d(data["items_a"], data["items_b"], return_indices=True)
    of_a, of_b = data["of_a"][at_a], data["of_b"][at_b]
    robust = sm.OLS(of_b - of_a, np.ones(len(common))).fit().get_robustcov_results("cluster", groups=common // 4, use_t=True)
    right = [[int((((of_a > 0) == one) & ((of_b > 0) == other)).sum()) for other in (True, False)] for one in (True, False)]
    compared = {
        "n": len(common),
        "plain": [float((of_b - of_a).mean()), *scipy.stats.ttest_rel(of_b, of_a).confidence_interval(0.95)],
        "clusters": [float(robust.params[0]), *map(float, robust.conf_int()[0])],
        "mcnemar": float(contingency_tables.mcnemar(right, exact=True).pvalue),
    }
    found = {
        "compared": compared,
        "t": list(t),
        "cluster": [float(by_cluster.bse[0]), *map(float, by_cluster.conf_int()[0])],
        "paired": list(paired),
        "wilson": {str(k): list(proportion.proportion_confint(k, 40, method="wilson")) for k in (0, 1, 20, 39, 40)},
        "beta": {str(k): list(proportion.proportion_confint(k, 29, method="beta")) for k in (1, 15, 28)},
        "bootstrap": {name: list(each) for name, each in boot.items()},
        "flips": float(flips.pvalue),
        "mcnemar": float(contingency_tables.mcnemar(pairs, exact=True).pvalue),
        "holm": list(multitest.multipletests(data["p"], method="holm")[1]),
        "benjamini_hochberg": list(multitest.multipletests(data["p"], method="fdr_bh")[1]),
        "kappa": kappa,
        "power": {str(n): float(power.TTestPower().power(0.3, n, 0.05)) for n in (2, 5, 40, 400)},
        "effect": float(power.TTestPower().solve_power(nobs=25, alpha=0.05, power=0.8)),
        "versions": {"scipy": scipy.__version__},
    }
    json.dump(found, sys.stdout, default=float)


if __name__ == "__main__":
    main()
