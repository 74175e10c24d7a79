"""Exports and the stable addresses that they name: what they lead to, for whom, and when there is nothing."""

from __future__ import annotations

import base64
import hashlib

import pytest

from dyff.accounts import grants
from dyff.entities.exports import evidence
from tests.api.test_analyses import INPUTS, inputs_of, made
from tests.api.test_uploads import uploaded
from tests.entities import bodies

ROWS = bodies.ROWS
SHA = hashlib.sha256(ROWS).hexdigest()
READ = grants.Grant(("*",), ("get",), ("*",))
FETCH = grants.Grant(("*",), ("data",), ("*",))


@pytest.fixture
async def dataset(world, api):
    """A dataset with data."""
    made = await world.dataset()
    await uploaded(api, "datasets", made, "part-0.parquet", ROWS)
    assert (await api.post(f"/v0/datasets/{made}/finalize")).json() == {"status": "Ready"}
    return made


async def test_a_dataset_is_described_with_addresses_that_last(world, api, dataset):
    """Each file has its SHA-256, its size and an address that leads to these bytes, now and later."""
    found = (await api.get(f"/v0/datasets/{dataset}/croissant")).json()
    (file,) = found["distribution"]
    assert (file["sha256"], file["contentSize"]) == (SHA, f"{len(ROWS)} B")
    assert file["contentUrl"] == f"http://dyff.test/v0/datasets/{dataset}/files/part-0.parquet"
    fields = found["recordSet"][0]["field"]
    assert [(each["name"], each["dataType"]) for each in fields] == [("_index_", "cr:Int64"), ("text", "sc:Text")]
    redirect = await api.get(file["contentUrl"])
    assert (redirect.status_code, redirect.headers["cache-control"]) == (307, "no-store")
    async with world.client("") as anybody:
        assert (await anybody.get(redirect.headers["location"])).content == ROWS
    manifest = await api.get(found["subjectOf"])
    assert hashlib.sha256(manifest.content).hexdigest() in [each["value"] for each in found["identifier"]]
    assert [each["digest"]["sha256"] for each in manifest.json()["artifacts"]] == [SHA]


async def test_the_token_can_be_the_password_of_an_address(world, api, dataset):
    """Programs that only know HTTP Basic reach files by it, with any user name, and nothing else."""
    address = f"/v0/datasets/{dataset}/files/part-0.parquet"

    async def status(path: str, credentials: str) -> int:
        text = base64.b64encode(credentials.encode()).decode()
        async with world.client("") as client:
            return (await client.get(path, headers={"Authorization": f"Basic {text}"})).status_code

    assert await status(address, f"anybody:{world.admin}") == 307
    assert await status(f"/v0/datasets/{dataset}/manifest", f":{world.admin}") == 200
    for wrong in (world.admin, "anybody:", "anybody:wrong"):
        assert await status(address, wrong) == 401
    assert await status(f"/v0/datasets/{dataset}", f"anybody:{world.admin}") == 401
    async with world.client("") as client:
        assert (await client.get(address, headers={"Authorization": "Basic w6Q="})).status_code == 401


async def test_reading_and_fetching_are_apart(world, dataset):
    """Who may read a dataset gets its description; its bytes and their list need the permission to fetch."""
    for granted, description, data in ((READ, 200, 403), (FETCH, 403, None)):
        async with world.client(await world.token(granted)) as client:
            assert (await client.get(f"/v0/datasets/{dataset}/croissant")).status_code == description
            for path, success in (("manifest", 200), ("files/part-0.parquet", 307)):
                assert (await client.get(f"/v0/datasets/{dataset}/{path}")).status_code == (data or success)


async def test_what_is_not_there_is_said(world, api, dataset):
    """A file that does not exist is 404, and names the nearest; a dataset without data is 409."""
    absent = await api.get(f"/v0/datasets/{dataset}/files/part-1.parquet")
    assert (absent.status_code, "did you mean 'part-0.parquet'" in absent.text) == (404, True)
    waiting = await world.dataset()
    await api.put(f"/v0/datasets/{dataset}/delete")
    for each in (waiting, dataset):
        for path in ("croissant", "manifest", "files/part-0.parquet"):
            assert (await api.get(f"/v0/datasets/{each}/{path}")).status_code == 409


@pytest.fixture
async def measurement(world, api):
    """A complete measurement with a score, of an evaluation of a dataset."""
    body = await world.analysis_body(**INPUTS, scores=[{"name": "rate", "title": "Rate", "summary": "How often"}])
    entity = await made(api, "measurements", {**body, "inputs": inputs_of(body)})
    read = [{"keyword": each["keyword"], "kind": "", "id": each["entity"], "sha256": "e" * 64} for each in entity["inputs"]]
    score = {
        "id": "0" * 32, "name": "rate", "title": "Rate", "summary": "How often", "analysis": entity["id"], "quantity": 0.5,
        "quantityString": "0.5", "text": "half",
    }  # fmt: skip
    provenance = {"run": {"seed": 7}, "inputs": read, "modules": [], "outputs": {}}
    await world.record(entity["id"], {"scores": [score], "curves": [], "provenance": provenance})
    await world.set_status(entity["id"], "Complete")
    return (await api.get(f"/v0/measurements/{entity['id']}")).json()


