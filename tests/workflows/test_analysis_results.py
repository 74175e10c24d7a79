"""Scores and curves against what a method declares."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from dyff.client import _apigroups as published_client
from dyff.schema import platform as published

from dyff import stats
from dyff.entities import analyses as ours
from dyff.entities import specs
from dyff.kernel import errors, ids
from dyff.workflows import analysis_results
from tests.narrowing import sure
from tests.workflows import analyses, runs

SPEC = msgspec.convert(analyses.a_spec(), specs.Analysis)
WANTED = analysis_results.declared(analyses.a_method(scores=[analyses.SCORE, analyses.CURVE]))
SCORE = {"name": "accuracy", "quantity": 0.5, "text": "half"}
CURVE = {"name": "roc", "points": {"x": [0.0, 1.0], "y": [0, 1]}}


def scores(*entries, estimates=None):
    intervals = None if estimates is None else json.dumps({"estimates": estimates}).encode()
    return analysis_results.scores(SPEC, WANTED, json.dumps({"scores": entries}).encode(), intervals)


def curves(*entries):
    return analysis_results.curves(SPEC, WANTED, json.dumps({"curves": entries}).encode())


def test_a_score_is_made_of_what_the_method_declares():
    """Of what the program wrote, only quantity and text count."""
    [made] = scores({**SCORE, "title": "Best", "id": "x", "analysis": "y", "quantityString": "100", "metadata": {}, "unknown": 1})
    assert made == {
        **analyses.SCORE, "valence": "neutral", "priority": "primary", "kind": "Score", "id": ids.child(analyses.ID, "accuracy"),
        "quantity": 0.5, "quantityString": "0.50 pt", "text": "half", "analysis": analyses.ID,
        "metadata": {"refs": {"method": analyses.METHOD_ID, "dataset": runs.DATASET}},
    }  # fmt: skip
    assert published.Score.model_validate(made).quantityString == "0.50 pt"


HALF = stats.proportion([True, None, False], error=[False, True, False])
INTERVAL: dict[str, Any] = {"name": "accuracy", "quantity": 0.5, "text": "half", "estimate": HALF.document()}


def test_a_score_with_an_interval():
    """The interval is in the score's metadata, whether the published context wrote the score as well or not. Its client reads it."""
    for written in ([SCORE], []):
        [made] = scores(*written, estimates=[INTERVAL])
        assert made["metadata"]["refs"]["dataset"] == runs.DATASET
        assert made["metadata"]["estimate"] == HALF.document()
        assert made["metadata"]["estimate"]["outcomes"] == {"items": 3, "verdicts": 2, "errors": 1, "notScored": 0}
        assert (made["quantity"], made["text"]) == (0.5, "half")
        assert published_client._validate_response(published.Score, made).quantityString == "0.50 pt"
        known = sure(msgspec.convert(made, ours.Score).metadata.estimate)
        assert (known.low, known.high, known.n, known.method) == (HALF.low, HALF.high, 2, "Clopper-Pearson")


def changed(**changes):
    return {**INTERVAL, "estimate": {**INTERVAL["estimate"], **changes}}


WRONG_INTERVALS = {
    "another quantity": ([{**INTERVAL, "quantity": 0.6}], "'accuracy' was output twice, with the quantities 0.5 and 0.6"),
    "twice": ([INTERVAL, INTERVAL], "estimates.json has a score twice"),
    "undeclared": ([INTERVAL, {**INTERVAL, "name": "acuracy"}], "The score 'acuracy' is not declared"),
    "a curve": ([{**INTERVAL, "name": "roc"}], "'roc' was output as a score, but the method declares it as a curve"),
    "reversed": ([changed(low=0.9, high=0.1)], "low is more than high"),
    "half of one": ([changed(low=None)], "low and high: give both, or neither"),
    "text as an end": ([changed(low="0")], "Expected `float | null`"),
    "per cent": ([changed(level=95)], "level"),
    "negative": ([changed(n=-1)], "n`"),
    "sums": ([changed(outcomes={"items": 3, "verdicts": 3, "errors": 1, "notScored": 0})], "must add up to items"),
    "notes": ([changed(notes=["x"] * 21)], "notes"),
    "a long note": ([changed(notes=["x" * 501])], "notes"),
    "no interval": ([{"name": "accuracy", "quantity": 0.5, "text": "half"}], "missing required field `estimate`"),
    "no list": ({"accuracy": INTERVAL}, "Expected `array`"),
}


@pytest.mark.parametrize(("estimates", "message"), WRONG_INTERVALS.values(), ids=WRONG_INTERVALS)
def test_what_is_no_interval_is_refused(estimates, message):
    """A program can write anything; what is stored is bounded and consistent."""
    with pytest.raises(analysis_results.Invalid, match=message):
        scores(SCORE, estimates=estimates)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"estimates": [NaN]}', "[" * 100_000, json.dumps({"estimates": [INTERVAL]}).replace("0.5", "1e999", 1)]
)
def test_a_file_of_intervals_that_cannot_be_read(text):
    """The message names the file and what writes it."""
    with pytest.raises(analysis_results.Invalid, match=r"\.dyff/estimates\.json cannot be read .*\. Let dyff\.stats\.score write it\."):
        analysis_results.scores(SPEC, WANTED, None, text.encode())


def test_a_curve_is_made_of_what_the_method_declares():
    """Points are floats; the text is not kept, because the published client refuses it."""
    [made] = curves({**CURVE, "text": "x", "title": "Best"})
    assert made == {
        **analyses.CURVE, "kind": "Curve", "id": ids.child(analyses.ID, "roc"), "points": {"x": [0.0, 1.0], "y": [0.0, 1.0]},
        "analysis": analyses.ID, "metadata": {"refs": {"method": analyses.METHOD_ID, "dataset": runs.DATASET}},
        "dimensions": made["dimensions"],
    }  # fmt: skip
    assert published.Curve.model_validate(made).dimensions.keys() == {"x", "y"}


