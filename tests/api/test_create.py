"""POST of each kind: what comes back, what is in the log, and what is refused."""

from __future__ import annotations

import anyio
import pytest
from dyff.schema import platform

from dyff.kernel import errors
from tests.entities import bodies
from tests.narrowing import sure


@pytest.mark.parametrize("kind", ["Dataset", "Model", "InferenceService"])
async def test_create_answers_with_the_whole_entity_which_is_in_the_log(world, api, kind):
    """201, the whole entity as published, the position of the write, and one CreateEntity command with the same data."""
    from dyff.entities import registry

    plural = registry.BY_KIND[kind].plural
    response = await api.post(f"/v0/{plural}", json=bodies.CREATE[kind][0])
    assert response.status_code == 201, response.text
    assert response.headers["content-type"] == "application/json"
    entity = response.json()
    getattr(platform, kind).model_validate(entity)
    assert await world.events() == [{"schemaVersion": "0.1", "command": "CreateEntity", "data": entity}]
    again = await api.get(f"/v0/{plural}/{entity['id']}", headers={"Dyff-Position": response.headers["dyff-position"]})
    assert (again.status_code, again.json()) == (200, entity)


async def test_an_evaluation_embeds_the_service_and_its_model(world, api):
    """The evaluation has the service as it is, with its model, so that nothing has to be looked up later."""
    model = (await api.post("/v0/models", json=bodies.MODEL_MOCK)).json()
    service = await world.ready_service(model=model["id"])
    body = {"account": "test", "dataset": await world.dataset(), "inferenceSession": {"inferenceService": service}}
    response = await api.post("/v0/evaluations", json=body)
    assert response.status_code == 201, response.text
    evaluation = platform.Evaluation.model_validate(response.json())
    assert evaluation.status == "Created"
    embedded = evaluation.inferenceSession.inferenceService
    assert (embedded.id, embedded.name, sure(embedded.model).id) == (service, "mock", model["id"])
    assert response.json() in [each["data"] for each in await world.events()]


async def test_what_is_embedded_follows_the_document(world, api):
    """An edit of a service after it was used once does not leave an old copy behind, and its status is looked at each time."""
    body = await world.evaluation_body()
    assert (await api.post("/v0/evaluations", json=body)).status_code == 201
    await world.set_status(body["inferenceSession"]["inferenceService"], "Deleted", "DeleteCommand")
    refused = await api.post("/v0/evaluations", json=body)
    assert refused.status_code == 409
    assert "Deleted" in refused.json()["detail"]


async def test_an_unknown_reference_is_named(world, api):
    """404 with the ID and the field; nothing is created."""
    body = await world.evaluation_body()
    before = len(await world.events())
    missing = "0" * 12 + "4000" + "8" + "0" * 15
    response = await api.post("/v0/evaluations", json={**body, "dataset": missing})
    assert response.status_code == 404
    assert missing in response.json()["detail"]
    assert "dataset" in response.json()["detail"]
    assert len(await world.events()) == before


async def test_a_reference_that_the_view_does_not_show_yet_is_waited_for(world, api):
    """A dataset that was created a moment ago is found, however far the view is behind."""
    service = await world.ready_service()
    world.view.pause()
    dataset = (await api.post("/v0/datasets", json=bodies.DATASET)).json()["id"]

    async with anyio.create_task_group() as group:
        body = {"account": "test", "dataset": dataset, "inferenceSession": {"inferenceService": service}}

        async def create():
            response = await api.post("/v0/evaluations", json=body)
            assert response.status_code == 201, response.text

        group.start_soon(create)
        await anyio.wait_all_tasks_blocked()
        world.view.proceed()


