"""How far a reproduction agrees with its original: tables of the pure part of `dyff reproduce`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dyff.cli import reproduce_command
from dyff.sdk import agreement

NAN = float("nan")
OF = {"evaluation": "e", "dataset": "d", "reproduction": "r"}
SCORES = {
    "equal": (0.5, 0.5, 0.0, True, True),
    "equal to the last bit only": (0.1 + 0.2, 0.3, 0.0, False, False),
    "a difference within the tolerance": (0.1 + 0.2, 0.3, 1e-9, False, True),
    "a difference beyond it": (1.0, 1.1, 1e-9, False, False),
    "zero and nearly zero are relative, too": (0.0, 1e-12, 0.1, False, False),
    "two that are no number": (NAN, NAN, 0.0, True, True),
    "one that is no number": (NAN, 1.0, 0.5, False, False),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_compared_exactly_and_within_the_tolerance(name):
    """The case's name is the rule."""
    original, again, tolerance, equal, within = SCORES[name]
    found = agreement.score("s", original, again, tolerance)
    assert (found.equal, found.within) == (equal, within)


def analysis(scores: dict[str, float], curves: dict[str, Any] | None = None, outputs: str | None = None, environment: str | None = None):
    provenance = {"outputs": {"sha256": outputs}, "run": {"environment": {"digest": environment}}}
    return {
        "kind": "Measurement", "id": "m", "provenance": provenance,
        "scores": [{"name": name, "quantity": each} for name, each in scores.items()],
        "curves": [{"name": name, "points": each} for name, each in (curves or {}).items()],
    }  # fmt: skip


CURVE = {"x": [1.0]}
WHOLE: dict[str, tuple[Any, Any, bool, bool]] = {
    "the same": (analysis({"a": 1.0}, {"c": CURVE}, "f"), analysis({"a": 1.0}, {"c": CURVE}, "f"), True, True),
    "other files with the same scores": (analysis({"a": 1.0}, None, "f"), analysis({"a": 1.0}, None, "g"), True, False),
    "other files without any scores": (analysis({}, None, "f"), analysis({}, None, "g"), False, False),
    "files that are not recorded": (analysis({"a": 1.0}), analysis({"a": 1.0}), True, True),
    "another score": (analysis({"a": 1.0}), analysis({"a": 2.0}), False, False),
    "a score that only one has": (analysis({"a": 1.0}), analysis({"a": 1.0, "b": 2.0}), False, False),
    "a score that only the original has": (analysis({"a": 1.0, "b": 2.0}), analysis({"a": 1.0}), False, False),
    "another curve": (analysis({}, {"c": CURVE}), analysis({}, {"c": {"x": [2.0]}}), False, False),
    "a curve that only one has": (analysis({}, {"c": CURVE}), analysis({}, {}), False, False),
    "older entities without any results": ({"kind": "Measurement", "id": "m"}, {"kind": "Measurement", "id": "n"}, True, True),
}


@pytest.mark.parametrize("name", WHOLE)
def test_scores_and_curves_decide_and_files_where_there_are_neither(name):
    """The case's name is the rule: first whether both agree, then whether they do so exactly."""
    original, again, want, exactly = WHOLE[name]
    found = agreement.analyses(original, again, 0.0)
    assert (agreement.agrees(found, exact=False), agreement.agrees(found, exact=True)) == (want, exactly)


def test_files_are_compared_by_their_digests():
    """A file that differs, and one that only one of both has, are named; then the outputs are not equal."""
    found = agreement.analyses(analysis({"a": 1.0}, None, "f", "e"), analysis({"a": 1.0}, None, "f", "e2"), 0.0)
    assert found.sameEnvironment is False
    found = agreement.with_files(found, {"same": "1", "other": "2", "old": "3"}, {"same": "1", "other": "x", "new": "4"})
    outputs = found.outputs
    assert outputs is not None
    assert (outputs.compared, outputs.differing, outputs.equal) == (4, ["new", "old", "other"], False)
    equal = agreement.with_files(agreement.Reproduced(kind="x", original="x"), {"a": "1"}, {"a": "1"}).outputs
    assert equal is not None
    assert (equal.equal, equal.differing, equal.original) == (True, [], None)


ITEMS: dict[str, tuple[dict[str, Any], list[Any], tuple[int, int, int], bool]] = {
    "equal answers at temperature 0": ({"temperature": 0}, [{1: ["a"]}, {1: ["a"]}], (1, 1, 0), True),
    "another answer at temperature 0": ({"temperature": 0.0}, [{1: ["a"]}, {1: ["b"]}], (1, 0, 0), False),
    "an answer that one replication had": ({"temperature": 0}, [{1: ["a", "b"]}, {1: ["b"]}], (1, 1, 0), True),
    "another answer with a temperature": ({"temperature": 0.7}, [{1: ["a"]}, {1: ["b"]}], (1, 0, 0), True),
    "another answer with a seed": ({"temperature": 0.7, "seed": 3}, [{1: ["a"]}, {1: ["b"]}], (1, 0, 0), True),
    "another answer where nothing is known": ({}, [{1: ["a"]}, {1: ["b"]}], (1, 0, 0), True),
    "no answer at temperature 0": ({"temperature": 0}, [{1: ["a"]}, {}], (0, 0, 1), False),
    "false is no temperature": ({"temperature": False}, [{1: ["a"]}, {1: ["b"]}], (1, 0, 0), True),
}


@pytest.mark.parametrize("name", ITEMS)
def test_answers_decide_only_where_they_must_not_differ(name):
    """The case's name is the rule. Asked for exact agreement, any other answer is a difference."""
    sampling, (original, again), counts, want = ITEMS[name]
    items = agreement.answers(OF, [1], original, again, sampling)
    assert (items.compared, items.equal, items.unanswered) == counts
    found = agreement.Reproduced(kind="Evaluation", original="e", items=items)
    assert agreement.agrees(found, exact=False) is want
    assert agreement.agrees(found, exact=True) is (counts == (1, 1, 0))


def test_the_report_has_the_numbers():
    """How many were compared and equal, each difference, the files that differ, and what the answers mean."""
    found = agreement.analyses(analysis({"a": 1.0}, {"c": CURVE}, "f", "e"), analysis({"a": 1.5, "b": 2.0}, {"c": CURVE}, "g", "e"), 0.0)
    found = agreement.with_files(found, {"x": "1"}, {"x": "2"})
    items = agreement.answers(OF, [1, 2], {1: ["a"], 2: ["a"]}, {1: ["b"]}, {"temperature": 0})
    text = "\n".join(reproduce_command.lines(msgspec.structs.replace(found, items=items)))
    for line in (
        "scores: 1 compared, 0 equal, 0 within a tolerance of 0", "  a: 1.0, again 1.5, difference 0.5", "  only in the reproduction: b",
        "curves: 1 compared, 1 equal", "digests of the outputs: different, 1 files compared", "  differing: x",
        "environment of the code: the same", "items of e, asked again in r: 1 compared, 0 equal, 1 unanswered", "  differing: 1", "differs",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "temperature 0" in text
    only_items = agreement.Reproduced(kind="Evaluation", original="e", agrees=True)
    assert reproduce_command.lines(only_items) == ["Evaluation e", "agrees"]
