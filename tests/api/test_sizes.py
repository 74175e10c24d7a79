"""No entity is too large for what stores it: the api says so before anything is published, and names the largest field."""

from __future__ import annotations

import pytest

from dyff.api import sizes
from dyff.entities import data, folding
from tests.entities import bodies

MEBIBYTE = 2**20


async def test_an_entity_that_embeds_too_much_is_refused(api, monkeypatch):
    """The size with what is embedded counts; the answer is 413 and names the field, as deep as it can."""
    monkeypatch.setattr(sizes, "MAX_NEW_BYTES", 4000)
    body = bodies.changed(bodies.DATASET, "schema.jsonSchema", {"description": "x" * 6000})
    answer = await api.post("/v0/datasets", json=body)
    assert answer.status_code == 413
    assert "largest field is schema.jsonSchema" in answer.json()["detail"]
    assert "4000" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["schema.jsonSchema", "views.0.adapterPipeline.0.configuration"])
async def test_free_json_has_a_bound(api, path, monkeypatch):
    """JSON of any form is bounded like everything else; the answer names the field and the limit."""
    monkeypatch.setattr(data, "MAX_FREE_JSON_BYTES", 10_000)
    body = bodies.changed(bodies.DATASET_FULL, path, {"x": "y" * data.MAX_FREE_JSON_BYTES})
    answer = await api.post("/v0/datasets", json=body)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert path.rpartition(".")[2] in problem["msg"]
    assert str(data.MAX_FREE_JSON_BYTES) in problem["msg"]


async def test_an_edit_that_makes_an_entity_too_large_is_refused(api, monkeypatch):
    """Nothing is published; what makes it smaller is fine."""
    created = (await api.post("/v0/datasets", json=bodies.DATASET)).json()
    monkeypatch.setattr(folding, "MAX_ENTITY_BYTES", 3000)
    path = f"/v0/datasets/{created['id']}/documentation"
    refused = await api.patch(path, json={"documentation": {"fullPage": "x" * 5000}})
    assert (refused.status_code, "metadata.documentation.fullPage" in refused.json()["detail"]) == (413, True)
    assert (await api.patch(path, json={"documentation": {"fullPage": "short"}})).status_code == 200


def test_the_limits_leave_room_for_each_other():
    """A new entity can be documented, and its status always fits; what is refused here would be refused by the fold, too."""
    documented = sizes.MAX_NEW_BYTES + MEBIBYTE
    assert documented <= folding.MAX_ENTITY_BYTES
    assert folding.MAX_ENTITY_BYTES + folding.MAX_MESSAGE_CHARS * 4 < 16 * MEBIBYTE
