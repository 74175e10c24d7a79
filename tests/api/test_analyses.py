"""Measurements and safety cases: what a request must have, what it becomes, and the scores and curves of a run."""

from __future__ import annotations

import base64
import json

import pytest
from dyff.schema import platform

from dyff.accounts import grants
from tests.api.test_tags import family_of
from tests.entities import bodies

PARAMETERS = {"parameters": [{"keyword": "threshold"}]}
INPUTS = {"inputs": [{"kind": "Dataset", "keyword": "prompts"}, {"kind": "Evaluation", "keyword": "outputs"}]}
METHOD = {**INPUTS, **PARAMETERS}


async def made(api, plural, body):
    response = await api.post(f"/v0/{plural}", json=body)
    assert response.status_code == 201, response.text
    return response.json()


def inputs_of(body):
    return [
        {"keyword": "prompts", "entity": body["scope"]["dataset"]},
        {"keyword": "outputs", "entity": body["scope"]["evaluation"]},
    ]


async def test_a_measurement_has_its_method_and_what_the_method_says_of_its_table(world, api):
    """The whole entity is as published, with name, level and schema of the method's output, and in the log."""
    body = await world.analysis_body(**METHOD)
    body |= {"inputs": inputs_of(body), "arguments": [{"keyword": "threshold", "value": "0.5"}]}
    entity = await made(api, "measurements", body)
    platform.Measurement.model_validate(entity)
    output = entity["method"]["output"]["measurement"]
    assert (entity["name"], entity["level"], entity["schema"]) == (output["name"], output["level"], output["schema"])
    assert (entity["method"]["id"], entity["data"], entity["status"]) == (body["method"], [], "Created")
    assert entity in [each["data"] for each in await world.events()]


async def test_a_safety_case_has_the_texts_of_its_system_and_its_method(world, api):
    """`data` has whole entities and their documentation, as published contexts read them, with fallbacks for texts that are missing."""
    model = await made(api, "models", bodies.MODEL_MOCK)
    body = await world.analysis_body("SafetyCase")
    service = await world.ready_service(model=model["id"])
    texts = {"documentation": {"title": "A model", "summary": "Answers."}}
    assert (await api.patch(f"/v0/models/{model['id']}/documentation", json=texts)).status_code == 200
    entity = await made(api, "safetycases", {**body, "scope": {"inferenceService": service}})
    platform.SafetyCase.model_validate(entity)
    data = {each["key"]: json.loads(base64.b64decode(each["value"])) for each in entity["data"]}
    assert data["system"]["documentation"] == {"title": "A model", "summary": "Answers."}
    assert platform.Model.model_validate(data["system"]["spec"]).id == model["id"]
    assert data["usecase"]["documentation"] == {"title": "mean-word-length", "summary": "No summary was written."}
    assert platform.Method.model_validate(data["usecase"]["spec"]).id == body["method"]


async def test_texts_of_a_model_that_one_may_not_get_are_not_shown(world, api):
    """Who may use a service whose model is another's sees the service's own texts."""
    model = await made(api, "models", {**bodies.MODEL_MOCK, "account": "other"})
    body = await world.analysis_body("SafetyCase", account="mine")
    service = await world.ready_service(model=model["id"], account="mine")
    async with world.client(await world.token(grants.Grant(("*",), ("*",), ("mine",)))) as mine:
        entity = await made(mine, "safetycases", {**body, "scope": {"inferenceService": service}})
    (system,) = (json.loads(base64.b64decode(each["value"])) for each in entity["data"] if each["key"] == "system")
    assert system["spec"]["id"] == service


