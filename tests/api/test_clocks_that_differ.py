"""The api's clock differs from the log's by more than a command's life: what is acknowledged still takes effect."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dyff.kernel import clock
from tests.api import conftest
from tests.entities import bodies


class OurClock(clock.SystemClock):
    """The api's clock, `apart` from that of the log."""

    def __init__(self, apart):
        self._apart = apart

    def now(self):
        return super().now() + self._apart


@pytest.mark.parametrize("apart_s", [-1500, 1500])
@pytest.mark.parametrize("known", [True, False], ids=["difference-known", "not-known-yet"])
async def test_an_acknowledged_edit_takes_effect(tmp_path, monkeypatch, apart_s, known):
    """Creations, edits and deletions, and an edit that is sent again with its key happens once."""
    async with conftest.opened(tmp_path, clock=OurClock(timedelta(seconds=apart_s))) as world, world.client() as api:
        monkeypatch.setattr(world.services.bus, "clock_offset_s", lambda: -apart_s if known else None)
        created = (await api.post("/v0/datasets", json=bodies.DATASET)).json()
        url = f"/v0/datasets/{created['id']}"
        for _ in range(2):
            edited = await api.patch(f"{url}/labels", json={"labels": {"color": "blue"}}, headers={"Idempotency-Key": "once"})
            assert edited.status_code == 200, edited.text
        assert (await api.get(url)).json()["labels"] == {"color": "blue"}
        assert (await api.put(f"{url}/delete")).status_code == 200
        assert (await api.get(url)).json()["status"] == "Deleted"
