"""The history of an entity, what it needs, and what needs it."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from dyff.accounts import grants
from dyff.api import history, related
from dyff.entities import registry
from tests.entities import bodies

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def world(shared_world):
    return shared_world


@pytest.fixture(scope="module")
def api(shared_api):
    return shared_api


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def evaluation(world, api):
    """It was admitted, waited twice, was labelled, and failed; a late command came after the end."""
    made = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()
    for status, reason in (
        ("Created", "QuotaLimit"),
        ("Created", "QuotaLimit"),
        ("Admitted", None),
        ("Failed", "Interrupted"),
        ("Complete", None),
    ):
        await world.set_status(made["id"], status, reason)
        await api.patch(f"/v0/evaluations/{made['id']}/labels", json={"labels": {"round": status.lower()}})
    return made


HISTORY = [("Created", None), ("Created", "QuotaLimit"), ("Admitted", None), ("Failed", "Interrupted")]


async def get(api, path, **parameters):
    response = await api.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_history_has_each_status_once(world, api, evaluation):
    """What changed nothing, and what came after the end, is not in it; who asked is, and controllers are the system."""
    found = await get(api, f"/v0/evaluations/{evaluation['id']}/history")
    assert [(each["status"], each["reason"]) for each in found["history"]] == HISTORY
    assert found["next"] is None
    assert (found["history"][0]["by"], found["history"][0]["command"]) == (world.account, "CreateEntity")
    assert found["history"][0]["time"] == evaluation["creationTime"]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_a_history_are_the_same(api, evaluation, limit):
    """Whatever the limit, all pages together are the history."""
    found, parameters = [], {"limit": limit}
    for _ in range(10):
        page = await get(api, f"/v0/evaluations/{evaluation['id']}/history", **parameters)
        found += [(each["status"], each["reason"]) for each in page["history"]]
        if page["next"] is None:
            break
        parameters = {"limit": limit, "after": page["next"]}
    assert found == HISTORY


async def test_a_history_needs_no_look_at_all_of_the_log(world, api, evaluation, monkeypatch):
    """It is found by time among many events of others, and read a part at a time if there are more than a request may look at."""
    monkeypatch.setattr(history, "BATCH", 2)
    monkeypatch.setattr(history, "LOOK_S", 0.0)
    found: list[Any] = []
    after: dict[str, str] = {}
    pages = 0
    while True:
        page = await get(api, f"/v0/evaluations/{evaluation['id']}/history", **after)
        found += [(each["status"], each["reason"]) for each in page["history"]]
        pages += 1
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert (found, pages > 1) == (HISTORY, True)


async def test_who_asked_is_shown_to_those_who_may_know(world, api):
    """An entity's own account is shown; another one only to operators."""
    other = world.services.ids.new()
    made = (await api.post("/v0/datasets", json={**bodies.DATASET, "account": other})).json()
    path = f"/v0/datasets/{made['id']}/history"
    assert (await get(api, path))["history"][0]["by"] == world.account
    reader = await world.token(grants.Grant(("datasets",), ("get",), (other,)))
    async with world.client(reader) as client:
        assert (await get(client, path))["history"][0]["by"] == world.account  # it is the reader's own
    entity = {"account": other}
    principal = await world.services.authority.verify(reader)
    assert [relations_by(principal, entity, each) for each in (f"Account/{other}", "Account/third", "dyff.informer", "")] == [
        other,
        None,
        "system",
        None,
    ]


def relations_by(principal, entity, subject):
    from dyff.api.routes import relations

    return relations._by(principal, entity, subject)


async def test_dependencies_are_what_is_needed(world, api, evaluation):
    """The dataset and the service must have succeeded; what the token may not see is an ID without more."""
    path = f"/v0/evaluations/{evaluation['id']}/dependencies"
    needed = {each["kind"]: each for each in (await get(api, path))["needs"]}
    assert (needed["Dataset"]["id"], needed["Dataset"]["required"], needed["Dataset"]["visible"]) == (evaluation["dataset"], True, True)
    assert needed["InferenceService"]["status"] == "Ready"
    only = await world.token(grants.Grant(("evaluations",), ("get",), (), (evaluation["id"],)))
    async with world.client(only) as client:
        hidden = (await get(client, path))["needs"]
        assert {(each["visible"], each["kind"], each["name"], each["account"]) for each in hidden} == {(False, None, None, None)}


async def test_dependents_are_what_names_it(world, api):
    """Of all kinds, page by page, and only what the token may see."""
    body = await world.evaluation_body()
    made = [(await api.post("/v0/evaluations", json={**body, "account": account})).json() for account in ("one", "two", "two")]
    await get(api, f"/v0/evaluations/{made[-1]['id']}")
    assert await world.services.query.wait({}, 1)
    path = f"/v0/datasets/{body['dataset']}/dependents"
    found: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = await get(api, path, limit=2, **after)
        found += page["dependents"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert [each["id"] for each in found] == [each["id"] for each in made]
    assert {(each["kind"], each["required"]) for each in found} == {("Evaluation", True)}
    two = await world.token(grants.Grant(("datasets", "evaluations"), ("get",), ("two",)), grants.Grant(("datasets",), ("get",), ("test",)))
    async with world.client(two) as client:
        assert [each["id"] for each in (await get(client, path))["dependents"]] == [each["id"] for each in made[1:]]


@pytest.mark.parametrize("after", ["x", "a~b", "Dataset~x~y", "House~2026~" + "0" * 32, "====", "eyJvIjoxfQ", "a" * 5000])
async def test_a_wrong_cursor_is_named(api, evaluation, after):
    """Whatever is sent as a cursor, it is an error that names it."""
    for what in ("history", "dependents"):
        response = await api.get(f"/v0/evaluations/{evaluation['id']}/{what}", params={"after": after})
        assert (response.status_code, "after" in response.text) == (422, True)


async def test_strangers_see_nothing(world, evaluation):
    """Each needs `get` on the entity."""
    stranger = await world.token(grants.Grant(("evaluations",), ("get",), ("other",)))
    for what in ("history", "dependencies", "dependents"):
        path = f"/v0/evaluations/{evaluation['id']}/{what}"
        async with world.client(stranger) as client:
            assert (await client.get(path)).status_code == 403
            assert (await client.get(path + "?limit=201")).status_code in (403, 422)
        async with world.client("") as client:
            assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize(
    ("to", "by", "paths"),
    [
        ("Dataset", "Evaluation", [("dataset",)]), ("Model", "InferenceService", [("model", "id")]),
        ("Method", "Measurement", [("method", "id")]),
        ("Evaluation", "SafetyCase", [("scope", "evaluation")]), ("Dataset", "Dataset", []),
    ],
)  # fmt: skip
async def test_where_a_kind_names_another(to, by, paths):
    """The query parameter that is called like the kind says where."""
    assert related.references(registry.BY_KIND[to], registry.BY_KIND[by]) == paths


async def test_an_entity_that_does_not_fit_its_kind_needs_nothing():
    """Stored data can be of a later release."""
    assert related.needs(registry.BY_KIND["Evaluation"], {"dataset": 7}) == {}
