"""The whole comparison of two systems: which rows belong together, what is counted, and when a difference is shown."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from dyff import stats
from tests.narrowing import sure
from tests.stats.reading import ends


def table(values, **more):
    """Rows of items 0, 1, 2, ..."""
    return {"_index_": list(range(len(values))), "right": values, **more}


def compare(a, b, **more):
    """Of two tables, or of two lists of values for the same items."""
    first, second = (each if isinstance(each, dict | pa.Table) else table(each) for each in (a, b))
    return stats.compare(first, second, "right", **{"valence": "positive", **more})


def test_five_items_show_nothing():
    """With 5 pairs, all in one direction, p is 2 of 32. No interval makes up for that, and a note says why."""
    found = compare([False] * 5, [True] * 5)
    assert (found.difference.value, found.test.p, found.test.method) == (1, 2 / 32, "McNemar, exact")
    assert (found.verdict, found.shown, found.better, found.higher) == ("no difference shown", False, None, None)
    assert found.notes == ("so few pairs differ that no p can be below 0.0625: nothing can be shown with them",)


def test_six_items_can():
    """2 of 64 is enough."""
    found = compare([False] * 6, [True] * 6)
    assert (found.test.p, found.verdict, found.better, found.higher) == (2 / 64, "B is better", "b", "b")


@pytest.mark.parametrize(
    ("valence", "a", "verdict", "better", "higher"),
    [
        ("positive", [True] * 9, "A is better", "a", "a"),
        ("positive", [False] * 9, "B is better", "b", "b"),
        ("negative", [True] * 9, "B is better", "b", "a"),
        ("negative", [False] * 9, "A is better", "a", "b"),
        ("neutral", [True] * 9, "A is higher", None, "a"),
        ("neutral", [False] * 9, "B is higher", None, "b"),
    ],
)
def test_the_valence_says_what_is_better(valence, a, verdict, better, higher):
    """Less can be better; and of a neutral score, nothing is."""
    found = compare(a, [not each for each in a], valence=valence)
    assert (found.verdict, found.better, found.higher) == (verdict, better, higher)


def test_a_tie_is_no_rank():
    """As many pairs in one direction as in the other: p is 1, and the interval is around 0."""
    found = compare([True, False] * 20, [False, True] * 20)
    low, high = ends(found.difference)
    assert (found.test.p, found.verdict, found.higher, low) == (1, "no difference shown", None, -high)
    assert str(found) == f"no difference shown: b - a = 0 (95 % interval {low:.4g} to {high:.4g}; p = 1; 40 pairs)"


def test_all_equal():
    """Verdicts that are all equal have Newcombe's interval: here, with Wilson's of 5 of 5 (0.5655 to 1), 0 ± 0.4345."""
    found = compare([True] * 5, [True] * 5)
    assert ends(found.difference) == (pytest.approx(-0.4345, abs=1e-4), pytest.approx(0.4345, abs=1e-4))
    assert (found.test.p, found.detectable, found.verdict) == (1, None, "no difference shown")


def test_numbers_that_are_all_equal():
    """They have no interval, and the first note of the difference says why."""
    found = compare([0.5] * 30, [0.5] * 30)
    assert (found.difference.low, found.test.p, found.verdict) == (None, 1, "no difference shown")
    assert found.difference.notes[0].startswith("all 30 values are equal")
    better = compare([0.25] * 30, [0.75] * 30)
    assert (better.difference.low, better.verdict) == (None, "B is better")


def test_the_interval_can_be_what_prevents_a_rank():
    """With clusters of different sizes, p can be small where the interval includes 0: then nothing is shown."""
    values = [0.0] * 40 + [30.0]
    found = compare(
        dict.fromkeys(("_index_", "right"), range(41)), {"_index_": range(41), "right": [n + each + 0.1 for n, each in enumerate(values)]}
    )
    low, high = ends(found.difference)
    assert found.test.p < 0.05
    assert low < 0 < high
    assert (found.verdict, found.higher) == ("no difference shown", None)


def test_rows_belong_together_by_item_not_by_place():
    """Whatever their order, and whatever an index is as long as it can be compared."""
    a = {"_index_": [7, 2**60 + 1, 3], "right": [0.5, 1.5, 2.5]}
    b = {"_index_": [3, 7, 2**60 + 1], "right": [2.75, 0.5, 1.0]}
    found = compare(a, b)
    assert (found.difference.n, found.difference.value) == (3, pytest.approx((0.25 - 0.5) / 3))
    assert (found.a.mean, found.b.mean) == (1.5, pytest.approx(4.25 / 3))


def test_arrow_tables():
    """The columns as a measurement has them."""
    a = pa.table({"_index_": [1, 2, 3], "_replication_": ["r"] * 3, "right": [True, None, False], "_error_": [False, True, False]})
    b = pa.table({"_index_": [1, 2, 3], "_replication_": ["s"] * 3, "right": [True, True, True], "_error_": [False] * 3})
    found = compare(a, b)
    assert (found.difference.n, found.difference.value) == (2, 0.5)
    assert str(found.a.outcomes) == "of 3 items, 2 have a verdict, 1 an error, 0 were not scored"


def test_what_is_counted():
    """Three outcomes on each side and of the pairs, rows without a partner, and a note if one side has more errors."""
    a = {
        "_index_": [0, 1, 2, 3, 4, 5],
        "right": [True, False, None, None, True, True],
        "_error_": [False, False, True, False, False, False],
    }
    b = {"_index_": [0, 1, 2, 3, 4, 9], "right": [True, True, True, True, None, False]}
    found = compare(a, b)
    assert found.a.outcomes == stats.Outcomes(4, 1, 1)
    assert found.b.outcomes == stats.Outcomes(5, 0, 1)
    assert found.difference.outcomes == found.test.outcomes == stats.Outcomes(2, 1, 4)
    assert (found.a.missing, found.b.missing) == (1, 1)
    assert found.notes[1:] == (
        "2 rows have no partner in the other system, and are left out",
        "the systems have different numbers of errors, whose items are left out: that can favour the one with more errors",
    )


def test_clusters():
    """Six clusters of five equal items are six observations. The test flips clusters, and the interval has five degrees of freedom."""
    clusters = [n // 5 for n in range(30)]
    a, b = table([0] * 30, _cluster_=clusters), table([1] * 25 + [0] * 5, _cluster_=clusters)
    found = compare(a, b)
    assert (found.difference.clusters, found.difference.degrees_of_freedom, found.test.p) == (6, 5, 2 / 32)
    assert (found.test.method, found.verdict) == ("sign-flip permutation, by cluster", "no difference shown")
    assert compare([0] * 30, [1] * 25 + [0] * 5).verdict == "B is better"


def test_replications_of_an_item_are_a_cluster():
    """Answers to one item are not independent, so without other clusters each item is one."""
    rows = {"_index_": [n // 4 for n in range(40)], "_replication_": list("wxyz") * 10}
    found = compare({**rows, "right": [0] * 40}, {**rows, "right": [0, 1] * 20})
    assert (found.difference.n, found.difference.clusters) == (40, 10)


def test_replications_of_two_evaluations():
    """Their labels differ. With one on each side, they belong together; several belong together by their order, which must be given."""
    a = {"_index_": [1, 1, 2, 2], "_replication_": ["p", "q", "p", "q"], "right": [1, 2, 3, 4]}
    b = {"_index_": [1, 1, 2, 2], "_replication_": ["y", "x", "x", "y"], "right": [4, 1, 3, 4]}
    assert compare(a, b, replications=(["p", "q"], ["x", "y"])).difference.value == 0.5
    with pytest.raises(stats.Unfit, match="_replication_ has other values in a than in b; give replications="):
        compare(a, b)
    with pytest.raises(stats.Unfit, match="_replication_ of b has 'y', which is none of the replications that were given"):
        compare(a, b, replications=(["p", "q"], ["x"]))


def test_different_numbers_of_replications():
    """What only one side has is left out, and counted."""
    a = {"_index_": [1, 2], "_replication_": ["p", "p"], "right": [1, 2]}
    b = {"_index_": [1, 1, 2, 2], "_replication_": ["x", "y", "x", "y"], "right": [2, 9, 3, 9]}
    found = compare(a, b, replications=(["p"], ["x", "y"]))
    assert (found.difference.value, found.difference.n, found.a.missing, found.b.missing) == (1, 2, 2, 0)


REFUSED = {
    "no column": (table([1]), {"_index_": [0], "wrong": [1]}, "b has no column right; it has _index_, wrong"),
    "no index": ({"right": [1]}, table([1]), "a has no column _index_"),
    "texts": (table(["x"]), table([1]), "right of a: row 0 is of the type str"),
    "an index of null": ({"_index_": [None], "right": [1]}, table([1]), "_index_ of a: row 0 is null"),
    "another length": ({"_index_": [1, 2], "right": [1]}, table([1]), "_index_ has 2 rows and right has 1"),
    "two rows of an item": ({"_index_": [4, 4], "right": [1, 0]}, table([1]), "a has 2 rows of one item and replication, such as row 0"),
    "nothing in common": ({"_index_": [8], "right": [1]}, table([1]), "a and b have no item in common"),
    "nothing at all": (table([]), table([]), "a and b have no item in common"),
    "errors only": (table([None, 1], _error_=[True, False]), table([1, None]), "right: no item has a verdict on both sides"),
    "both outcomes": (table([1], _error_=[True]), table([1]), "row 0 has a verdict in right of a and is true in _error_"),
    "clusters on one side": (table([1], _cluster_=["x"]), table([1]), "a has the column _cluster_ and b has not"),
    "clusters on the other side": (table([1]), table([1], _cluster_=["x"]), "b has the column _cluster_ and a has not"),
    "other clusters": (table([1, 2], _cluster_=["x", "y"]), table([1, 2], _cluster_=["x", "x"]), "_cluster_ of an item differs"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared(name):
    """The error names the side and the column, and says what to do."""
    a, b, message = REFUSED[name]
    with pytest.raises(stats.Unfit, match=message):
        compare(a, b)


def test_an_unknown_valence():
    """The error has those that are known."""
    with pytest.raises(stats.Unfit, match=r"valence is 'positiv'; give one of .* \(did you mean positive"):
        compare([1], [1], valence="positiv")


def test_holm_for_several():
    """Of three comparisons with p of 2/64, 2/256 and 1, Holm's are twice, three times and once: only one is still shown."""
    alone = [compare([False] * n + [True], [True] * n + [each]) for n, each in ((6, True), (8, True), (0, True))]
    assert [each.verdict for each in alone] == ["B is better", "B is better", "no difference shown"]
    together = stats.corrected(alone)
    assert [each.p_corrected for each in together] == [4 / 64, 6 / 256, 1]
    assert [each.verdict for each in together] == ["no difference shown", "B is better", "no difference shown"]
    assert [each.comparisons for each in together] == [3, 3, 3]


