"""Whether a scope agrees with what an analysis reads."""

from __future__ import annotations

import pytest

from dyff.entities import scopes


def evaluation(name="e", service="s", dataset="d", **service_fields):
    return {
        "id": name,
        "kind": "Evaluation",
        "dataset": dataset,
        "inferenceSession": {"inferenceService": {"id": service, **service_fields}},
    }


def analysis(inputs, **scope):
    """`inputs`: kinds by ID."""
    method = {"inputs": [{"keyword": each, "kind": kind} for each, kind in inputs.items()]}
    return {"id": "a", "method": method, "inputs": [{"keyword": each, "entity": each} for each in inputs], "scope": scope}


E, M = {"e": evaluation()}, {"m": analysis({"e": "Evaluation", "m": "Measurement"}), "e": evaluation()}
CASES = {
    "it agrees": (analysis({"e": "Evaluation"}, inferenceService="s", dataset="d", evaluation="e"), E, []),
    "it says nothing": (analysis({"e": "Evaluation"}), E, []),
    "nothing was read": (analysis({"d": "Dataset"}, inferenceService="x"), {"d": {"id": "d"}}, []),
    "what was read is not known": (analysis({"e": "Evaluation"}, inferenceService="x"), {}, []),
    "another system": (analysis({"e": "Evaluation"}, inferenceService="x"), E, [("inferenceService", "x", ["s"])]),
    "another dataset and evaluation": (
        analysis({"e": "Evaluation"}, dataset="x", evaluation="y"), E, [("evaluation", "y", ["e"]), ("dataset", "x", ["d"])],
    ),
    "through a measurement, which reads itself": (analysis({"m": "Measurement"}, dataset="x"), M, [("dataset", "x", ["d"])]),
    "a model where no service has one": (analysis({"e": "Evaluation"}, model="x"), E, []),
    "another model": (analysis({"e": "Evaluation"}, model="x"), {"e": evaluation(model={"id": "y"})}, [("model", "x", ["y"])]),
    "one of several": (
        analysis({"e": "Evaluation", "f": "Evaluation"}, inferenceService="t"), {**E, "f": evaluation("f", "t")}, [],
    ),
    "no text": (analysis({"e": "Evaluation"}, inferenceService=5), E, []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_of_a_scope_contradicts_what_was_read(name):
    """The case's name is what the scope says."""
    given, entities, want = CASES[name]
    assert scopes.contradictions(given, entities) == want


SYSTEMS = {
    "that of the scope": (analysis({"e": "Evaluation"}, inferenceService="s"), E, {"s"}),
    "that of the scope, if nothing was read": (analysis({}, inferenceService="x"), {}, {"x"}),
    "that which was read, if the scope has another one": (analysis({"e": "Evaluation"}, inferenceService="x"), E, {"s"}),
    "that which was read, if the scope has none": (analysis({"e": "Evaluation"}), E, {"s"}),
    "none": (analysis({}), {"e": {"id": "e"}}, set()),
    "none that is known": (analysis({"e": "Evaluation"}), {"e": {"id": "e"}}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_which_systems_an_analysis_is_about(name):
    """The case's name is the rule."""
    given, entities, want = SYSTEMS[name]
    assert scopes.systems(given, entities) == want