WRONG: dict[str, tuple[dict[str, object], str, str]] = {
    "a parameter that is not given": ({"arguments": []}, "arguments", "the method needs the argument threshold"),
    "an argument that it does not have": (
        {"arguments": [{"keyword": "threshold", "value": "1"}, {"keyword": "treshold", "value": "1"}]},
        "arguments.1.keyword", "did you mean 'threshold'",
    ),
    "an argument twice": ({"arguments": [{"keyword": "threshold", "value": "1"}] * 2}, "arguments.1.keyword", "there twice"),
    "an input that is not given": ({"inputs": []}, "inputs", "the method needs the inputs prompts, outputs"),
    "a scope without the evaluation": ({"scope": {}}, "scope.evaluation", "the method is about one Evaluation"),
    "an argument that is no string": ({"arguments": [{"keyword": "threshold", "value": 0.5}]}, "arguments.0.value", "a string"),
    "a scope that is no ID": ({"scope": {"dataset": "0" * 32}}, "scope.dataset", "UUID of version 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
async def test_a_request_that_does_not_fit_its_method_is_refused(world, api, case):
    """422 names the field and the fix, and nothing is created."""
    change, field, words = WRONG[case]
    body = await world.analysis_body(**METHOD)
    body |= {"inputs": inputs_of(body), "arguments": [{"keyword": "threshold", "value": "0.5"}]}
    before = len(await world.events())
    response = await api.post("/v0/measurements", json={**body, **change})
    assert response.status_code == 422, response.text
    found = {".".join(map(str, each["loc"][1:])): each["msg"] for each in response.json()["detail"]}
    assert words in found[field]
    assert len(await world.events()) == before


async def test_a_scope_must_agree_with_its_evaluation(world, api):
    """A measurement about an evaluation cannot name another dataset than the one that was evaluated."""
    body = await world.analysis_body()
    response = await api.post("/v0/measurements", json={**body, "scope": {**body["scope"], "dataset": await world.dataset()}})
    assert response.status_code == 422
    assert "the Dataset of the evaluation" in response.text


@pytest.mark.parametrize(("plural", "makes"), [("measurements", "SafetyCase"), ("safetycases", "Measurement")])
async def test_a_method_makes_what_it_says(world, api, plural, makes):
    """A method for documents makes no measurement, and the other way round."""
    response = await api.post(f"/v0/{plural}", json=await world.analysis_body(makes))
    assert response.status_code == 422
    assert f"makes a {makes}" in response.text


@pytest.mark.parametrize("gone", ["method", "input"])
async def test_what_is_gone_cannot_be_used(world, api, gone):
    """404 for what never was, 409 for what was deleted, each with its field or ID."""
    body = await world.analysis_body(**INPUTS)
    body["inputs"] = inputs_of(body)
    missing = "00000000000040008000000000000777"
    other = {**body, "method": missing} if gone == "method" else bodies.changed(body, "inputs.0.entity", missing)
    unknown = await api.post("/v0/measurements", json=other)
    assert (unknown.status_code, missing in unknown.text) == (404, True)
    target = body["method"] if gone == "method" else body["inputs"][0]["entity"]
    await world.set_status(target, "Deleted", "DeleteCommand")
    refused = await api.post("/v0/measurements", json=body)
    assert (refused.status_code, target in refused.text, "Deleted" in refused.text) == (409, True, True)


async def test_tags_stand_for_the_method_and_the_inputs(world, api):
    """What a tag stands for is in the entity, with an annotation for each, also of inputs, whose kind only the method says."""
    body = await world.analysis_body(**INPUTS)
    body["inputs"] = inputs_of(body)
    methods, datasets = await family_of(api, "Method", {"v1": body["method"]}), None
    datasets = await family_of(api, "Dataset", {"latest": body["scope"]["dataset"]})
    said = {**body, "method": f"{methods}@v1", "inputs": [{"keyword": "prompts", "entity": f"{datasets}@latest"}, body["inputs"][1]]}
    entity = await made(api, "measurements", said)
    assert entity["method"]["id"] == body["method"]
    assert [each["entity"] for each in entity["inputs"]] == [each["entity"] for each in body["inputs"]]
    assert {each["key"]: each["value"] for each in entity["annotations"]} == {
        "references.dyff.io/method": f"{methods}@v1",
        "references.dyff.io/inputs-0-entity": f"{datasets}@latest",
    }


async def test_analyses_are_found_by_method_scope_and_inputs(world, api):
    """Each published key finds them; `inputs` finds those that took any of several entities."""
    body = await world.analysis_body(**INPUTS)
    body["inputs"] = inputs_of(body)
    entity, other = await made(api, "measurements", body), await made(api, "measurements", await world.analysis_body())
    keys = {"method": body["method"], "inputs": f"{body['inputs'][1]['entity']},{other['id']}", **body["scope"]}
    for key, value in keys.items():
        found = (await api.get("/v0/measurements", params={key: value})).json()
        assert [each["id"] for each in found] == [entity["id"]], key
    assert len((await api.get("/v0/measurements", params={"methodName": "mean-word-length"})).json()) == 2
    assert (await api.get("/v0/measurements", params={"inputs": ""})).json() == []
    for many in ("a" * 40_001, ",".join(map(str, range(1001)))):
        assert (await api.get("/v0/measurements", params={"inputs": many})).status_code == 422


def score(entity, name, quantity):
    return {
        "id": f"{name:0>32}", "kind": "Score", "name": name, "title": "T", "summary": "S", "valence": "neutral", "priority": "primary",
        "format": "{quantity:.1f}", "quantity": quantity, "quantityString": str(quantity), "text": "x", "analysis": entity["id"],
        "metadata": {"refs": {"method": entity["method"]["id"], **entity["scope"]}},
    }  # fmt: skip


async def test_scores_are_there_when_the_analysis_is_complete(world, api):
    """By entity, by the ID of either, by name, method and scope; none of what is not complete, deleted, or not to be seen."""
    cases = [await made(api, "safetycases", await world.analysis_body("SafetyCase")) for _ in range(3)]
    for n, each in enumerate(cases):
        await world.record(each["id"], {"scores": [score(each, f"a{n}", 1.5), score(each, "b", n)], "curves": [], "provenance": {}})
    one = f"/v0/safetycases/{cases[0]['id']}/scores"
    assert (await api.get(one)).json() == []
    for each in cases[:2]:
        await world.set_status(each["id"], "Complete")
    platform.Score.model_validate((await api.get(one)).json()[0])

    async def names(**params):
        response = await api.get("/v0/safetycases/scores", params=params)
        assert response.status_code == 200, response.text
        return [each["name"] for each in response.json()]

    assert await names() == ["a0", "b", "a1", "b"]
    assert await names(id=cases[1]["id"], method=cases[1]["method"]["id"]) == ["a1", "b"]
    assert await names(id=f"{'a1':0>32}") == ["a1"]
    assert await names(analysis=cases[0]["id"], name="b") == ["b"]
    assert await names(query=json.dumps({"name": ["a0", "a1", "a2"]})) == ["a0", "a1"]
    assert await names(inferenceService=cases[1]["scope"]["inferenceService"], limit="1") == ["a1"]
    assert await names(methodName="mean-word-length", name="a0") == ["a0"]
    assert (await api.get("/v0/safetycases/curves")).json() == []
    for wrong in ({"scores": "x"}, {"query": "[1]"}, {"query": '{"nam": 1}'}, {"limit": "0"}):
        assert (await api.get("/v0/safetycases/scores", params=wrong)).status_code in (400, 422)
    async with world.client(await world.token(grants.Grant(("*",), ("*",), ("other",)))) as stranger:
        assert (await stranger.get("/v0/safetycases/scores")).json() == []
        assert (await stranger.get(one)).status_code == 403
    await world.set_status(cases[0]["id"], "Deleted")
    assert (await api.get(one)).json() == []
    assert await names() == ["a1", "b"]


async def test_old_reports_can_be_read(world, api):
    """A report of an older release is as published, is found by its keys, and no new one can be made."""
    await world.put(bodies.REPORT)
    platform.Report.model_validate((await api.get(f"/v0/reports/{bodies.REPORT['id']}")).json())
    for key in ("report", "dataset", "evaluation", "inferenceService"):
        value = bodies.REPORT["rubric" if key == "report" else key]
        assert [each["id"] for each in (await api.get("/v0/reports", params={key: value})).json()] == [bodies.REPORT["id"]]
    assert (await api.post("/v0/reports", json={})).status_code == 405
    log = f"/v0/reports/{bodies.REPORT['id']}/logs"
    assert (await api.get(log)).status_code == 404
    await world.services.objects.put(f"reports/{bodies.REPORT['id']}/.dyff/logs.txt", b"as it was\n")
    assert (await api.get((await api.get(log)).json()["signedURL"]["url"])).text == "as it was\n"
    assert (await api.get(f"{log}/workflow")).status_code == 404  # no pods of it are known here