async def test_scores_lead_to_their_provenance(api, measurement):
    """The answer with the scores links to the document, which has each score and all that the run used."""
    scores = await api.get(f"/v0/measurements/{measurement['id']}/scores")
    address = f"http://dyff.test/v0/measurements/{measurement['id']}/provenance"
    assert scores.headers["link"] == f'<{address}>; rel="describedby"'
    found = (await api.get(address)).json()
    assert found["entity"][f"api:measurements/{measurement['id']}/scores#rate"]["prov:value"] == 0.5
    used = {each["prov:role"]: each["prov:entity"] for each in found["used"].values()}
    for each in measurement["inputs"]:
        name = used[f"input {each['keyword']}"]
        assert (name.rpartition("/")[2], found["entity"][name]["dyff:sha256"]) == (each["entity"], "e" * 64)
    assert used["method"] == f"api:methods/{measurement['method']['id']}"
    assert used["system"].startswith("api:inferenceservices/")


async def test_provenance_shows_no_more_than_the_caller_may_read(world, measurement):
    """Who may read only the measurement gets IDs and digests of its inputs, and nothing of what these rest on."""
    evaluation = next(each["entity"] for each in measurement["inputs"] if each["keyword"] == "outputs")
    only = grants.Grant(("measurements",), ("get",), (), (measurement["id"],))
    async with world.client(await world.token(only)) as client:
        answer = await client.get(f"/v0/measurements/{measurement['id']}/provenance")
        assert (await client.get(f"/v0/evaluations/{evaluation}/provenance")).status_code == 403
    hidden = answer.json()["entity"][f"api:evaluations/{evaluation}"]
    assert (hidden["dyff:visible"], hidden["dyff:sha256"], "prov:label" in hidden) == (False, "e" * 64, False)
    assert f"api:evaluations/{evaluation}#run" not in answer.json()["activity"]


async def test_the_provenance_of_one_entity_has_a_bound(api, measurement, monkeypatch):
    """What exceeds the limit is left out, and the document says so."""
    monkeypatch.setattr(evidence, "MAX_ENTITIES", 2)
    found = (await api.get(f"/v0/measurements/{measurement['id']}/provenance")).json()
    assert "dyff:incomplete" in found["entity"][f"api:measurements/{measurement['id']}"]


async def test_scores_are_exported_for_other_collections(world, api, measurement):
    """A complete analysis of one system is a document of Every Eval Ever; one that is not complete is a conflict."""
    found = (await api.get(f"/v0/measurements/{measurement['id']}/eee")).json()
    assert (found["schema_version"], found["evaluation_results"][0]["score_details"]["score"]) == ("0.3.0", 0.5)
    assert found["source_metadata"]["additional_details"]["dyff_provenance"].endswith(f"{measurement['id']}/provenance")
    waiting = await made(api, "measurements", await world.analysis_body())
    assert (await api.get(f"/v0/measurements/{waiting['id']}/eee")).status_code == 409
    only = grants.Grant(("datasets",), ("get",), ("*",))
    async with world.client(await world.token(only)) as client:
        assert (await client.get(f"/v0/measurements/{measurement['id']}/eee")).status_code == 403


async def test_what_is_public_is_exported_without_a_token(world, api, measurement):
    """Provenance and scores of a public entity are for everybody, with IDs and digests of the rest; all others are a 404 for strangers."""
    one = f"/v0/measurements/{measurement['id']}"
    async with world.client("") as anybody:
        before = [(await anybody.get(f"{path}/{form}")) for path in (one, f"/v0/measurements/{'0' * 32}") for form in ("provenance", "eee")]
        assert [each.status_code for each in before] == [404] * 4
        assert before[0].json()["detail"].replace(measurement["id"], "0" * 32) == before[2].json()["detail"]
        await api.patch(f"{one}/labels", json={"labels": {"dyff.io/access": "public"}})
        await api.get(one)
        found = await anybody.get(f"{one}/provenance")
        assert (found.status_code, found.headers["cache-control"]) == (200, "no-cache")
        assert (await anybody.get(f"{one}/provenance", headers={"If-None-Match": found.headers["etag"]})).status_code == 304
        evaluation = next(each["entity"] for each in measurement["inputs"] if each["keyword"] == "outputs")
        assert found.json()["entity"][f"api:evaluations/{evaluation}"]["dyff:visible"] is False
        assert (await anybody.get(f"{one}/eee")).status_code == 200
        assert (await anybody.get(one)).status_code == 401
        await api.put(f"{one}/delete")
        await api.get(one)
        assert (await anybody.get(f"{one}/provenance")).status_code == 404