async def test_a_repeated_create_with_a_key_happens_once(world, api):
    """The same key and body give the same entity; the log has one creation."""
    headers = {"Idempotency-Key": "once"}
    first = await api.post("/v0/datasets", json=bodies.DATASET, headers=headers)
    second = await api.post("/v0/datasets", json=bodies.DATASET, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(await world.events()) == 1
    assert platform.Dataset.model_validate(first.json()).id


async def test_a_key_with_another_body_is_refused(world, api):
    """422 that names the entity which the key belongs to."""
    headers = {"Idempotency-Key": "once"}
    first = await api.post("/v0/datasets", json=bodies.DATASET, headers=headers)
    other = await api.post("/v0/datasets", json={**bodies.DATASET, "name": "other"}, headers=headers)
    assert other.status_code == 422
    assert first.json()["id"] in other.json()["detail"][0]["msg"]
    assert len(await world.events()) == 1


@pytest.mark.parametrize("body", [bodies.DATASET, {**bodies.DATASET, "name": "other"}])
async def test_a_key_whose_entity_was_deleted_is_refused(world, api, body):
    """410 that names the entity, while it is only deleted and after it was forgotten; nothing is created, and a new key works."""
    headers = {"Idempotency-Key": "once"}
    entity_id = (await api.post("/v0/datasets", json=bodies.DATASET, headers=headers)).json()["id"]
    assert (await api.put(f"/v0/datasets/{entity_id}/delete")).status_code == 200
    for found in (200, 404):
        assert (await api.get(f"/v0/datasets/{entity_id}")).status_code == found
        before = len(await world.events())
        again = await api.post("/v0/datasets", json=body, headers=headers)
        assert (again.status_code, entity_id in again.json()["detail"]) == (410, True)
        assert len(await world.events()) == before
        if found == 200:
            await world.forget(entity_id)
    assert (await api.post("/v0/datasets", json=body, headers={"Idempotency-Key": "twice"})).status_code == 201


async def test_the_key_of_a_deleted_session_makes_no_token(world, api):
    """A session's creation answers the same: no token for what is gone."""
    body = {"account": "test", "inferenceService": await world.ready_service()}
    headers = {"Idempotency-Key": "once"}
    session = (await api.post("/v0/inferencesessions", json=body, headers=headers)).json()["inferencesession"]["id"]
    await api.put(f"/v0/inferencesessions/{session}/delete")
    again = await api.post("/v0/inferencesessions", json=body, headers=headers)
    assert (again.status_code, session in again.json()["detail"]) == (410, True)


async def test_requests_with_one_key_at_the_same_time_agree(world, api):
    """Whichever is first in the log is the answer to all."""

    found = []

    async def create(name):
        response = await api.post("/v0/datasets", json={**bodies.DATASET, "name": name}, headers={"Idempotency-Key": "race"})
        found.append((response.status_code, response.json()))

    async with anyio.create_task_group() as group:
        for n in range(8):
            group.start_soon(create, f"name-{n % 2}")
    winners = [body for status, body in found if status == 201]
    assert len({body["name"] for body in winners}) == 1
    assert {status for status, _ in found} <= {201, 422}
    assert len({body["creationTime"] for body in winners}) == 1


class Failing:
    """A bus whose publish fails as requested."""

    def __init__(self, real, error):
        self._real, self._error = real, error

    def __getattr__(self, name):
        return getattr(self._real, name)

    async def publish(self, topic, messages):
        raise self._error


@pytest.mark.parametrize(
    ("error", "want_status", "want_text"),
    [(errors.Unavailable("the log does not answer"), 503, "does not answer"), (errors.OutcomeUnknown(), 500, "it is not known")],
)
async def test_only_a_publish_that_did_nothing_is_reported_as_to_be_repeated(tmp_path, error, want_status, want_text):
    """Nothing appended is 503 with Retry-After; an unknown outcome is 500 and names the ID."""
    from tests.api.conftest import opened

    async with opened(tmp_path) as world:
        import msgspec

        from dyff.api import app

        failing = msgspec.structs.replace(world.services, bus=Failing(world.services.bus, error))
        world.app = app.build(failing)
        async with world.client() as client:
            response = await client.post("/v0/datasets", json=bodies.DATASET)
        assert response.status_code == want_status
        assert want_text in response.json()["detail"]
        assert ("retry-after" in response.headers) == (want_status == 503)


async def test_a_publish_that_takes_too_long_is_of_unknown_outcome(tmp_path):
    """The deadline of a publish does not tell whether it landed, so neither does the answer."""
    import msgspec

    from dyff.api import app
    from dyff.kernel import settings
    from tests.api.conftest import opened

    class Slow(Failing):
        async def publish(self, topic, messages):
            await anyio.sleep_forever()

    async with opened(tmp_path) as world:
        hasty = settings.Api(publish_timeout_s=0.05)
        world.app = app.build(msgspec.structs.replace(world.services, bus=Slow(world.services.bus, None), settings=hasty))
        async with world.client() as client:
            response = await client.post("/v0/datasets", json=bodies.DATASET)
        assert response.status_code == 500
        assert "CreateEntity of the Dataset" in response.json()["detail"]
