"""Queries, positions, and the truth about what the view does not show."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
import pytest_asyncio
from dyff.schema import platform

from dyff.entities import statuses
from dyff.kernel import settings
from tests.entities import bodies

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def five(shared_world, shared_api):
    """Five datasets with names a to e, of an account of their own, oldest first."""
    account = shared_world.services.ids.new()
    found = []
    for name in "abcde":
        response = await shared_api.post("/v0/datasets", json={**bodies.DATASET, "account": account, "name": name})
        found.append(response.json())
        await shared_api.get("/v0/datasets?limit=1", headers={"Dyff-Position": response.headers["dyff-position"]})
    return found


async def names(api, five, **parameters) -> str:
    parameters = {key: value if isinstance(value, str | int) else json.dumps(value) for key, value in parameters.items()}
    response = await api.get("/v0/datasets", params={"account": five[0]["account"], **parameters})
    assert response.status_code == 200, response.text
    return "".join(each["name"] for each in response.json())


async def test_a_query_filters_sorts_then_limits(shared_api, five):
    """All keys must match; the order is asked for; the limit comes last."""
    assert sorted(await names(shared_api, five)) == list("abcde")
    assert await names(shared_api, five, name="c") == "c"
    assert await names(shared_api, five, name="c", status="Ready") == ""
    assert await names(shared_api, five, orderBy="name", order="descending", limit=2) == "ed"
    assert await names(shared_api, five, orderBy="creationTime") == "abcde"
    assert await names(shared_api, five, id=five[1]["id"]) == "b"


async def test_a_json_query_takes_lists_of_values_and_of_conditions(shared_api, five):
    """A list of values is one of them; a list of objects is all of them; an empty list matches nothing."""
    assert sorted(await names(shared_api, five, query={"name": ["a", "d", "x"]})) == ["a", "d"]
    assert await names(shared_api, five, query=[{"name": ["a", "d"]}, {"name": ["d", "e"]}]) == "d"
    assert await names(shared_api, five, query={"name": []}) == ""
    assert sorted(await names(shared_api, five, query={"reason": None})) == list("abcde")
    assert await names(shared_api, five, query={"name": 7}) == ""


@pytest.mark.parametrize(
    ("asked", "near"), [("complet", "Complete"), ("ready", "Ready"), ("Finished", None), ("", None), ("Complete ", "Complete")]
)
async def test_a_status_that_does_not_exist(shared_api, asked, near):
    """It is refused and the nearest is named: an empty list would say that no entity has it yet."""
    refused = await shared_api.get("/v0/evaluations", params={"status": asked})
    (problem,) = refused.json()["detail"]
    assert (refused.status_code, problem["loc"]) == (422, ["query", "status"])
    assert (f"did you mean {near!r}?" if near else "WaitingForUpload") in problem["msg"]
    for query in ({"status": asked}, {"status": ["Ready", asked]}, [{"reason": "a"}, {"status": asked}]):
        refused = await shared_api.get("/v0/evaluations", params={"query": json.dumps(query)})
        assert refused.status_code == 400
        assert "'status'" in refused.json()["detail"]
        assert (f"did you mean {near!r}?" if near else "WaitingForUpload") in refused.json()["detail"]


def _published_statuses():
    found = {name: getattr(platform, name) for name in dir(platform) if name.endswith("Status") and name[0] != "_"}
    return sorted({value for each in found.values() if isinstance(each, tuple) for value in each})


@pytest.mark.parametrize("status", sorted({*statuses.ALL, *_published_statuses()}))
async def test_every_published_status_can_be_asked_for(shared_api, status):
    """Also one that no entity here ever has: the published clients know it. And null, in a JSON query."""
    for parameters in ({"status": status}, {"query": json.dumps({"status": [status, None]})}):
        assert (await shared_api.get("/v0/models", params=parameters)).status_code == 200


async def test_labels_must_all_match(shared_api, five):
    """Two labels are both wanted, as a parameter and inside a query."""
    for n, labels in enumerate([{"a": "1"}, {"a": "1", "x.org/b": "2"}, {"x.org/b": "2"}]):
        assert (await shared_api.patch(f"/v0/datasets/{five[n]['id']}/labels", json={"labels": labels})).status_code == 200
    assert sorted(await names(shared_api, five, labels={"a": "1"})) == ["a", "b"]
    assert await names(shared_api, five, labels={"a": "1", "x.org/b": "2"}) == "b"
    assert await names(shared_api, five, query={"labels": {"a": "1"}, "name": "a"}) == "a"


async def test_pages_follow_one_another_without_gap_or_repetition(shared_api, five):
    """`after` with the last result of a page gives the next."""
    seen = ""
    after: dict[str, str] = {}
    while True:
        response = await shared_api.get(
            "/v0/datasets", params={"account": five[0]["account"], "orderBy": "creationTime", "order": "descending", "limit": 2, **after}
        )
        page = response.json()
        if not page:
            break
        seen += "".join(each["name"] for each in page)
        after = {"after": json.dumps([page[-1]["creationTime"], page[-1]["id"]])}
    assert seen == "edcba"


@pytest.mark.parametrize("key", ["id", "account", "status", "reason", "name", "creationTime", "lastTransitionTime"])
@pytest.mark.parametrize("order", ["ascending", "descending"])
async def test_every_key_can_be_paged_by(shared_api, five, key, order):
    """Also where all have the same value or none: `after` with the value and the ID of the last result, null included."""
    seen: list[Any] = []
    after: dict[str, str] = {}
    while len(seen) < 10:
        parameters = {"account": five[0]["account"], "orderBy": key, "order": order, "limit": 2, **after}
        page = (await shared_api.get("/v0/datasets", params=parameters)).json()
        if not page:
            break
        seen += page
        after = {"after": json.dumps([page[-1].get(key), page[-1]["id"]])}
    assert sorted(each["id"] for each in seen) == sorted(each["id"] for each in five)
    ranks = [(each.get(key) or "", each["id"]) for each in seen]
    assert ranks == sorted(ranks, reverse=order == "descending")


async def test_evaluations_are_found_by_what_they_embed(shared_world, shared_api):
    """The published keys for the service and the model lead into the embedded session."""
    model = (await shared_api.post("/v0/models", json=bodies.MODEL_MOCK)).json()["id"]
    service = await shared_world.ready_service(model=model, name="a-service")
    body = {"account": "test", "dataset": await shared_world.dataset(), "inferenceSession": {"inferenceService": service}}
    response = await shared_api.post("/v0/evaluations", json=body)
    headers = {"Dyff-Position": response.headers["dyff-position"]}
    wanted = {
        "dataset": body["dataset"],
        "inferenceService": service,
        "inferenceServiceName": "a-service",
        "model": model,
        "modelName": "mock-model",
    }
    for key, value in wanted.items():
        found = (await shared_api.get("/v0/evaluations", params={key: value}, headers=headers)).json()
        assert [each["id"] for each in found] == [response.json()["id"]], key
        assert (await shared_api.get("/v0/evaluations", params={key: "other"})).json() == []


async def test_a_read_with_a_position_waits_for_it(shared_world, shared_api):
    """The reader sees its own write, however late the view is."""
    shared_world.view.pause()
    created = await shared_api.post("/v0/datasets", json=bodies.DATASET)
    seen = []

    async def read():
        response = await shared_api.get(
            f"/v0/datasets?id={created.json()['id']}", headers={"Dyff-Position": created.headers["dyff-position"]}
        )
        seen.append(len(response.json()))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        shared_world.view.proceed()
    assert seen == [1]


async def test_an_unknown_entity_is_denied_only_when_the_view_has_seen_all(shared_world, shared_api):
    """While the view is behind the log it is not known, and the answer is not 404."""
    import msgspec

    from dyff.api import app

    hasty = msgspec.structs.replace(shared_world.services, settings=settings.Api(read_wait_s=0.05))
    missing = "0123456789ab4def8123456789abcdef"
    shared_world.view.pause()
    for _ in range(8):
        await shared_api.post("/v0/datasets", json=bodies.DATASET)
    usual, shared_world.app = shared_world.app, app.build(hasty)
    try:
        async with shared_world.client() as client:
            response = await client.get(f"/v0/datasets/{missing}")
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            waited = await client.get("/v0/datasets", headers={"Dyff-Position": f"{(await epoch(shared_world))};0=100000"})
            assert waited.status_code == 503
    finally:
        shared_world.app = usual
        shared_world.view.proceed()
    response = await shared_api.get(f"/v0/datasets/{missing}")
    assert response.status_code == 404
    assert missing in response.json()["detail"]


async def epoch(world) -> str:
    from dyff.bus import topics

    return (await world.services.bus.topic(topics.EVENTS)).epoch
