"""Labels, documentation and deletion: a command, then what the view shows."""

from __future__ import annotations

import json

import pytest
from dyff.schema import platform

from dyff.api import app
from dyff.api.routes import entities
from dyff.kernel import settings
from tests.entities import bodies


async def test_labels_are_merged_and_null_removes(world, api):
    """What is not named stays, and the answer is what there then is."""
    one = f"/v0/datasets/{await world.dataset()}"
    first = await api.patch(f"{one}/labels", json={"labels": {"a": "1", "x.org/b": "", "dyff.io/access": "internal"}})
    assert (first.status_code, first.json()["labels"]) == (200, {"a": "1", "x.org/b": "", "dyff.io/access": "internal"})
    second = await api.patch(f"{one}/labels", json={"labels": {"a": None, "c": "3", "absent": None, "dyff.io/access": None}})
    assert second.json()["labels"] == {"x.org/b": "", "c": "3"}
    assert (await api.get(one)).json()["labels"] == {"x.org/b": "", "c": "3"}


async def test_an_entity_has_a_bounded_number_of_labels(world, api):
    """The total counts, not what one request sets; what is removed by the same request makes room."""
    dataset = await world.dataset()
    path = f"/v0/datasets/{dataset}/labels"
    first = {f"a{n}": "1" for n in range(60)}
    assert (await api.patch(path, json={"labels": first})).status_code == 200
    more = {f"b{n}": "1" for n in range(5)}
    refused = await api.patch(path, json={"labels": more})
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "labels"])
    assert "at most 64 labels; this would make 65" in refused.json()["detail"][0]["msg"]
    assert (await api.get(f"/v0/datasets/{dataset}")).json()["labels"] == first
    assert (await api.patch(path, json={"labels": {**more, "a0": None}})).status_code == 200
    assert (
        await api.patch(path, json={"labels": {**dict.fromkeys([*first, *more]), **{f"c{n}": "1" for n in range(63)}}})
    ).status_code == 200
    assert len((await api.get(f"/v0/datasets/{dataset}")).json()["labels"]) == 63


async def test_nulls_survive_to_the_log(world, api):
    """A deletion is an explicit null in the command."""
    one = await world.dataset()
    await api.patch(f"/v0/datasets/{one}/labels", json={"labels": {"a": None}})
    data = next(each["data"] for each in await world.events() if each["command"] == "EditEntityLabels")
    assert data == {"kind": "Dataset", "id": one, "attributes": {"labels": {"a": None}}}


async def test_a_concern_is_a_label_that_users_may_set(world, api):
    """`usecases.dyff.io/<id>` with the value 1 is the published way to attach a concern."""
    key = "usecases.dyff.io/" + "0" * 32
    response = await api.patch(f"/v0/datasets/{await world.dataset()}/labels", json={"labels": {key: "1"}})
    assert response.json()["labels"] == {key: "1"}


async def test_documentation_is_kept_where_it_is_not_named(world, api):
    """null removes a text, absence keeps it, and an entity without any has an empty documentation."""
    one = f"/v0/datasets/{await world.dataset()}"
    empty = (await api.get(f"{one}/documentation")).json()
    assert platform.Documentation.model_validate(empty).title is None
    await api.patch(f"{one}/documentation", json={"documentation": {"title": "T", "summary": "S"}})
    response = await api.patch(f"{one}/documentation", json={"documentation": {"title": None, "fullPage": "# F"}})
    assert response.status_code == 200
    documentation = platform.Documentation.model_validate(response.json())
    assert (documentation.title, documentation.summary, documentation.fullPage) == (None, "S", "# F")
    assert (await api.get(f"{one}/documentation")).json() == response.json()


async def test_deletion_is_reported_at_once_and_may_be_repeated(world, api):
    """The status is Deleted, also for the second time; the entity stays readable; edits are refused from then on."""
    one = f"/v0/datasets/{await world.dataset()}"
    for _ in range(2):
        response = await api.put(f"{one}/delete")
        assert (response.status_code, response.json()) == (200, {"status": "Deleted", "reason": "DeleteCommand"})
    assert (await api.get(one)).json()["status"] == "Deleted"
    refused = await api.patch(f"{one}/labels", json={"labels": {"a": "1"}})
    assert refused.status_code == 409
    assert [each["command"] for each in await world.events()] == ["CreateEntity", "UpdateEntityStatus"]


async def test_an_edit_is_answered_while_the_view_is_behind(world):
    """The command is durable, so the answer is its effect; it does not wait longer than the setting says."""
    import msgspec

    one = f"/v0/datasets/{await world.dataset()}"
    async with world.client() as client:
        await client.get(one)
        world.app = app.build(msgspec.structs.replace(world.services, settings=settings.Api(read_wait_s=0.05)))
        world.view.pause()
        async with world.client() as hasty:
            response = await hasty.patch(f"{one}/labels", json={"labels": {"a": "1"}})
            assert (response.status_code, response.json()["labels"]) == (200, {"a": "1"})
            assert (await hasty.put(f"{one}/delete")).json()["status"] == "Deleted"
            assert "dyff-position" in response.headers
    world.view.proceed()


