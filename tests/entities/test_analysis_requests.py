"""Whether a request for an analysis fits its method, what it refers to, and which texts its run reads, as tables."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from dyff.entities import analyses, analysis_data, analysis_requests, identity, registry
from dyff.entities.analysis_requests import AnalysisCreateRequest
from dyff.kernel import errors
from tests.entities import bodies
from tests.narrowing import sure

DATASET, SERVICE, MODEL = (f"0000000000004000800000000000000{n}" for n in (3, 2, 1))
EVALUATION, OTHER = bodies.EVALUATION_ID, "0" * 31 + "f"
METHOD: dict[str, Any] = {**bodies.METHOD_FULL, "id": bodies.METHOD_FULL_ID}
FULL: dict[str, Any] = bodies.MEASUREMENT_FULL
RUN = {"id": EVALUATION, "dataset": DATASET, "inferenceSession": {"inferenceService": {"id": SERVICE}}}


def known(method=METHOD, **more) -> identity.Embedded:
    """What the request's references stand for."""
    found = {method["id"]: method, EVALUATION: RUN, SERVICE: {"id": SERVICE, "name": "s"}, **more}
    return {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in found.items()}


def asked(body: dict[str, Any]) -> AnalysisCreateRequest:
    return msgspec.json.decode(json.dumps(body), type=AnalysisCreateRequest)


ARGUMENTS, INPUTS = FULL["arguments"], FULL["inputs"]
PROBLEMS: dict[str, tuple[dict[str, Any], list[tuple[Any, str]]]] = {
    "all that the method needs": ({}, []),
    "an argument that it does not have": (
        {"arguments": [*ARGUMENTS, {"keyword": "treshold", "value": "1"}]},
        [(("arguments", 2, "keyword"), "the method has no argument 'treshold'; did you mean 'threshold'?")],
    ),
    "an argument twice": (
        {"arguments": [*ARGUMENTS, ARGUMENTS[0]]},
        [(("arguments", 2, "keyword"), "the argument 'threshold' is there twice; give each once")],
    ),
    "an argument missing": ({"arguments": ARGUMENTS[:1]}, [(("arguments",), "the method needs the argument other")]),
    "all inputs missing": ({"inputs": []}, [(("inputs",), "the method needs the inputs prompts, outputs")]),
    "a scope without the evaluation": (
        {"scope": {"dataset": DATASET, "inferenceService": SERVICE}},
        [(("scope", "evaluation"), "must be given, because the method is about one Evaluation")],
    ),
    "a scope with another dataset": (
        {"scope": {**FULL["scope"], "dataset": MODEL}},
        [(("scope", "dataset"), f"must be {DATASET}, the Dataset of the evaluation {EVALUATION}")],
    ),
    "a scope with another service": (
        {"scope": {**FULL["scope"], "inferenceService": MODEL}},
        [(("scope", "inferenceService"), f"must be {SERVICE}, the InferenceService of the evaluation {EVALUATION}")],
    ),
}


