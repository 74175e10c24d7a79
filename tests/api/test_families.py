"""Families, methods, modules, use cases and hazards through the API."""

from __future__ import annotations

import pytest
from dyff.schema import platform

from dyff.accounts import grants
from dyff.entities.kinds import family
from tests.entities import bodies


async def made(api, plural: str, body: dict) -> dict:
    """What POST answers."""
    response = await api.post(f"/v0/{plural}", json=body)
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
async def datasets_family(api) -> str:
    """The ID of a family of datasets."""
    return (await made(api, "families", bodies.FAMILY))["id"]


def member(entity_id: str, kind: str = "Dataset", **more) -> dict:
    """What a tag stands for, in a request."""
    return {"entity": {"kind": kind, "id": entity_id}, **more}


async def test_tags_are_set_moved_and_removed(world, api, datasets_family):
    """A tag that moves gets a new time and loses its old description; null removes one; others stay. The answer is the whole family."""
    one, two = await world.dataset(), await world.dataset()
    path = f"/v0/families/{datasets_family}"
    first = await api.patch(f"{path}/members", json={"members": {"v1": member(one, description="first"), "_.x-9": member(one)}})
    assert first.status_code == 200, first.text
    there = platform.Family.model_validate(first.json()).members
    assert (there["v1"].name, there["v1"].family, there["v1"].description) == ("v1", datasets_family, "first")
    second = await api.patch(f"{path}/members", json={"members": {"v1": member(two), "_.x-9": None, "absent": None}})
    after = second.json()["members"]
    assert set(after) == {"v1"}
    assert after["v1"]["entity"] == {"kind": "Dataset", "id": two}
    assert "description" not in after["v1"]
    assert after["v1"]["creationTime"] > first.json()["members"]["v1"]["creationTime"]
    assert (await api.get(path)).json()["members"] == after


