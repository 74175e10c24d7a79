"""What is finalized can no longer be written: uploads are staged, closed by finalize, and sealed under their SHA-256 (ADR 18)."""

from __future__ import annotations

import hashlib

import anyio
import msgspec
import pytest

from dyff.accounts import port as accounts
from dyff.api import app
from dyff.objects import layout, manifests
from tests import collisions, waiting
from tests.entities import bodies

ROWS = bodies.ROWS
PATH = "part-0.parquet"


async def signed(api, plural, entity, path=PATH):
    """The URL to which the file can be put, with the headers for it."""
    link = await api.get(f"/v0/{plural}/{entity}/upload/{path}")
    assert link.status_code == 200, link.text
    return link.json()


async def put(api, link, data):
    return await api.put(link["url"], content=data, headers={**link["headers"], "Authorization": ""})


async def sealed(world, collection, entity) -> manifests.Manifest:
    found = await manifests.read(world.services.objects, layout.root(collection, entity))
    assert found is not None
    return found


async def model(api, account="test", data=collisions.FIRST) -> str:
    """A model with one file, `w`, as `data`."""
    file = {"path": "w", "size": len(data), "digest": {"md5": bodies.md5(data)}}
    artifact = {"kind": "Volume", "volume": {"files": [file]}}
    made = await api.post("/v0/models", json={**bodies.MODEL_UPLOAD, "account": account, "artifact": artifact})
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def test_the_same_bytes_again_are_accepted_until_finalize(world, api):
    """A repeated PUT before finalize gets a 200; after it a 409, and nothing that is listed has changed."""
    dataset = await world.dataset()
    link = await signed(api, "datasets", dataset)
    assert [(await put(api, link, ROWS)).status_code for _ in range(2)] == [200, 200]
    assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}
    late = await put(api, link, ROWS)
    assert (late.status_code, "it is Ready" in late.json()["detail"]) == (409, True)
    (artifact,) = (await sealed(world, "datasets", dataset)).artifacts
    assert await world.services.objects.get(artifact.key) == ROWS


async def test_a_manifest_has_size_and_both_digests_and_a_key_of_its_own(world, api):
    """The bytes are under their SHA-256, where no URL was ever signed, and the staging prefix is empty."""
    dataset = await world.dataset()
    await put(api, await signed(api, "datasets", dataset), ROWS)
    await api.post(f"/v0/datasets/{dataset}/finalize")
    (artifact,) = (await sealed(world, "datasets", dataset)).artifacts
    sha256 = hashlib.sha256(ROWS).hexdigest()
    assert (artifact.size, artifact.digest) == (len(ROWS), {"md5": bodies.md5(ROWS), "sha256": sha256})
    assert artifact.key == f"datasets/{dataset}/.dyff/blobs/{sha256}"
    assert [info async for info in world.services.objects.list(layout.UPLOADS)] == []


@pytest.mark.parametrize("how", ["delete", "suspend"])
async def test_a_url_ends_with_its_entity_and_its_account(world, api, how):
    """After a delete a PUT is a 409, and while the account is suspended it is a 403; nothing is stored."""
    names = world.services.ids
    owner = accounts.Account(id=names.new(), name="owner", created=world.services.clock.now(), permissions=())
    await world.services.accounts.create(owner)
    dataset = await world.dataset(account=owner.id)
    link = await signed(api, "datasets", dataset)
    if how == "delete":
        await api.put(f"/v0/datasets/{dataset}/delete")
        want = (409, "it is Deleted")
    else:
        await world.services.accounts.set_status(owner.id, accounts.SUSPENDED, None)
        want = (403, "suspended")
    answer = await put(api, link, ROWS)
    assert (answer.status_code, want[1] in answer.json()["detail"]) == (want[0], True), answer.text
    assert await world.services.objects.head(layout.staging("datasets", dataset) + PATH) is None


