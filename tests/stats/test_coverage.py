"""Intervals contain the truth as often as they say, and tests find what is not there no more often than they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dyff import stats
from dyff.stats import proportions
from tests.stats.reading import width

ROUNDS = 600


def share(hits):
    """How often; with 600 rounds, its standard error is 0.009."""
    return float(np.mean(hits))


@pytest.mark.parametrize("n", [1, 2, 5, 29])
def test_small_proportions_are_covered_always(n):
    """The exact interval contains the truth with at least 95 %, for every true share: counted, not simulated."""
    intervals = [proportions.clopper_pearson(k / n, n, 0.95) for k in range(n + 1)]
    for truth in np.linspace(0.01, 0.99, 50):
        chances = [math.comb(n, k) * truth**k * (1 - truth) ** (n - k) for k in range(n + 1)]
        assert sum(each for each, (low, high) in zip(chances, intervals, strict=True) if low <= truth <= high) >= 0.95


def test_larger_proportions_are_covered_on_average():
    """Wilson's interval has 95 % on average over true shares, and never less than 90 % from 0.05 on."""
    n = 40
    intervals = [proportions.wilson(k / n, n, 0.95) for k in range(n + 1)]
    covered = []
    for truth in np.linspace(0.05, 0.95, 91):
        chances = [math.comb(n, k) * truth**k * (1 - truth) ** (n - k) for k in range(n + 1)]
        covered.append(sum(each for each, (low, high) in zip(chances, intervals, strict=True) if low <= truth <= high))
    assert 0.94 < share(covered) < 0.965
    assert min(covered) > 0.9


def test_means_of_clusters_are_covered():
    """With 20 clusters of 6, the interval by cluster has 95 %. That of independent items has far less."""
    rng, cluster = np.random.default_rng(1), np.repeat(np.arange(20), 6)
    by_cluster, naive = [], []
    for _ in range(ROUNDS):
        values = rng.normal(0, 1, 20).repeat(6) + rng.normal(0, 1, 120)
        by_cluster.append(stats.mean(values, cluster=cluster).excludes(0))
        naive.append(stats.mean(values).excludes(0))
    assert 0.03 < share(by_cluster) < 0.07
    assert share(naive) > 0.25


def test_proportions_of_clusters_are_covered():
    """Nearly the same for verdicts: 25 clusters of 8 whose shares differ much, most near 1."""
    rng, cluster = np.random.default_rng(2), np.repeat(np.arange(25), 8)
    missed = []
    for _ in range(ROUNDS):
        verdicts = rng.random(200) < rng.beta(4, 1, 25).repeat(8)
        missed.append(stats.proportion(verdicts, cluster=cluster).excludes(0.8))
    assert 0.03 < share(missed) < 0.085


def test_the_bootstrap_covers_skewed_means():
    """BCa of 40 skewed values has nearly 95 %."""
    rng = np.random.default_rng(3)
    missed = [stats.bootstrap(rng.exponential(1, 40), draws=600, seed=each).excludes(1) for each in range(400)]
    assert 0.03 < share(missed) < 0.1


def test_a_judge_is_covered():
    """A judge that is biased, and 50 people's verdicts: 95 %, and narrower than people alone."""
    rng, missed, widths = np.random.default_rng(4), [], []
    people = np.full(500, None, dtype=object)
    for _ in range(ROUNDS):
        truth = rng.normal(0, 1, 500)
        judge = truth + rng.normal(0.4, 0.5, 500)
        people[:50] = truth[:50]
        found = stats.judge_corrected_mean(judge, people).estimate
        alone = stats.mean(truth[:50])
        missed.append(found.excludes(0))
        widths.append(width(found) / width(alone))
    assert 0.03 < share(missed) < 0.075
    assert share(widths) < 0.75


def test_the_permutation_test_is_not_too_eager():
    """Where there is no difference, p is at most 0.05 in at most 5 %, also by cluster."""
    rng, cluster, small = np.random.default_rng(5), np.repeat(np.arange(12), 4), []
    for _ in range(ROUNDS):
        values = rng.exponential(1, 12).repeat(4) * rng.choice([-1, 1], 12).repeat(4) + rng.normal(0, 1, 48)
        small.append(stats.permutation(values, np.zeros(48), cluster=cluster).p <= 0.05)
    assert 0.03 < share(small) < 0.07


def test_kappa_is_covered():
    """The jackknife interval of kappa of 100 items has nearly 95 %: the true value is 0.6, for a rater who copies six of ten labels."""
    rng, missed = np.random.default_rng(6), []
    for _ in range(ROUNDS):
        a = rng.integers(0, 2, 100)
        b = np.where(rng.random(100) < 0.6, a, rng.integers(0, 2, 100))
        missed.append(stats.cohen_kappa(a, b).excludes(0.6))
    assert 0.03 < share(missed) < 0.085


def test_power_is_what_happens():
    """With the calculated number of items, four of five studies find the difference."""
    rng, n = np.random.default_rng(7), stats.items_needed(0.4, standard_deviation=1)
    found = [stats.paired_difference(rng.normal(0.4, 1, n), np.zeros(n)).excludes(0) for _ in range(ROUNDS)]
    assert 0.77 < share(found) < 0.84


def test_the_components_are_right_on_average():
    """Estimates of both variances have the true ones as their means."""
    rng, item = np.random.default_rng(8), np.repeat(np.arange(30), 4)
    found = [stats.variance_components(rng.normal(0, 2, 30).repeat(4) + rng.normal(0, 1, 120), item) for _ in range(300)]
    assert np.mean([each.within for each in found]) == pytest.approx(1, rel=0.05)
    assert np.mean([each.between for each in found]) == pytest.approx(4, rel=0.1)