REFUSED = {
    "a member of another kind": (lambda one: {"v1": member(one, "Model")}, 404, "Model"),
    "a member that does not exist": (lambda _: {"v1": member("0" * 31 + "1")}, 404, "members.v1.entity.id"),
    "a tag with a space": (lambda one: {"v 1": member(one)}, 422, "tag of an OCI image"),
    "a tag that begins with a dot": (lambda one: {".v1": member(one)}, 422, "tag of an OCI image"),
    "a tag that is too long": (lambda one: {"v" * 128: member(one)}, 422, "tag of an OCI image"),
    "a long description": (lambda one: {"v1": member(one, description="x" * 281)}, 422, "280"),
    "an unknown field": (lambda one: {"v1": member(one, name="v1")}, 422, "'name' is not known"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_wrong_member_changes_nothing(world, api, datasets_family, case):
    """The answer names the tag and the fix, and no other tag of the request is set."""
    members, status, words = REFUSED[case]
    one = await world.dataset()
    body = {"members": {"good": member(one), **members(one)}}
    response = await api.patch(f"/v0/families/{datasets_family}/members", json=body)
    assert (response.status_code, words in response.text) == (status, True), response.text
    assert (await api.get(f"/v0/families/{datasets_family}")).json()["members"] == {}


async def test_a_member_has_the_kind_of_its_family(world, api, datasets_family):
    """One of another kind that exists is refused as well."""
    service = await world.ready_service()
    response = await api.patch(f"/v0/families/{datasets_family}/members", json={"members": {"v1": member(service, "InferenceService")}})
    assert response.status_code == 422
    assert "members.v1.entity.kind must be Dataset" in response.json()["detail"][0]["msg"]


async def test_the_number_of_members_is_bounded(world, api, datasets_family, monkeypatch):
    """What is removed by the same request makes room."""
    monkeypatch.setattr(family, "MAX_MEMBERS", 2)
    one = await world.dataset()
    path = f"/v0/families/{datasets_family}/members"
    assert (await api.patch(path, json={"members": {"a": member(one), "b": member(one)}})).status_code == 200
    refused = await api.patch(path, json={"members": {"c": member(one)}})
    assert "at most 2; this would make 3" in refused.json()["detail"][0]["msg"]
    assert (await api.patch(path, json={"members": {"c": member(one), "a": None}})).status_code == 200


async def test_only_who_may_use_an_entity_can_make_it_a_member(world, api, datasets_family):
    """`edit` on the family is not enough: a reference needs `consume`, so a tag cannot reveal what its author may not see."""
    one = await world.dataset()
    token = await world.token(grants.Grant(("families",), ("*",), (world.account, "test")))
    async with world.client(token) as other:
        response = await other.patch(f"/v0/families/{datasets_family}/members", json={"members": {"v1": member(one)}})
    assert response.status_code == 403, response.text


async def test_texts_of_a_family_are_in_the_entity(api, datasets_family):
    """As the published clients expect: the answer to an edit of the documentation is the family."""
    response = await api.patch(f"/v0/families/{datasets_family}/documentation", json={"documentation": {"title": "Prompts"}})
    assert (response.json()["id"], response.json()["metadata"]["documentation"]) == (datasets_family, {"title": "Prompts"})


@pytest.mark.parametrize("plural", ["usecases", "hazards"])
async def test_a_concern_begins_with_its_texts(api, plural):
    """They are in the request, and can be read as documentation and edited from then on."""
    one = await made(api, plural, bodies.CONCERN_FULL)
    texts = bodies.CONCERN_FULL["documentation"]
    assert one["documentation"] == one["metadata"]["documentation"] == texts
    path = f"/v0/{plural}/{one['id']}/documentation"
    assert (await api.get(path)).json()["title"] == "T"
    edited = await api.patch(path, json={"documentation": {"title": "New", "fullPage": None}})
    assert edited.json()["metadata"]["documentation"] == {"title": "New", "summary": "S"}


async def test_a_method_needs_the_code_that_it_names(api):
    """A function that its module does not define is refused when the method is created; the module's kind is checked, too."""
    module = await made(api, "modules", bodies.MODULE)
    good = {**bodies.METHOD, "modules": [module["id"]]}
    assert (await made(api, "methods", good))["modules"] == [module["id"]]
    wrong = bodies.changed(good, "implementation.pythonFunction.fullyQualifiedName", "words.lenght.mean")
    response = await api.post("/v0/methods", json=wrong)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "implementation", "pythonFunction", "fullyQualifiedName"]
    missing = await api.post("/v0/methods", json={**good, "modules": ["0" * 31 + "1"]})
    assert (missing.status_code, "modules.0" in missing.text) == (404, True)


async def test_rows_of_a_measurement_about_items_have_an_index(api):
    """A schema without `_index_` is for measurements about the whole dataset."""
    module = await made(api, "modules", bodies.MODULE)
    instance = {**bodies.METHOD_FULL, "modules": [module["id"]]}
    assert (await api.post("/v0/methods", json=instance)).status_code == 201
    wrong = bodies.changed(instance, "output.measurement.level", "Instance")
    response = await api.post("/v0/methods", json=wrong)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "output", "measurement", "schema", "arrowSchema"]
    assert "_index_" in response.json()["detail"][0]["msg"]


async def test_methods_are_found_by_what_they_make(api):
    """`outputKind`, as published."""
    module = await made(api, "modules", bodies.MODULE_FULL)
    one = await made(api, "methods", {**bodies.METHOD, "modules": [module["id"]]})
    notebook = bodies.changed(bodies.METHOD_NOTEBOOK, "implementation.jupyterNotebook.notebookModule", module["id"])
    response = await api.post("/v0/methods", json={**notebook, "modules": [module["id"]]})
    two, seen = response.json(), {"Dyff-Position": response.headers["Dyff-Position"]}
    for kind, wanted in (("Measurement", one), ("SafetyCase", two)):
        found = (await api.get("/v0/methods", params={"outputKind": kind}, headers=seen)).json()
        assert [each["id"] for each in found] == [wanted["id"]]