@pytest.mark.parametrize(("change", "want"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_request_must_fit_its_method(change, want):
    """Each problem has its place in the body, and says what the method wants."""
    found = analysis_requests.problems(asked({**FULL, **change}), known(), "Measurement")
    assert [(each.loc, each.msg) for each in found] == [(("body", *loc), words) for loc, words in want]


@pytest.mark.parametrize(
    ("change", "makes", "want"),
    [
        ({}, "SafetyCase", "must be a method that makes a SafetyCase; {} makes a Measurement"),
        ({"parameters": []}, "Measurement", "the method has no argument 'threshold'; it has no arguments"),
    ],
)
def test_the_method_decides(change, makes, want):
    """What it makes, and whether it has any arguments."""
    method = {**METHOD, **change}
    found = analysis_requests.problems(asked(FULL), known(method), makes)
    assert found[0].msg == want.format(method["id"])
    with pytest.raises(errors.InvalidFields):
        analyses.spec(asked(FULL), known(method), makes, "measurement", whole_texts=False)


def test_a_scope_of_another_kind_of_method_needs_less():
    """One about services needs no evaluation, and then nothing is compared with one."""
    method = {**METHOD, "scope": "InferenceService"}
    request = asked({**FULL, "scope": {"inferenceService": SERVICE}})
    assert analysis_requests.problems(request, known(method), "Measurement") == []


def test_what_a_request_refers_to():
    """The method and the scope by the request alone; the inputs by the method, which knows their kinds."""
    creation = sure(registry.BY_KIND["Measurement"].creation)
    assert [(each.kind, each.id, each.loc[1:]) for each in creation.references(asked(FULL))] == [
        ("Method", METHOD["id"], ("method",)), ("Dataset", DATASET, ("scope", "dataset")),
        ("InferenceService", SERVICE, ("scope", "inferenceService")), ("Evaluation", EVALUATION, ("scope", "evaluation")),
        ("Model", MODEL, ("scope", "model")),
    ]  # fmt: skip
    request = asked({**FULL, "inputs": [{"keyword": "misspelt", "entity": OTHER}, *INPUTS]})
    assert [(each.kind, each.id, each.loc[1:]) for each in creation.further(request, known())] == [
        ("Dataset", DATASET, ("inputs", 1, "entity")), ("Evaluation", EVALUATION, ("inputs", 2, "entity")),
    ]  # fmt: skip


NOTEBOOK: dict[str, Any] = {**bodies.METHOD_NOTEBOOK, "id": bodies.METHOD_NOTEBOOK_ID}
WITH_MODEL = {"id": SERVICE, "name": "s", "model": {"id": MODEL}}


@pytest.mark.parametrize(
    ("scope", "service", "want"),
    [
        ({"inferenceService": SERVICE}, {"id": SERVICE, "name": "s"}, [("InferenceService", SERVICE)]),
        ({"inferenceService": SERVICE}, WITH_MODEL, [("InferenceService", SERVICE), ("Model", MODEL)]),
        ({}, WITH_MODEL, []),
    ],
)
def test_which_texts_a_document_shows(scope, service, want):
    """Those of the method, of the service, and of the model behind it. A table shows none."""
    request = asked({**bodies.SAFETY_CASE, "scope": scope})
    embedded = known(NOTEBOOK, **{SERVICE: service})
    assert sure(registry.BY_KIND["SafetyCase"].creation).wholes(request, embedded) == [("Method", NOTEBOOK["id"]), *want]
    assert sure(registry.BY_KIND["Measurement"].creation).wholes(request, embedded) == []


def texts(entity_id, kind, **more):
    """A whole entity."""
    return {"id": entity_id, "kind": kind, "name": f"the {kind}", "metadata": {"documentation": more, "x": 1}, "status": "Ready"}


@pytest.mark.parametrize(
    ("visible", "want"),
    [
        ([MODEL, SERVICE, NOTEBOOK["id"]], [("usecase", "Method"), ("system", "Model")]),
        ([SERVICE, NOTEBOOK["id"]], [("usecase", "Method"), ("system", "InferenceService")]),
        ([NOTEBOOK["id"]], [("usecase", "Method")]),
        ([], [("usecase", "Method")]),
    ],
)
def test_a_document_gets_the_texts_that_its_author_may_read(visible, want):
    """Of the model rather than of its service; of the method in any case. The entity keeps them, so later readers see what the run saw."""
    kinds = {MODEL: "Model", SERVICE: "InferenceService", NOTEBOOK["id"]: "Method"}
    wholes = {identity.whole(each): texts(each, kinds[each], title=f"About the {kinds[each]}") for each in visible}
    request = asked({**bodies.SAFETY_CASE, "scope": {"inferenceService": SERVICE}})
    embedded = {**known(NOTEBOOK, **{SERVICE: WITH_MODEL}), **wholes}
    made = analyses.spec(request, embedded, "SafetyCase", "safetyCase", whole_texts=True)
    found = [(each["key"], json.loads(base64.b64decode(each["value"]))) for each in made["data"]]
    assert [(key, each["spec"]["kind"]) for key, each in found] == want
    for _, each in found:
        kind = each["spec"]["kind"]
        title = f"About the {kind}" if kind in map(kinds.get, visible) else NOTEBOOK["name"]
        assert each["documentation"] == {"title": title, "summary": "No summary was written."}
        assert "documentation" not in each["spec"]["metadata"]


@pytest.mark.parametrize(
    ("entity", "want"),
    [
        ({"name": "n"}, {"title": "n", "summary": "No summary was written."}),
        ({"description": "d"}, {"title": "Model x", "summary": "d"}),
        ({"name": "n", "metadata": {"documentation": {"title": "T", "summary": None, "fullPage": ""}}}, {"title": "T"}),
        ({"metadata": {"documentation": {"summary": "S", "fullPage": "p" * 65_536}}}, {"summary": "S", "fullPage": "p" * 65_536}),
        ({"metadata": {"documentation": {"fullPage": "p" * 65_537}}}, {}),
        ({"metadata": {"documentation": None}}, {}),
    ],
    ids=["name", "description", "title", "page", "long page", "none"],
)
def test_every_entity_has_a_title_and_a_summary_for_documents(entity, want):
    """Published components need both; a page that is too long for a run is left out."""
    default = {"title": "Model x", "summary": "No summary was written."}
    assert analyses.documentation({"id": "x", "kind": "Model", **entity}) == {**default, **want}


def test_an_analysis_waits_for_its_method_and_inputs_and_reads_its_modules():
    """And for its preconditions. So it never starts before they are there, and they are kept while it runs."""
    entity = {
        "kind": "Measurement",
        "method": {"id": METHOD["id"], "modules": [bodies.MODULE_ID]},
        "inputs": INPUTS,
        "metadata": {"preconditions": [{"id": OTHER}]},
    }
    row = registry.BY_KIND["Measurement"]
    assert row.dependencies(entity) == [METHOD["id"], DATASET, EVALUATION, OTHER]
    assert row.uses(entity) == [bodies.MODULE_ID]
    assert row.dependencies({"method": {"id": METHOD["id"]}}) == [METHOD["id"]]
    assert row.uses({"method": {"id": METHOD["id"]}}) == []


def test_the_data_of_a_run_has_the_method_in_any_case():
    """Also of a measurement, whose entity keeps no texts."""
    made = analyses.spec(asked(FULL), known(), "Measurement", "measurement", whole_texts=False)
    assert made["data"] == []
    (entry,) = analyses.resource({**made, "kind": "Measurement"})["data"]
    assert entry["key"] == analysis_data.USECASE
    assert json.loads(base64.b64decode(entry["value"]))["documentation"] == {"title": METHOD["name"], "summary": METHOD["description"]}
