"""The items on which systems differ, as the program finds them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dyff.api.comparisons import items, program
from dyff.api.comparisons.tasks import System, Task
from dyff.entities.differing import Page
from dyff.stats.unfit import Unfit
from tests.api.test_comparison_program import rows as stored

FLAGS = pa.bool_()


def table(values, **more):
    return pa.table({"_index_": range(len(values)), "right": pa.array(values, FLAGS), **more})


EVERY = Page()


def found(tables, page=EVERY, replications=None, is_boolean=True):
    joined = items.joined(tables, "right", replications or [[] for _ in tables])
    return items.page(joined, page, is_boolean=is_boolean)


def shown(answer):
    return [(each.index, each.number, each.values) for each in answer.items]


A = table([True, True, False, None, True], _error_=[False, False, False, True, False])
B = table([True, False, True, True, None])
C = table([True, True, True, True, True])


def test_what_differs_and_how_often():
    """Items with different verdicts, by index; each pair with its counts; and what became of each row."""
    answer = found([A, B])
    assert shown(answer) == [(1, None, [True, False]), (2, None, [False, True])]
    assert (answer.count, answer.next, answer.pairs) == (2, None, [(1, 1, 1, 2)])


@pytest.mark.parametrize(
    ("page", "want"),
    [
        (Page(), [1, 2]),
        (Page(between=(0, 2)), [2]),
        (Page(between=(0, 1), higher=0), [1]),
        (Page(between=(0, 1), higher=1), [2]),
        (Page(show="unpaired"), [3, 4]),
        (Page(show="unpaired", between=(1, 2)), [4]),
        (Page(show="all"), [0, 1, 2, 3, 4]),
    ],
)
def test_which_items_fit(page, want):
    """By all systems, by two of them, and by which of the two is higher."""
    assert [each.index for each in found([A, B, C], page).items] == want


def test_states():
    """An error is no verdict and has no value; neither has a row that is not there."""
    short = table([True])
    (first, *_, failed, _) = found([A, short], Page(show="all")).items
    assert (first.values, first.states) == ([True, True], ["verdict", "verdict"])
    assert (failed.values, failed.states) == ([None, None], ["error", "missing"])
    assert found([table([None]), short], Page(show="all")).items[0].states == ["notScored", "verdict"]


def test_a_page():
    """`next` is where the next one begins, until there is none."""
    first = found([A, B, C], Page(show="all", limit=3))
    assert ([each.index for each in first.items], first.count, first.next) == ([0, 1, 2], 5, 3)
    last = found([A, B, C], Page(show="all", first=3, limit=3))
    assert ([each.index for each in last.items], last.next) == ([3, 4], None)
    assert found([A, B, C], Page(show="all", first=9)).items == []


def test_replications_belong_together_as_in_a_comparison():
    """Those of two evaluations by their order; single ones whatever they are called; others by their names."""
    a = pa.table({"_index_": [1, 1], "right": [0.5, 1.0], "_replication_": ["a0", "a1"]})
    b = pa.table({"_index_": [1, 1], "right": [1.0, 0.5], "_replication_": ["b1", "b0"]})
    numbered = found([a, b], replications=[["a0", "a1"], ["b0", "b1"]], page=Page(show="all"), is_boolean=False)
    assert shown(numbered) == [(1, 0, [0.5, 0.5]), (1, 1, [1.0, 1.0])]
    single = found([a.slice(0, 1), b.slice(0, 1)], is_boolean=False)
    assert shown(single) == [(1, None, [0.5, 1.0])]
    named = found([a, a], page=Page(show="all"))
    assert [each.number for each in named.items] == [None, None]
    assert named.pairs == [(0, 0, 2, 0)]


def test_indices_of_any_type():
    """Numbers by size, texts by letters; a long one is cut."""
    texts = pa.table({"_index_": ["b" * 300, "a"], "right": [1.0, 0.0]})
    assert [each.index for each in found([texts, texts], Page(show="all")).items] == ["a", "b" * 200]
    numbers = pa.table({"_index_": [10, 9], "right": [1.0, 0.0]})
    assert [each.index for each in found([numbers, numbers], Page(show="all")).items] == [9, 10]
    days = pa.table({"_index_": pa.array([1, 0], pa.date32()), "right": [1.0, 0.0]})
    assert [each.index for each in found([days, days], Page(show="all")).items] == ["1970-01-01", "1970-01-02"]


def test_one_row_for_each_item_and_replication():
    """Otherwise it is not known which of them is compared."""
    with pytest.raises(Unfit, match="several rows of one item"):
        found([pa.table({"_index_": [1, 1], "right": [1.0, 0.0]}), A])


def test_the_program_answers_a_page_in_place_of_pairs():
    """And the problem of a system in place of a page."""
    good, other, twice = stored([True] * 4), stored([True, True, True, False]), stored([1.0, 1.0])
    task = Task("right", "positive", 0.95, [System(1, 1.0), System(1, 0.75)], [], Page())
    answer = program.answer(task, iter([good, other]))
    assert answer.items is not None
    assert shown(answer.items) == [(3, None, [True, False])]
    unusable = program.answer(task, iter([b"garbage", other]))
    assert (unusable.items, unusable.systems[0].problem) == (None, "its rows cannot be read as Parquet")
    repeated = stored(pa.array([True, True]), _replication_=["x", "x"], _cluster_=["c", "c"])
    assert program.answer(task, iter([repeated, other])).items is not None
    doubled = Task("right", "positive", 0.95, [System(1, 1.0), System(1, 1.0)], [], Page())
    same = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table({"_index_": [1, 1], "right": [True, True]}), same)
    broken = program.answer(doubled, iter([same.getvalue().to_pybytes(), twice]))
    assert (broken.items, "several rows" in str(broken.systems[0].problem)) == (None, True)