def test_as_json():
    """Everything is there, with the verdict, and nothing that JSON cannot have."""
    found = compare([0.5, 0.25, 1.0, 0.0], [0.75, 0.5, 1.0, 0.5]).document()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["difference"]["value"], found["difference"]["n"], found["verdict"]) == (0.25, 4, "no difference shown")
    assert found["a"] == {"mean": 0.4375, "outcomes": {"items": 4, "verdicts": 4, "errors": 0, "notScored": 0}, "missing": 0}


def test_what_could_have_been_found():
    """The smallest detectable difference is that of the t interval: of 100 pairs of which 20 differ evenly, 0.45 * 2.83 / 10."""
    found = compare([True] * 10 + [False] * 10 + [True] * 80, [False] * 10 + [True] * 10 + [True] * 80)
    assert sure(found.detectable) == pytest.approx(0.45 * 2.83 / 10, rel=0.01)


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "neither", "low", "high"),
    [(36, 12, 2, 0, 0.0569, 0.3404), (20, 12, 2, 16, 0.0562, 0.3292), (0, 0, 0, 5, -0.4345, 0.4345)],
)
def test_newcombes_pairs(both, only_a, only_b, neither, low, high):
    """Newcombe, Statistics in Medicine 17 (1998) 2635, method 10; the last one by hand from Wilson's interval."""
    a, b = [1] * (both + only_a) + [0] * (only_b + neither), [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    found = stats.paired_proportions(a, b)
    assert ends(found) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert found.value == pytest.approx((only_a - only_b) / len(a))


def test_newcombes_interval_contains_the_truth():
    """Of 1,000 studies of 25 pairs with a true difference of 0.15, at least 93 % of the intervals contain it."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(1000):
        kinds = rng.choice(4, 25, p=[0.5, 0.25, 0.1, 0.15])
        found = stats.paired_proportions(np.isin(kinds, [0, 1]), np.isin(kinds, [0, 2]))
        low, high = ends(found)
        hits += low <= 0.15 <= high
    assert 930 <= hits <= 990
