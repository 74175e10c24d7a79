"""The program that compares: untrusted bytes, its bounds, and what it does if one of several cannot be used."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff import stats
from dyff.api.comparisons import program
from dyff.api.comparisons.tasks import System, Task


def stored(table):
    file = io.BytesIO()
    pa.parquet.write_table(table, file)
    return file.getvalue()


def rows(values, **more):
    return stored(pa.table({"_index_": range(len(values)), "right": values, **more}))


def answer(*files, quantities=None, pairs=((0, 1),), replications=()):
    """Of systems with one file each; their scores are 1 unless `quantities` says otherwise."""
    known = quantities or [1.0] * len(files)
    systems = [System(1, quantity, list(replications)) for quantity in known]
    return program.answer(Task("right", "positive", 0.95, systems, list(pairs)), iter(files))


GOOD = rows([True] * 9)
UNFIT = {
    "no Parquet": (b"garbage", "its rows cannot be read as Parquet"),
    "a cut file": (GOOD[:-9], "its rows cannot be read as Parquet"),
    "a footer that lies": (GOOD[:4] + b"\xff" * 40 + GOOD[44:], "its rows cannot be read as Parquet"),
    "no such column": (stored(pa.table({"_index_": [1]})), "its rows have no column 'right'"),
    "no index": (stored(pa.table({"right": [1]})), "its rows have no column '_index_'"),
    "no rows": (rows(pa.array([], pa.bool_())), "it has no rows"),
    "texts": (rows(["x"]), "values has the Arrow type string"),
    "no verdicts": (rows(pa.array([None], pa.bool_())), "values has no verdict"),
    "another mean": (rows([True, False]), "the score is 1, and the mean of its column is 0.5"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_rows_that_cannot_be_used(name):
    """The system has a problem, its pairs have one, and the others are compared."""
    data, message = UNFIT[name]
    found = answer(GOOD, data, GOOD, pairs=[(0, 1), (0, 2)])
    assert message in (found.systems[1].problem or "")
    assert [each.problem for each in (found.systems[0], found.systems[2])] == [None, None]
    assert found.pairs[0].problem == "the rows of one of them cannot be used"
    assert (found.pairs[1].result or {})["verdict"] == "no difference shown"


@pytest.mark.parametrize("index", [[[0], [1]], [{"a": 0}, {"a": 1}]])
def test_an_index_that_cannot_be_compared(index):
    """Lists and structs are no labels: the pair has a problem, and the others are compared."""
    hostile = stored(pa.table({"_index_": index, "right": [True, True]}))
    found = answer(GOOD, hostile, GOOD, pairs=[(0, 1), (0, 2)])
    assert "_index_ of b has the Arrow type" in (found.pairs[0].problem or "")
    assert (found.pairs[1].result or {})["verdict"] == "no difference shown"


def test_what_nobody_thought_of_is_a_problem_of_one(monkeypatch):
    """An error of Arrow or numpy in the rows of one system, or of one pair, does not end the comparison of the others."""

    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(program, "_checked", broken)
    assert answer(GOOD, GOOD).systems[0].problem == "its rows cannot be read (ZeroDivisionError)"
    monkeypatch.undo()
    monkeypatch.setattr(stats, "compare", broken)
    assert answer(GOOD, GOOD).pairs[0].problem == "their rows cannot be compared (ZeroDivisionError)"


def test_several_files_are_one_table():
    """As a run writes them; the columns of each are found by their names."""
    parts = [stored(pa.table({"_index_": [n], "other": ["x"], "right": [True]})) for n in range(3)]
    task = Task("right", "neutral", 0.95, [System(3, 1.0), System(1, 1.0)], [(0, 1)])
    found = program.answer(task, iter([*parts, GOOD]))
    assert (found.pairs[0].result or {})["difference"]["n"] == 3


def test_too_many_rows(monkeypatch):
    """They are counted in the footers, before anything is read."""
    monkeypatch.setattr(program, "MAX_ROWS", 8)
    assert answer(GOOD, GOOD).systems[0].problem == "it has more than 8 rows"


def test_the_number_of_draws_is_bounded(monkeypatch):
    """Many rows have fewer draws, never fewer than the fewest; the answer says how many."""
    values = [float(n % 7) for n in range(50)]
    mean, other = sum(values) / 50, [each + 0.25 * (n % 3) for n, each in enumerate(values)]
    for drawn, draws in ((50 * 2000, 2000), (1, program.FEWEST_DRAWS)):
        monkeypatch.setattr(program, "DRAWN", drawn)
        found = answer(rows(values), rows(other), quantities=[mean, sum(other) / 50])
        assert (found.pairs[0].result or {})["test"]["draws"] == draws


def test_replications_that_the_evaluation_does_not_have():
    """A method can write others, which then belong together by their name."""
    a, b = (rows([True] * 3, _replication_=[name] * 3) for name in ("x", "x"))
    found = answer(a, b, replications=["of the evaluation"])
    assert (found.pairs[0].result or {})["difference"]["n"] == 3


def test_no_pandas():
    """Arrow asks for it, and does without."""
    with pytest.raises(ModuleNotFoundError):
        program._WithoutPandas().find_spec("pandas")
    program._WithoutPandas().find_spec("json")