async def test_a_put_that_was_slower_than_finalize_is_refused(world, api):
    """It began before finalize and ends after it: 409, and nothing of it is stored anywhere."""
    dataset = await world.dataset()
    link = await signed(api, "datasets", dataset)
    await put(api, link, ROWS)
    begun, finalized = anyio.Event(), anyio.Event()

    async def body():
        yield ROWS[:10]
        begun.set()
        await finalized.wait()
        yield ROWS[10:]

    answers = []

    async def slowly():
        answers.append(await api.put(link["url"], content=body(), headers={**link["headers"], "Authorization": ""}))

    async with anyio.create_task_group() as group:
        group.start_soon(slowly)
        await begun.wait()
        assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}
        finalized.set()
    assert answers[0].status_code == 409
    assert [info async for info in world.services.objects.list(layout.UPLOADS)] == []


async def test_while_it_is_sealed_nothing_can_be_uploaded(tmp_path, world, api):
    """Finalize is answered, the upload is closed with a 409 that the published client does not repeat, and finalize may be repeated."""
    quick = msgspec.structs.replace(world.services.settings, finalize_wait_s=0.05)
    world.app = app.build(msgspec.structs.replace(world.services, settings=quick))
    world.sealer.pause()
    async with world.client() as client:
        dataset = await world.dataset()
        link = await signed(client, "datasets", dataset)
        await put(client, link, ROWS)
        for _ in range(2):
            answer = await client.post(f"/v0/datasets/{dataset}/finalize")
            assert (answer.status_code, answer.json()) == (200, {"status": "WaitingForUpload", "reason": "Finalizing"})
        for refused in (await put(client, link, ROWS), await client.get(f"/v0/datasets/{dataset}/upload/{PATH}")):
            assert (refused.status_code, "WaitingForUpload" in refused.text) == (409, False)
            assert "was finalized" in refused.json()["detail"]
        assert (await client.get(f"/v0/datasets/{dataset}/downlinks")).status_code == 409
        world.sealer.proceed()
        assert await settled(client, dataset) == "Ready"


async def settled(client, dataset):
    """The status, once it is no longer `WaitingForUpload`."""
    with anyio.fail_after(10):
        while (status := (await client.get(f"/v0/datasets/{dataset}")).json()["status"]) == "WaitingForUpload":
            await waiting.a_moment()
    return status


async def test_files_with_the_same_md5_are_distinguished(world, api):
    """The other file of a collision pair can be put instead of the first before finalize; the manifest says which one it is."""
    assert bodies.md5(collisions.FIRST) == bodies.md5(collisions.SECOND)
    for data in (collisions.FIRST, collisions.SECOND):
        made = await model(api)
        link = await signed(api, "models", made, "w")
        assert [(await put(api, link, each)).status_code for each in (collisions.FIRST, data)] == [200, 200]
        assert (await api.post(f"/v0/models/{made}/finalize")).json() == {"status": "Ready"}
        (artifact,) = (await sealed(world, "models", made)).artifacts
        assert artifact.digest["sha256"] == hashlib.sha256(data).hexdigest()
        assert await world.services.objects.get(artifact.key) == data
        assert (await put(api, link, collisions.SECOND)).status_code == 409
        assert await world.services.objects.get(artifact.key) == data


async def test_an_upload_that_began_under_an_older_release_is_finalized(world, api):
    """Files where releases before ADR 18 took them count, and are moved away from there; their URLs are refused with a 403."""
    dataset = await world.dataset()
    older = layout.root("datasets", dataset) + PATH
    await world.services.objects.put(older, ROWS)
    link = await world.services.objects.sign("PUT", older, md5=bodies.md5(ROWS))
    refused = await api.put(link.url, content=ROWS)
    assert (refused.status_code, "ask for a new one" in refused.json()["detail"]) == (403, True)
    assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}
    assert await world.services.objects.head(older) is None
    (artifact,) = (await sealed(world, "datasets", dataset)).artifacts
    assert await world.services.objects.get(artifact.key) == ROWS