async def test_an_edit_with_a_key_happens_once(world, api):
    """A repetition of an edit does not undo what came between."""
    one = f"/v0/datasets/{await world.dataset()}"
    first = {"json": {"labels": {"a": "1"}}, "headers": {"Idempotency-Key": "k"}}
    await api.patch(f"{one}/labels", **first)
    await api.patch(f"{one}/labels", json={"labels": {"a": "2"}})
    assert (await api.patch(f"{one}/labels", **first)).json()["labels"] == {"a": "2"}


async def test_progress_is_what_the_step_wrote(world, api):
    """Before there is any, the stage is the status; then the step's object is handed on."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    before = (await api.get(f"/v0/evaluations/{evaluation}/progress")).json()
    assert before == {"stage": "Created", "done": None, "total": None, "rate": None}
    written = b'{"stage": "Inference", "done": 3, "total": 20, "rate": 1.5}'
    await world.services.objects.put(f"outputs/{evaluation}/.dyff/progress.json", written)
    assert (await api.get(f"/v0/evaluations/{evaluation}/progress")).json() == json.loads(written)


@pytest.mark.parametrize("status", ["Complete", "Failed", "Terminated", "Deleted"])
async def test_the_progress_of_a_run_that_has_ended_says_how(world, api, status):
    """The stage is the status, not the step that wrote last; the counts stay; what it retried no longer counts."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    written = b'{"stage": "Inference", "done": 3, "total": 20, "rate": 1.5, "message": "trying again"}'
    await world.services.objects.put(f"outputs/{evaluation}/.dyff/progress.json", written)
    await world.set_status(evaluation, status)
    found = (await api.get(f"/v0/evaluations/{evaluation}/progress")).json()
    assert found == {"stage": status, "done": 3, "total": 20, "rate": None}


@pytest.mark.parametrize(("plural", "status"), [("models", "Ready"), ("models", "Error"), ("inferencesessions", "Terminated")])
async def test_kinds_without_items_have_a_stage_too(world, api, plural, status):
    """A model or a session that has ended says so, too."""
    body = bodies.MODEL_HUB if plural == "models" else {"account": "test", "inferenceService": await world.ready_service()}
    made = (await api.post(f"/v0/{plural}", json=body)).json()
    entity = made.get("inferencesession", made)["id"]
    await world.set_status(entity, status)
    assert (await api.get(f"/v0/{plural}/{entity}/progress")).json()["stage"] == status


ENTITY = {"status": "Admitted", "reason": "Inference", "message": "the evaluation client waits to start"}
WROTE = {"stage": "Inference", "done": 3, "total": 20}


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ({}, "the evaluation client waits to start"),
        ({**WROTE, "rate": 0.0}, "the evaluation client waits to start"),
        ({**WROTE, "rate": 1.5}, None),
        ({**WROTE, "rate": 1.5, "message": "trying again"}, "trying again"),
        ({**WROTE, "rate": 0.0, "message": "trying again"}, "trying again"),
    ],
)
def test_what_a_run_waits_for_is_part_of_its_progress(written, want):
    """What the step says goes first; if it says nothing and does nothing, the status says what the run waits for."""
    assert entities.progress_of(ENTITY, written).get("message") == want


UNREADY = "the inference session: 0 of 1 replicas ready (pod p: container runner runs and does not answer yet at port 8000, /ready)"


@pytest.mark.parametrize(
    ("session", "rate", "want"),
    [
        (UNREADY, 0.0, f"{UNREADY}; waiting for the service"),
        (UNREADY, None, f"{UNREADY}; waiting for the service"),
        (UNREADY, 1.5, "waiting for the service"),
        ("the inference session: 1 of 1 replicas ready", 0.0, "waiting for the service"),
        ("the inference session has not begun to start", 0.0, "waiting for the service"),
    ],
)
def test_why_a_service_is_not_ready_goes_first(session, rate, want):
    """A step sees only that nothing answers; the status knows that the program has crashed or listens elsewhere."""
    entity = {**ENTITY, "message": f"the evaluation client is running; {session}"}
    written = {**WROTE, "rate": rate, "message": "waiting for the service"}
    assert entities.progress_of(entity, written).get("message") == want


async def test_every_kind_has_the_common_routes(world, api):
    """Get, query, labels, documentation, delete and progress answer for each kind."""
    for plural, body in [("datasets", bodies.DATASET), ("models", bodies.MODEL_HUB), ("inferenceservices", bodies.SERVICE)]:
        created = await api.post(f"/v0/{plural}", json=body)
        one = f"/v0/{plural}/{created.json()['id']}"
        for method, path in [("GET", ""), ("GET", "/documentation"), ("GET", "/progress"), ("PUT", "/delete")]:
            response = await api.request(method, one + path)
            assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), (plural, path)
