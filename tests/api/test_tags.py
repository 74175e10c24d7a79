"""References by `<family>@<tag>`."""

from __future__ import annotations

import pytest

from dyff.accounts import grants
from tests.entities import bodies


async def family_of(api, kind: str, members: dict[str, str]) -> str:
    """The ID of a new family with these tags."""
    made = await api.post("/v0/families", json={"account": "test", "memberKind": kind})
    family = made.json()["id"]
    body = {"members": {tag: {"entity": {"kind": kind, "id": each}} for tag, each in members.items()}}
    response = await api.patch(f"/v0/families/{family}/members", json=body, headers={"Dyff-Position": made.headers["Dyff-Position"]})
    assert response.status_code == 200, response.text
    return family


async def test_a_tag_stands_for_its_member_when_the_request_comes(world, api):
    """The entity has the ID, an annotation has what the request said, and a tag that is moved later changes nothing."""
    first, second, service = await world.dataset(), await world.dataset(), await world.ready_service()
    datasets, services = await family_of(api, "Dataset", {"v1": first}), await family_of(api, "InferenceService", {"a.b_c-1": service})
    body = {"account": "test", "dataset": f"{datasets}@v1", "inferenceSession": {"inferenceService": f"{services}@a.b_c-1"}}
    response = await api.post("/v0/evaluations", json=body)
    assert response.status_code == 201, response.text
    made = response.json()
    assert (made["dataset"], made["inferenceSession"]["inferenceService"]["id"]) == (first, service)
    assert {each["key"]: each["value"] for each in made["annotations"]} == {
        "references.dyff.io/dataset": f"{datasets}@v1",
        "references.dyff.io/inferenceSession-inferenceService": f"{services}@a.b_c-1",
    }
    moved = {"members": {"v1": {"entity": {"kind": "Dataset", "id": second}}}}
    assert (await api.patch(f"/v0/families/{datasets}/members", json=moved)).status_code == 200
    # No position is sent: a tag is resolved only when the view has all that the log has about the family.
    assert (await api.post("/v0/evaluations", json=body)).json()["dataset"] == second
    assert (await api.get(f"/v0/evaluations/{made['id']}")).json()["dataset"] == first


async def test_a_tag_of_a_module_is_replaced_wherever_it_is(api):
    """The module of a notebook is named twice in a method."""
    module = (await api.post("/v0/modules", json=bodies.MODULE_FULL)).json()["id"]
    said = f"{await family_of(api, 'Module', {'v1': module})}@v1"
    body = bodies.changed(bodies.METHOD_NOTEBOOK, "implementation.jupyterNotebook.notebookModule", said)
    response = await api.post("/v0/methods", json={**body, "modules": [said]})
    assert response.status_code == 201, response.text
    assert response.json()["modules"] == [module]
    assert response.json()["implementation"]["jupyterNotebook"]["notebookModule"] == module


REFUSED = {
    "a tag that is not there": ("{family}@v2", 404, "it has the tags v1"),
    "no tag": ("{family}@", 404, "has no tag ''"),
    "two tags": ("{family}@v1@v1", 404, "has no tag 'v1@v1'"),
    "a family that is not there": ("00000000000040008000000000000009@v1", 404, "there is no Family"),
    "a name": ("prompts@v1", 404, "an ID has 32 hexadecimal digits"),
    "members of another kind": ("{models}@v1", 422, "must be a Dataset, and the tag 'v1'"),
    "a dataset with a tag": ("{dataset}@v1", 404, "it is the ID of an entity of the kind Dataset"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_stands_for_nothing_is_refused(world, api, case):
    """The answer names the field and the fix, and nothing is created."""
    said, status, words = REFUSED[case]
    dataset, service = await world.dataset(), await world.ready_service()
    model = (await api.post("/v0/models", json=bodies.MODEL_MOCK)).json()["id"]
    names = {"family": await family_of(api, "Dataset", {"v1": dataset}), "models": await family_of(api, "Model", {"v1": model})}
    body = {"account": "test", "dataset": said.format(**names, dataset=dataset), "inferenceSession": {"inferenceService": service}}
    response = await api.post("/v0/evaluations", json=body)
    assert response.status_code == status, response.text
    assert words in response.text
    assert "dataset" in response.text
    assert not [each for each in await world.events() if each["data"]["kind"] == "Evaluation"]


async def test_a_deleted_family_stands_for_nothing(world, api):
    """Its tags are history."""
    family = await family_of(api, "Dataset", {"v1": await world.dataset()})
    assert (await api.put(f"/v0/families/{family}/delete")).status_code == 200
    service = await world.ready_service()
    body = {"account": "test", "dataset": f"{family}@v1", "inferenceSession": {"inferenceService": service}}
    response = await api.post("/v0/evaluations", json=body)
    assert (response.status_code, "it was deleted" in response.text) == (409, True)


async def test_a_tag_needs_consume_on_family_and_member(world, api):
    """What a tag stands for is not shown to those who may not use it."""
    family, service = await family_of(api, "Dataset", {"v1": await world.dataset()}), await world.ready_service()
    body = {"account": "test", "dataset": f"{family}@v1", "inferenceSession": {"inferenceService": service}}
    everything_but = {
        "families": grants.Grant(("evaluations", "datasets", "inferenceservices"), ("*",), ("test",)),
        "datasets": grants.Grant(("evaluations", "families", "inferenceservices"), ("*",), ("test",)),
    }
    for resource, grant in everything_but.items():
        async with world.client(await world.token(grant)) as other:
            response = await other.post("/v0/evaluations", json=body)
        assert (response.status_code, f"on any {resource}" in response.text) == (403, True), response.text


async def test_a_repetition_with_a_key_gets_the_first_answer(world, api):
    """Although the tag was moved in between: what was created once is created."""
    first, second, service = await world.dataset(), await world.dataset(), await world.ready_service()
    family = await family_of(api, "Dataset", {"v1": first})
    body = {"account": "test", "dataset": f"{family}@v1", "inferenceSession": {"inferenceService": service}}
    made = await api.post("/v0/evaluations", json=body, headers={"Idempotency-Key": "k"})
    assert made.json()["dataset"] == first
    await api.patch(f"/v0/families/{family}/members", json={"members": {"v1": {"entity": {"kind": "Dataset", "id": second}}}})
    again = await api.post("/v0/evaluations", json=body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"], again.json()["dataset"]) == (201, made.json()["id"], first)
