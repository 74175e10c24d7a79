"""Clusters that show little, labels with an order, and an installation without scipy."""

from __future__ import annotations

import sys

import pytest

from dyff import stats
from tests.narrowing import sure


def test_agreement_in_one_cluster_has_no_interval():
    """Without the only cluster nothing is left to calculate with."""
    found = stats.cohen_kappa([1, 2, 1, 2], [1, 2, 2, 2], cluster=["a"] * 4)
    assert (found.value, found.low, found.high, found.clusters) == (0.5, None, None, 1)


def test_clusters_that_are_all_alike_count_as_independent_items():
    """They are no reason to claim more than that: the interval is the one without clusters."""
    alike = stats.proportion([1, 0, 1, 0], cluster=["a", "a", "b", "b"])
    plain = stats.proportion([1, 0, 1, 0])
    assert (alike.low, alike.high) == (plain.low, plain.high)
    assert alike.clusters == 2


def test_a_judge_with_clusters_has_a_robust_interval():
    """By t with one degree of freedom less than there are clusters."""
    judge, people = [1, 0, 1, 1, 0, 1, 0, 1], [1, 0, 0, 1, None, None, None, None]
    found = stats.judge_corrected_mean(judge, people, cluster=list("aabbccdd")).estimate
    assert found.degrees_of_freedom == 3
    assert sure(found.low) < found.value < sure(found.high)
    assert found.method.endswith("cluster-robust standard error")


def test_labels_can_have_a_given_order():
    """Near labels count as half of an agreement; with another order other labels are near."""
    a, b = ["low", "high", "middle", "low"], ["middle", "high", "middle", "low"]
    near = stats.cohen_kappa(a, b, weights="linear", categories=["low", "middle", "high"])
    far = stats.cohen_kappa(a, b, weights="linear", categories=["low", "high", "middle"])
    assert near.value > far.value


def test_an_interval_as_words():
    """Level and ends; where there is none, why."""
    assert stats.mean([1.0, 2.0, 3.0]).interval() == "95 % interval -0.4841 to 4.484"
    assert stats.mean([1.0]).interval().startswith("no 95 % interval: there is only one item")


def test_without_scipy_the_message_has_the_command(monkeypatch):
    """It is not part of the client's smallest installation."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "dyff-sdk\[stats\]"'):
        stats.mean([1.0, 2.0])
