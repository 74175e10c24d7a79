"""Data that is too little, too equal or wrong: an error that names the argument and the fix, or an answer that says what is not known."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest

from dyff import stats
from dyff.stats import scales
from tests.stats.reading import ends, width

NAN = float("nan")
HALF = [1.0, 2.0] * 2

REFUSED = {
    "no items": (lambda: stats.mean([]), "values has no verdict"),
    "no verdicts": (lambda: stats.proportion([None, None], error=[True, False]), "of 2 items, 0 have a verdict, 1 an error, 1 were not"),
    "NaN": (lambda: stats.mean([1, NAN, NAN]), r"values: row 1 is NaN \(2 rows are\). Make it null"),
    "larger than its square can be": (lambda: stats.mean([1, 1e200]), "values: row 1 is 1e\\+200; numbers beyond 1e\\+150 cannot"),
    "far below 0": (lambda: stats.mean([-1e151]), "values: row 0 is -1e\\+151; numbers beyond"),
    "labels that are lists": (
        lambda: stats.mean([1, 2], cluster=pa.array([[1], [2]])), r"cluster has the Arrow type list<.*>; give texts or numbers",
    ),
    "infinite": (lambda: stats.mean(np.array([1, math.inf])), "values: row 1 is infinite"),
    "a text": (lambda: stats.mean("abc"), "values is of the type str; give an Arrow or numpy array, or a list"),
    "texts": (lambda: stats.mean([1, "b"]), "values: row 1 is of the type str; give numbers"),
    "texts in Arrow": (lambda: stats.mean(pa.array(["1"])), "values has the Arrow type string"),
    "a matrix": (lambda: stats.mean(np.zeros((2, 2))), "values has 2 dimensions"),
    "a dictionary": (lambda: stats.mean({1: 2}), "values is of the type dict"),  # type: ignore[arg-type]
    "shorter clusters": (lambda: stats.mean([1, 2], cluster=["a"]), "cluster has 1 rows and values has 2; give one for each row"),
    "no cluster": (lambda: stats.mean([1, 2], cluster=["a", None]), "cluster: row 1 is null"),
    "NaN as cluster": (lambda: stats.mean([1, 2], cluster=[1.0, NAN]), "cluster has NaN"),
    "a list as cluster": (lambda: stats.mean([1, 2], cluster=[[1], [2]]), "cluster: row 0 is of the type list"),
    "shorter errors": (lambda: stats.mean([1, 2], error=[True]), "error has 1 rows"),
    "both outcomes": (lambda: stats.mean([1, 2], error=[False, True]), "row 1 has a verdict in values and is true in error"),
    "numbers as errors": (lambda: stats.mean([1, 2], error=[0, 3]), "error: row 1 is 3; give booleans"),
    "per cent": (lambda: stats.mean([1, 2], level=95), "level is 95; give a number between 0 and 1, such as 0.95"),
    "no level": (lambda: stats.mean([1, 2], level=NAN), "level is nan"),
    "no share": (lambda: stats.proportion([0, 2]), r"values has the value 2; give booleans, or 0 and 1 \(dyff.stats.mean"),
    "different lengths": (lambda: stats.paired_difference([1, 2], [1]), "b has 1 rows and a has 2"),
    "no pair": (lambda: stats.permutation([1, None], [None, 1]), "a and b has no verdict"),
    "a binary test of numbers": (lambda: stats.mcnemar([0.5], [1]), "a has the value 0.5"),
    "unknown statistic": (lambda: stats.bootstrap([1, 2], "medan"), r"statistic is 'medan'; .* \(did you mean median"),
    "few draws": (lambda: stats.bootstrap([1, 2], draws=5), "draws is 5; give a whole number from 100 to 1000000"),
    "too many draws": (lambda: stats.bootstrap([1, 2] * 40_000, draws=10**6), "draws is 1000000, which is too much work for 80000 values"),
    "no seed": (lambda: stats.bootstrap([1, 2], seed=-1), "seed is -1"),
    "statistic of NaN": (lambda: stats.bootstrap([1, 2], lambda _: NAN), "statistic returned nan for a sample of 2 values"),
    "statistic of a text": (lambda: stats.bootstrap([1, 2], lambda _: "x"), "statistic returned str"),  # type: ignore[arg-type,return-value]
    "p of 2": (lambda: stats.holm([0.1, 2]), "p: row 1 is 2; give numbers from 0 to 1"),
    "p of NaN": (lambda: stats.benjamini_hochberg([NAN]), "p: row 0 is NaN"),
    "p of null": (lambda: stats.holm([None]), "p: row 0 is null"),  # type: ignore[list-item]
    "no difference": (lambda: stats.power(0, standard_deviation=1, n=5), "difference is 0"),
    "no deviation": (lambda: stats.smallest_difference(standard_deviation=0, n=5), "standard_deviation is 0"),
    "one item": (lambda: stats.power(1, standard_deviation=1, n=1), "n is 1; give a whole number from 2"),
    "power of chance": (lambda: stats.items_needed(1, standard_deviation=1, power=0.05), "power is 0.05, which chance alone reaches"),
    "too small": (lambda: stats.items_needed(1e-9, standard_deviation=1), "more than 1000000000 items"),
    "power of a share": (lambda: stats.detectable(stats.proportion([1, 0])), "estimate is by Clopper-Pearson"),
    "too large k": (lambda: stats.pass_at_k([1], 3, samples_each=2), "samples_each: row 0 is 2; give a whole number from k, which is 3"),
    "too many passed": (lambda: stats.pass_at_k([3], 1, samples_each=[2]), "passed: row 0 is 3; give a whole number from 0 to"),
    "no k": (lambda: stats.pass_at_k([3], 0, samples_each=[2]), "k is 0"),
    "nothing by chance": (lambda: stats.cohen_kappa(["a", "a"], ["a", "a"]), "kappa is not defined"),
    "unknown weights": (lambda: stats.cohen_kappa([1], [1], weights="cubic"), "weights is 'cubic'"),
    "no order": (lambda: stats.cohen_kappa(["a", "b"], ["b", "a"], weights="linear"), "categories is not given"),
    "not in the order": (lambda: stats.cohen_kappa(["a", "b"], ["b", "a"], categories=["a"]), "categories has no 'b'"),
    "unknown scale": (lambda: stats.krippendorff_alpha([1], [1], scale="nominel"), r"scale is 'nominel'.* \(did you mean nominal"),
    "one rating each": (lambda: stats.krippendorff_alpha([1, 2], [1, 2]), "values has no item with two ratings"),
    "one label": (lambda: stats.krippendorff_alpha([1, 1], [1, 1]), "alpha is not defined"),
    "texts with intervals": (lambda: stats.krippendorff_alpha(["a", "b"], [1, 1], scale="interval"), "values has labels that are no num"),
    "rated twice": (lambda: stats.krippendorff_alpha([1, 2], ["x", "x"], rater=["r", "r"]), "rater 'r' has rated the item 'x' twice"),
    "too many labels": (lambda: stats.krippendorff_alpha(range(300), [1] * 300), "values has 300 different labels, more than 200"),
    "too much at once": (lambda: scales.bounded(10**6, 100, "values"), "values has 100 different labels, too many for 1000000 items"),
    "no people": (lambda: stats.judge_corrected_mean([1, 0, 1], [1, None, None]), "people has a verdict for 1 of 3 items"),
    "only people": (lambda: stats.judge_corrected_mean([1, 0, 1], [1, 0, 1]), "leave at least 2 to the judge alone"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused(name):
    """The message begins with the argument, and says what is wrong and how to fix it."""
    call, message = REFUSED[name]
    with pytest.raises(stats.Unfit, match=message):
        call()


ONE = "there is only one"
UNKNOWN = {
    "one item": (lambda: stats.mean([3]), ONE),
    "one cluster": (lambda: stats.mean([1, 2, 3], cluster=["a"] * 3), ONE),
    "one cluster of verdicts": (lambda: stats.proportion([1, 0, 1], cluster=["a"] * 3), ONE),
    "all equal": (lambda: stats.mean([0.1] * 9), "all 9 values are equal"),
    "clusters that are alike": (lambda: stats.mean([0.1, 0.2] * 3, cluster=list("aabbcc")), "all clusters have the same mean"),
    "ties only": (lambda: stats.paired_difference([1, 2, 3], [1, 2, 3]), "all 3 values are equal"),
    "one pair": (lambda: stats.paired_difference([1, 2], [0, None]), ONE),
    "bootstrap of one": (lambda: stats.bootstrap([1]), ONE),
    "bootstrap of equal ones": (lambda: stats.bootstrap([1, 1, 1]), "all draws give the same"),
    "a statistic at the edge": (lambda: stats.bootstrap([1, 2, 2, 2, 2], lambda values: float(values.max())), "at the edge"),
    "all agree": (lambda: stats.cohen_kappa(list("aab"), list("aab")), "without one of them, the measure is not defined"),
    "all agree well": (lambda: stats.cohen_kappa(list("aabb"), list("aabb")), "the same whatever is left out"),
    "one rated item": (lambda: stats.krippendorff_alpha([1, 2], [1, 1]), "without one of them"),
    "pass@k of equal items": (lambda: stats.pass_at_k([1, 1], 1, samples_each=2), "all 2 values are equal"),
    "a judge that is always right": (lambda: stats.judge_corrected_mean([1] * 4, [1, 1, None, None]).estimate, "all differences are equal"),
    "a judge and one cluster": (lambda: stats.judge_corrected_mean(HALF, [1, 2, None, None], cluster=["a"] * 4).estimate, ONE),
    "a judge and equal clusters": (
        lambda: stats.judge_corrected_mean([1] * 4, [1, 1, None, None], cluster=[1, 2, 1, 2], tuned=False).estimate, "are equal",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_interval_that_is_not_known_is_none(name):
    """The value is there, and the first note says why there is no interval. Neither is NaN."""
    call, note = UNKNOWN[name]
    found = call()
    assert (found.low, found.high, found.excludes(0)) == (None, None, None)
    assert note in found.notes[0]
    assert found.notes[0] in str(found)
    assert math.isfinite(found.value)
    json.dumps(found.document(), allow_nan=False)


@pytest.mark.parametrize("n", [2, 5])
def test_few_items_have_an_interval_that_says_it(n):
    """An interval of two or five values exists, is wide, and has a note."""
    found = stats.mean(list(range(n)))
    low, high = ends(found)
    assert low < 0.5 * (n - 1) - n / 4 < n < high + n / 4
    assert f"{n} items are few" in " ".join(found.notes)
    assert "clusters are few" in stats.mean([1, 2, 4], cluster=list("aab")).notes[0]
    assert "dyff.stats.proportion" in stats.mean([1, 0] * 20).notes[0]


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 2), (2, 2), (0, 5), (5, 5), (0, 40), (40, 40)])
def test_a_share_of_none_or_all_is_not_certain(successes, n):
    """The interval ends at 0 or 1 exactly, and is not a point: five of five can be half."""
    found = stats.proportion([True] * successes + [False] * (n - successes))
    assert (found.low == 0, found.high == 1) == (successes == 0, successes == n)
    assert width(found) > 1.5 / (n + 1) - 0.1


def test_ties_give_a_p_of_one():
    """Systems that never differ are not shown to differ, and the note says that no item differs."""
    flipped, paired = stats.permutation([1, 2], [1, 2]), stats.mcnemar([1, 0], [1, 0])
    assert (flipped.p, flipped.smallest, flipped.notes) == (1.0, 1.0, ("no item differs",))
    assert (paired.p, paired.smallest) == (1.0, 1.0)


def test_rounding_is_no_difference():
    """Sums whose order differs are equal up to rounding, and count as ties."""
    assert stats.permutation([0.1 + 0.2, 0.7], [0.3, 0.1 + 0.6]).notes == ("no item differs",)
    assert stats.permutation([0.3, 0.1], [0.1, 0.3], cluster=["a", "a"]).p == 1.0
    assert stats.paired_difference([0.1 + 0.2, 0.7, 1], [0.3, 0.1 + 0.6, 1]).value == 0.0


def test_components_that_are_not_known_are_none():
    """Without replications, or with one item, a component is None, and so is what follows from it."""
    alone, single = stats.variance_components([1, 2], ["a", "b"]), stats.variance_components([1, 2], ["a", "a"])
    assert (alone.within, alone.between, alone.standard_error(10, 10)) == (None, None, None)
    assert (single.within, single.between, single.standard_error(10, 10)) == (0.5, None, None)
    assert "no item has two answers" in alone.notes[0]
    assert ONE in single.notes[0]


def test_a_variance_is_never_negative():
    """Where chance makes the estimate negative, it is 0, and a note says it."""
    found = stats.variance_components([1, 3, 1, 3], list("aabb"))
    assert (found.between, found.within) == (0.0, 2.0)
    assert "below 0" in found.notes[0]
    with pytest.raises(stats.Unfit, match="replications is 0"):
        found.standard_error(5, 0)


def test_what_could_be_detected_is_not_known_without_a_spread():
    """Where there is no interval, the answer is None."""
    assert stats.detectable(stats.paired_difference([1, 2], [1, 2])) is None


def test_a_large_difference_is_found_for_certain():
    """The function behind it gives NaN far out, which does not show."""
    assert stats.power(1e6, standard_deviation=1, n=5) == 1.0
    assert stats.power(0.001, standard_deviation=1, n=10**9) == 1.0


def test_results_cannot_be_changed():
    """They are values: a number and its interval stay together."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.mean([1, 2]).value = 3  # type: ignore[misc]
