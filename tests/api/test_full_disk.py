"""The API while the disk has room only for what frees some."""

from __future__ import annotations

import msgspec

from dyff.api import app
from tests.entities import bodies


async def test_a_full_disk_refuses_what_adds_data_and_nothing_else(world, api):
    """Creations, edits and uploads are 503 with a time to wait, and leave nothing; reads and deletions work."""
    dataset = await world.dataset()
    one = f"/v0/datasets/{dataset}"
    link = (await api.get(f"{one}/upload/part-0.parquet")).json()
    before = (await api.get("/v0/datasets")).json()
    world.app = app.build(msgspec.structs.replace(world.services, is_full=lambda: True))
    async with world.client() as client:
        refused = [
            await client.post("/v0/datasets", json={**bodies.DATASET, "account": before[0]["account"]}),
            await client.patch(f"{one}/labels", json={"labels": {"a": "1"}}),
            await client.put(link["url"], content=bodies.ROWS, headers={**link["headers"], "Authorization": ""}),
        ]
        assert [each.status_code for each in refused] == [503] * 3, [each.text for each in refused]
        assert "disk is full: nothing was stored" in refused[0].json()["detail"]
        assert int(refused[0].headers["retry-after"]) > 1
        assert (await client.get("/v0/datasets")).json() == before
        assert (await client.put(f"{one}/delete")).status_code == 200
