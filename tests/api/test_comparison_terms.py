"""What must be the same of two measurements, and what the difference is called. Tables of a pure function."""

from __future__ import annotations

from typing import Any

import pytest

from dyff.api.comparisons import terms
from dyff.entities import specs

EVALUATION = {"id": "e" * 32, "dataset": "d", "client": {}, "replications": 2, "inferenceSession": {"inferenceService": {"id": "s"}}}
INPUTS = [
    {"keyword": "outputs", "kind": "Evaluation"},
    {"keyword": "people", "kind": "Dataset"},
    {"keyword": "judged", "kind": "Measurement"},
]
SCORES = [{"name": "right", "quantity": 1.0, "priority": "secondary"}, {"name": "fast", "quantity": 1.0}]


def judged(**changes: Any) -> dict[str, Any]:
    return {"id": "j", "method": {"id": "judge", "inputs": []}, "arguments": [{"keyword": "model", "value": "x"}], **changes}


def source(
    key: str = "1", *, evaluation: dict[str, Any] | None = None, judge: dict[str, Any] | None = None, people: str = "p",
    contents: dict[str, str] | None = None, **changes: Any,
) -> terms.Source:  # fmt: skip
    inputs = [{"keyword": "outputs", "entity": "e"}, {"keyword": "people", "entity": people}, {"keyword": "judged", "entity": "j"}]
    entity = {
        "id": key, "status": "Complete", "level": "Instance", "method": {"id": "m", "inputs": INPUTS}, "scope": {}, "scores": SCORES,
        "inputs": inputs, "arguments": [{"keyword": "threshold", "value": "0.5"}], **changes,
    }  # fmt: skip
    entities = {"e": {**EVALUATION, **(evaluation or {})}, "j": judge or judged()}
    return terms.Source(key, entity, entities, contents or {})


DIFFERENCES = {
    "nothing": (source(), source(), []),
    "another method": (source(), source(method={"id": "n", "inputs": INPUTS}), ["different method: m and n"]),
    "another dataset": (
        source(), source(evaluation={"dataset": "c"}), ["different dataset, or another version of it: d and c, whose contents differ"],
    ),
    "the same content under another ID": (source(contents={"d": "x"}), source(evaluation={"dataset": "c"}, contents={"c": "x"}), []),
    "another sampling": (
        source(), source(evaluation={"client": {"inputPipeline": [1]}}),
        [f"different sampling: client.inputPipeline of the evaluations {'e' * 32} and {'e' * 32} differs"],
    ),
    "no pipeline and an empty one": (source(), source(evaluation={"client": {"inputPipeline": None}}), []),
    "another argument": (
        source(), source(arguments=[{"keyword": "threshold", "value": "0.9"}]),
        ["different judge: the argument 'threshold' is '0.5' and '0.9'"],
    ),
    "an argument less": (source(), source(arguments=[]), ["different judge: the argument 'threshold' is '0.5' and not given"]),
    "other people": (source(), source(people="q"), ["different judge: the data of the input 'people' differs"]),
    "another judge": (
        source(), source(judge=judged(method={"id": "jury", "inputs": []})), ["different method of the input 'judged'"],
    ),
    "a judge with another argument": (
        source(), source(judge=judged(arguments=[{"keyword": "model", "value": "y"}])),
        ["different judge: the argument 'judged.model' differs"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differences(name):
    """The case's name is what differs."""
    a, b, want = DIFFERENCES[name]
    assert terms.differences(a, b) == want


def test_reports_differ_by_their_rubric():
    """Reports of older releases are judges, too."""
    inputs = [{"keyword": "outputs", "kind": "Report"}]
    given: dict[str, Any] = {"method": {"id": "m", "inputs": inputs}, "inputs": [{"keyword": "outputs", "entity": "e"}]}
    a, b = (source(evaluation={"rubric": rubric}, **given) for rubric in ("one", "two"))
    assert terms.differences(a, b) == ["different judge: the rubric of the input 'outputs' differs"]


def test_a_measurement_that_reads_itself_is_no_endless_loop():
    """The steps are bounded, whatever a log has in it."""
    endless = judged(method={"id": "judge", "inputs": INPUTS}, inputs=[{"keyword": "judged", "entity": "j"}])
    assert terms.differences(source(judge=endless), source(judge=endless)) == []


@pytest.mark.parametrize(("kind", "depth"), [("Measurement", 0), ("Report", 0), ("Measurement", terms.MAX_DEPTH)])
def test_a_judge_that_is_not_known_is_not_the_same(kind, depth):
    """What is gone, or lies beyond the bounds, is the same only if it is one entity: who hides a judge there is not compared."""

    def chain(last):
        links = {f"l{n}": {"id": f"l{n}", "method": {"id": "m", "inputs": INPUTS}, "inputs": [{"keyword": "judged", "entity": f"l{n + 1}"}]}
                 for n in range(depth + 1)}  # fmt: skip
        links[f"l{depth}"]["inputs"] = [{"keyword": "judged", "entity": last}]
        links[f"l{depth}"]["method"] = {"id": "m", "inputs": [{"keyword": "judged", "kind": kind}]}
        return terms.Source("1", links["l0"], links, {})

    (found,) = terms.differences(chain("x"), chain("y"))
    assert "it is not known whether the judge is the same" in found
    assert terms.differences(chain("x"), chain("x")) == []


UNUSABLE = {
    "usable": (source(), "right", None),
    "about another system than it reads": (
        source(scope={"inferenceService": "other", "dataset": "d"}), "right",
        "its scope names another system than the outputs that it reads are of",
    ),
    "not complete": (source(status="Failed"), "right", "it is not complete: its status is Failed"),
    "rows about the whole": (
        source(level="Dataset"), "right",
        "it has no item-level rows: the level of its method's output is 'Dataset', and must be 'Instance'",
    ),
    "another score": (source(), "rihgt", "it has no score 'rihgt' (did you mean 'right'?); it has right, fast"),
    "no score": (source(scores=[]), "right", "it has no score 'right'; it has none"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_can_be_compared_at_all(name):
    """The case's name is the rule."""
    given, score, want = UNUSABLE[name]
    assert terms.unusable(given, score) == want


def test_what_is_known_of_a_source():
    """Its system and dataset by its scope, otherwise by the evaluation that it reads; its replications in order; its primary score."""
    found = source()
    assert (found.service, found.dataset, terms.primary(found)) == ("s", "d", "fast")
    assert found.replications == [specs.replication_id("e" * 32, place) for place in (0, 1)]
    scoped = source(scope={"inferenceService": "other", "dataset": "another", "evaluation": "unknown"})
    assert (scoped.service, scoped.dataset) == ("other", "another")
    assert source(evaluation={"replications": terms.MAX_REPLICATIONS + 1}).replications == []
    empty = terms.Source("1", {"id": "1", "method": {}})
    assert (empty.service, empty.dataset, empty.replications, terms.primary(empty)) == (None, None, [], None)


def test_problems_of_several():
    """Those of single measurements come first; otherwise each is compared with the first one."""
    alone = terms.problems([source("1"), source("2", status="Failed"), source("3", method={"id": "n"})], "right")
    assert alone == ["the measurement 2 cannot be compared: it is not complete: its status is Failed"]
    together = terms.problems([source("1"), source("2"), source("3", arguments=[], people="q")], "right")
    judges = "different judge: the argument 'threshold' is '0.5' and not given; different judge: the data of the input 'people' differs"
    assert together == [f"the measurements 1 and 3 cannot be compared: {judges}"]