def test_a_whole_number_is_a_quantity():
    """The client's floats are whole numbers in JSON sometimes."""
    assert scores({**SCORE, "quantity": 1})[0]["quantityString"] == "1.00 pt"


WRONG_SCORES = {
    "undeclared": ([{**SCORE, "name": "acuracy"}], "The score 'acuracy' is not declared in the method's scores; did you mean 'accuracy'?"),
    "twice": ([SCORE, SCORE], "The score 'accuracy' was output 2 times"),
    "missing": ([], "The score 'accuracy' is declared by the method, but was not output. Call ctx.Score("),
    "a curve": ([SCORE, {**SCORE, "name": "roc"}], "'roc' was output as a score, but the method declares it as a curve. Use ctx.Curve("),
    "no quantity": ([{"name": "accuracy", "text": ""}], "'accuracy' has no quantity; NaN and infinity are written as null"),
    "nan": ([{**SCORE, "quantity": float("nan")}], "The score 'accuracy': its quantity is nan"),
    "infinite": ([{**SCORE, "quantity": float("-inf")}], "is -inf"),
    "huge": ([{**SCORE, "quantity": 10**400}], "is inf"),
    "a text": ([{**SCORE, "quantity": "1"}], "is of the type str, not a number"),
    "true": ([{**SCORE, "quantity": True}], "is of the type bool, not a number"),
    "no text": ([{"name": "accuracy", "quantity": 1}], "The score 'accuracy' has no text"),
    "number as text": ([{**SCORE, "text": 1}], "The score 'accuracy' has no text"),
    "long text": ([{**SCORE, "text": "x" * 281}], "has a text of 281 characters, more than 280"),
    "half a character": ([{**SCORE, "text": "\ud800"}], "is not Unicode"),
    "no name": ([{"quantity": 1}], "must have the form"),
    "a number": ([1], "must have the form"),
    "a name of a number": ([{**SCORE, "name": 1}], "must have the form"),
}


@pytest.mark.parametrize(("entries", "message"), WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_a_wrong_score_is_refused(entries, message):
    """The message names the score and the fix, in one line."""
    with pytest.raises(analysis_results.Invalid) as refused:
        scores(*entries)
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


WRONG_CURVES = {
    "missing": ([], "The curve 'roc' is declared by the method, but was not output. Call ctx.Curve("),
    "a score": ([CURVE, {**CURVE, "name": "accuracy"}], "was output as a curve, but the method declares it as a score"),
    "no points": ([{"name": "roc"}], "The curve 'roc' has no points"),
    "a list": ([{"name": "roc", "points": [1]}], "has no points"),
    "other dimension": ([{"name": "roc", "points": {"x": [1], "y": [1], "z": [1]}}], "has points of 'z', which is none of its dimensions"),
    "dimension missing": ([{"name": "roc", "points": {"x": [1]}}], "has no points of its dimension 'y'"),
    "unequal": ([{"name": "roc", "points": {"x": [1], "y": [1, 2]}}], "it has x: 1, y: 2"),
    "empty": ([{"name": "roc", "points": {"x": [], "y": []}}], "at least one; it has x: 0, y: 0"),
    "many": ([{"name": "roc", "points": {"x": [1] * 10_001, "y": [1] * 10_001}}], "has 10001 points, more than 10000"),
    "large": ([{"name": "roc", "points": {"x": [1 / 3] * 9000, "y": [1 / 3] * 9000}}], "bytes as JSON, more than 262144"),
    "null": ([{"name": "roc", "points": {"x": [None], "y": [1]}}], "a point of 'x' is null, which stands for NaN"),
    "nan": ([{"name": "roc", "points": {"x": [float("nan")], "y": [1]}}], "a point of 'x' is nan"),
    "texts": ([{"name": "roc", "points": {"x": ["1"], "y": [1]}}], "a point of 'x' is of the type str"),
    "lists": ([{"name": "roc", "points": {"x": [[1]], "y": [1]}}], "a point of 'x' is of the type list"),
}


@pytest.mark.parametrize(("entries", "message"), WRONG_CURVES.values(), ids=WRONG_CURVES)
def test_a_wrong_curve_is_refused(entries, message):
    """The message names the curve and the fix."""
    with pytest.raises(analysis_results.Invalid) as refused:
        curves(*entries)
    assert message in str(refused.value)


NOT_RESULTS = [
    b"",
    b"\xff",
    b"{",
    b"[" * 100_000,
    b"[]",
    b"1",
    b'{"scores": {}}',
    b'{"scores": [' + b"9" * 10_000 + b"]}",
    b'{"other": []}',
]


@pytest.mark.parametrize("data", NOT_RESULTS, ids=range(len(NOT_RESULTS)))
def test_a_file_that_is_none_is_refused(data):
    """Whatever its bytes are."""
    with pytest.raises(analysis_results.Invalid, match=r"\.dyff/scores\.json"):
        analysis_results.scores(SPEC, WANTED, data, None)


def test_a_method_without_scores_needs_no_file():
    """And then none may be output."""
    assert analysis_results.scores(SPEC, [], None, None) == analysis_results.curves(SPEC, [], None) == []
    with pytest.raises(analysis_results.Invalid, match="it declares no scores"):
        analysis_results.scores(SPEC, [], json.dumps({"scores": [SCORE]}).encode(), None)


def test_a_method_that_cannot_be_read_is_no_fault_of_the_output():
    """It is one of the manifest."""
    with pytest.raises(errors.Misconfigured):
        analysis_results.declared({"scores": [{"name": 1}]})
