"""The same numbers as scipy and statsmodels, which run in the environment of analyses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dyff import stats
from tests.analyses.runs import environment

RNG = np.random.default_rng(20261130)
X = RNG.gamma(2.0, 0.5, 60) + np.repeat(RNG.normal(0, 0.4, 12), 5)
Y = X + RNG.normal(0.1, 0.3, 60)
GROUPS = [f"text {each}" for each in np.repeat(range(12), [1, 9, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5])]
FIRST, SECOND = RNG.integers(0, 3, 80), RNG.integers(0, 3, 80)
SECOND[:50] = FIRST[:50]
ITEMS_A, ITEMS_B = RNG.permutation(50), RNG.permutation(np.arange(5, 60))
OF_A, OF_B = RNG.normal(0, 1, 50), RNG.normal(0.3, 1, 55)
P = [0.011, 0.8, 0.0004, 0.011, 0.04, 0.2, 1.0, 0.0]


@pytest.fixture(scope="module")
def others():
    """What the others get."""
    data: dict[str, Any] = {"items_a": ITEMS_A, "items_b": ITEMS_B, "of_a": OF_A, "of_b": OF_B}
    data |= {"x": X, "y": Y, "groups": np.unique(GROUPS, return_inverse=True)[1], "first": FIRST, "second": SECOND, "p": P}
    text = json.dumps({name: np.asarray(value).tolist() for name, value in data.items()})
    program = Path(__file__).with_name("references.py")
    done = subprocess.run([environment(), "-W", "ignore", program], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def interval(estimate):
    """Its ends."""
    return [estimate.low, estimate.high]


def test_the_mean(others):
    """scipy's t interval."""
    assert interval(stats.mean(X)) == pytest.approx(others["t"], rel=1e-12)


def test_the_mean_by_cluster(others):
    """The cluster-robust standard error of statsmodels for a regression on a constant, with clusters of different sizes."""
    found = stats.mean(X, cluster=GROUPS)
    assert [found.standard_error, *interval(found)] == pytest.approx(others["cluster"], rel=1e-10)
    assert (found.clusters, found.degrees_of_freedom) == (12, 11)


def test_a_paired_difference(others):
    """scipy's interval of the paired t test, at another level."""
    assert interval(stats.paired_difference(X, Y, level=0.9)) == pytest.approx(others["paired"], rel=1e-10)


@pytest.mark.parametrize("successes", [0, 1, 20, 39, 40])
def test_wilson(others, successes):
    """Those of statsmodels from 30 items, also if none or all are true."""
    found = stats.proportion([True] * successes + [False] * (40 - successes))
    assert found.method == "Wilson"
    assert interval(found) == pytest.approx(others["wilson"][str(successes)], abs=1e-12)


@pytest.mark.parametrize("successes", [1, 15, 28])
def test_clopper_pearson(others, successes):
    """Those of statsmodels below 30 items."""
    found = stats.proportion([1] * successes + [0] * (29 - successes))
    assert found.method == "Clopper-Pearson"
    assert interval(found) == pytest.approx(others["beta"][str(successes)], rel=1e-10)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_bootstrap(others, statistic):
    """scipy's BCa interval for the same random numbers."""
    found = stats.bootstrap(X, statistic, draws=2000, seed=7)
    assert interval(found) == pytest.approx(others["bootstrap"][statistic], rel=1e-9)


def test_the_permutation_test(others):
    """scipy's p, when all possibilities are counted."""
    found = stats.permutation(X[:12], Y[:12])
    assert found.exact
    assert found.p == pytest.approx(others["flips"], abs=1e-12)


def test_mcnemar(others):
    """The exact p of statsmodels."""
    assert stats.mcnemar(X > 0.5, Y > 0.5).p == pytest.approx(others["mcnemar"], rel=1e-10)


def test_corrections(others):
    """Those of statsmodels, with ties, 0 and 1."""
    assert stats.holm(P) == pytest.approx(others["holm"])
    assert stats.benjamini_hochberg(P) == pytest.approx(others["benjamini_hochberg"])


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa(others, weights):
    """Those of statsmodels."""
    assert stats.cohen_kappa(FIRST, SECOND, weights=weights).value == pytest.approx(others["kappa"][weights], rel=1e-10)


@pytest.mark.parametrize("n", [2, 5, 40, 400])
def test_power(others, n):
    """That of the paired t test of statsmodels."""
    assert stats.power(0.3, standard_deviation=1, n=n) == pytest.approx(others["power"][str(n)], rel=1e-6)


def test_the_smallest_difference(others):
    """What statsmodels solves for, in standard deviations."""
    assert stats.smallest_difference(standard_deviation=2, n=25) == pytest.approx(2 * others["effect"], rel=1e-5)


def test_a_comparison(others):
    """The join of numpy, and then the interval of scipy, of statsmodels by cluster, and its exact McNemar test of the signs."""
    want = others["compared"]
    a, b = ({"_index_": items, "s": values} for items, values in ((ITEMS_A, OF_A), (ITEMS_B, OF_B)))
    plain = stats.compare(a, b, "s")
    assert plain.difference.n == want["n"]
    assert [plain.difference.value, *interval(plain.difference)] == pytest.approx(want["plain"], rel=1e-10)
    clustered = stats.compare({**a, "_cluster_": ITEMS_A // 4}, {**b, "_cluster_": ITEMS_B // 4}, "s")
    assert [clustered.difference.value, *interval(clustered.difference)] == pytest.approx(want["clusters"], rel=1e-10)
    signs = stats.compare({"_index_": ITEMS_A, "s": OF_A > 0}, {"_index_": ITEMS_B, "s": OF_B > 0}, "s")
    assert signs.test.p == pytest.approx(want["mcnemar"], rel=1e-12)
