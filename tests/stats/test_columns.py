"""Every form of a column gives the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dyff import stats
from dyff.stats import columns

WANTED = stats.mean([1.0, 2.0, 4.0, 7.0], cluster=["x", "x", "y", "z"])


class Series:
    """What is used of a pandas Series."""

    def __init__(self, values):
        self._values = values

    def to_numpy(self):
        return self._values


class NAType:
    """Named as that of pandas."""


FORMS: dict[str, tuple[Any, Any]] = {
    "list": ([1, 2, 4, 7, None], ["x", "x", "y", "z", "q"]),
    "tuple": ((1, 2.0, Decimal(4), np.int8(7), None), tuple("xxyzq")),
    "Arrow": (pa.array([1, 2, 4, 7, None]), pa.array(list("xxyzq"))),
    "Arrow in chunks": (pa.chunked_array([[1, 2], [4, 7, None]]), pa.chunked_array([["x", "x"], ["y", "z", "q"]])),
    "Arrow dictionaries": (pa.array([1, 2, 4, 7, None], pa.float32()), pa.array(list("xxyzq")).dictionary_encode()),
    "Arrow decimals": (pa.array([Decimal(each) for each in (1, 2, 4, 7)] + [None]), pa.array([5, 5, 6, 7, 8], pa.uint8())),
    "a masked array": (np.ma.array([1, 2, 4, 7, 9], mask=[False] * 4 + [True]), np.array(list("xxyzq"))),
    "objects": (np.array([1, 2, 4, 7, None], dtype=object), [1, 1, 2, 3, 4]),
    "pandas": (Series(np.array([1, 2, 4, 7, NAType()], dtype=object)), Series(np.array(list("xxyzq")))),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_columns(form):
    """Null is an item without a verdict, whatever it looks like."""
    values, cluster = FORMS[form]
    found = stats.mean(values, cluster=cluster)
    assert (found.value, found.low, found.high, found.clusters) == (WANTED.value, WANTED.low, WANTED.high, 3)
    assert found.outcomes == stats.Outcomes(4, 0, 1)


def test_booleans():
    """They are 0 and 1, in any form."""
    forms = ([True, False, None], pa.array([True, False, None]), np.ma.array([True, False, True], mask=[False, False, True]))
    assert [stats.proportion(each).value for each in forms] == [0.5, 0.5, 0.5]


def test_columns_without_rows():
    """Empty columns of every form have no verdict, which is an error and no division by zero."""
    forms: tuple[Any, ...] = ([], np.array([]), pa.array([], pa.float64()), pa.chunked_array([], pa.int64()), pa.nulls(0))
    for empty in forms:
        with pytest.raises(stats.Unfit, match="values has no verdict"):
            stats.mean(empty, cluster=pa.chunked_array([], pa.string()))


def test_outcomes_of_any_verdicts():
    """Verdicts can be texts. An item without one has an error, or was not scored."""
    found = stats.outcomes(["safe", None, "unsafe", None], error=[False, True, None, False])
    assert found == stats.Outcomes(verdicts=2, errors=1, not_scored=1)
    assert found.items == 4
    assert found.document() == {"items": 4, "verdicts": 2, "errors": 1, "notScored": 1}


def test_outcomes_of_pairs():
    """A pair has an error if one of the two has, and counts only if both have a verdict."""
    found = stats.paired_difference([1, 2, None, None, 5], [2, 4, 1, None, 5], error_a=[0, 0, 1, 0, 0], error_b=[0, 0, 0, 0, 0])
    assert found.outcomes == stats.Outcomes(verdicts=3, errors=1, not_scored=1)
    assert found.value == -1.0


def test_labels_keep_the_order_of_their_rows():
    """Numbers of labels follow from the rows alone, so a seed gives the same draws for the same data in every form."""
    for form in (["b", "a", None, "b"], pa.array(["b", "a", None, "b"])):
        codes, found = columns.labels(form, "x", nulls=True)
        assert (codes.tolist(), found) == ([0, 1, -1, 0], ["b", "a"])


def test_the_data_is_not_changed():
    """Functions are pure: what they get stays as it was."""
    values = np.array([3.0, 1.0, 2.0])
    stats.bootstrap(values, "median", draws=100)
    stats.permutation(values, values[::-1])
    assert values.tolist() == [3.0, 1.0, 2.0]


def test_a_seed_decides():
    """The same seed gives the same interval, another one another; it is recorded."""
    data = [1, 5, 2, 8, 4, 4, 9]
    first, again, other = (stats.bootstrap(data, draws=500, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert (first.document()["seed"], first.document()["draws"]) == (1, 500)
    a, b = list(range(20)), [each + (each % 3) - 0.5 for each in range(20)]
    drawn = stats.permutation(a, b, seed=3)
    assert (drawn.exact, drawn.seed, drawn) == (False, 3, stats.permutation(a, b, seed=3))
    assert drawn.document()["draws"] == 10_000


def test_whole_clusters_are_drawn_and_flipped():
    """Copies of an item in its cluster change nothing."""
    a, b = [3, 1, 4, 1, 5], [2, 1, 1, 3, 1]
    tripled = [[each for each in column for _ in range(3)] for column in (a, b)]
    cluster = [n // 3 for n in range(15)]
    assert stats.permutation(*tripled, cluster=cluster).p == stats.permutation(a, b).p
    for statistic in ("mean", "median", lambda values: float(values.mean())):
        by_cluster, alone = stats.bootstrap(tripled[0], statistic, cluster=cluster), stats.bootstrap(a, statistic)
        assert (by_cluster.low, by_cluster.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
