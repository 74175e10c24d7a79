"""Large metadata of Arrow schemas, which nobody reads, is dropped before anything is stored."""

from __future__ import annotations

import base64
from collections import OrderedDict

import pyarrow as pa
import pytest

from dyff.adapters import arrow_schemas
from dyff.api import arrow, checks
from dyff.entities import data, registry
from dyff.objects import layout, manifests
from tests.api.test_uploads import uploaded
from tests.arrow_types import schema_of
from tests.entities import bodies
from tests.narrowing import sure

DATASET = next(row for row in registry.ROWS if row.plural == "datasets").creation


def large(schema: pa.Schema, size: int = 10_000) -> pa.Schema:
    """The schema with metadata as Hugging Face writes it, and a short entry."""
    return schema.with_metadata({"huggingface": "x" * size, "license": "MIT"})


def decoded(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


async def test_the_entity_has_the_schema_without_it(world, api):
    """In every place of a request that has a schema; columns, types and short metadata stay."""
    body = bodies.changed(bodies.DATASET_FULL, "schema.arrowSchema", bodies.arrow(large(bodies.ROW)))
    body = bodies.changed(body, "views.0.schema.arrowSchema", bodies.arrow(large(bodies.ROW)))
    entity = (await api.post("/v0/datasets", json=body)).json()
    for found in (entity["schema"], entity["views"][0]["schema"]):
        schema = decoded(found["arrowSchema"])
        assert schema.equals(bodies.ROW)
        assert schema.metadata == {b"license": b"MIT"}
    assert entity["schema"]["dyffSchema"] == {"components": ["text.Text"], "schemaVersion": "0.1"}
    service = bodies.changed(bodies.SERVICE, "interface.outputSchema.arrowSchema", bodies.arrow(large(bodies.ANSWER)))
    entity = (await api.post("/v0/inferenceservices", json=service)).json()
    assert decoded(entity["interface"]["outputSchema"]["arrowSchema"]).equals(bodies.ANSWER)


async def test_a_schema_without_it_stays_as_it_was_sent(api):
    """Byte for byte."""
    entity = (await api.post("/v0/datasets", json=bodies.DATASET)).json()
    assert entity["schema"]["arrowSchema"] == bodies.DATASET["schema"]["arrowSchema"]


async def test_a_repetition_with_the_same_key_is_the_same_request(api):
    """Although what is stored is not what was sent."""
    body = bodies.changed(bodies.DATASET, "schema.arrowSchema", bodies.arrow(large(bodies.ROW)))
    answers = [await api.post("/v0/datasets", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]


@pytest.mark.parametrize("size", [10_000, 2**20, 3 * 2**20 - 4000])
async def test_a_megabyte_of_it_is_accepted(size):
    """The program answers with what is left; only small results are cached."""
    schemas, text = arrow.Schemas(), bodies.arrow(large(bodies.ROW, size))
    try:
        verdict = (await schemas.verdicts([text]))[text]
    finally:
        await schemas.close()
    assert (verdict.problem, verdict.as_rows) == (None, None)
    assert decoded(sure(verdict.reduced)).equals(bodies.ROW)
    assert len(text) <= data.MAX_SENT_SCHEMA_CHARS


async def test_what_is_left_is_bounded(monkeypatch):
    """A schema that is itself too large is refused, with its size; a large one is not cached."""
    monkeypatch.setattr(arrow, "_known", OrderedDict())
    schemas = arrow.Schemas()
    try:
        for columns_of, want in ((25_000, "must have at most 1048576 characters without large metadata"), (200, None)):
            schema = large(schema_of(("_index_", pa.int64()), *((f"c{n:05}", pa.string()) for n in range(columns_of))))
            text = bodies.arrow(schema)
            verdict = (await schemas.verdicts([text]))[text]
            assert (want or "") in (verdict.problem or "")
            assert (verdict.problem is None) == (want is None)
        assert max((len(each.reduced or "") for each in arrow._known.values()), default=0) <= arrow._REMEMBERED_CHARS
    finally:
        await schemas.close()


async def test_a_schema_that_no_request_can_contain_is_refused_at_create(api):
    """Before anything is uploaded; for rows, not for the schemas of views."""
    twice = pa.schema([*bodies.ROW, ("s", pa.struct([pa.field("q", pa.int8()), pa.field("q", pa.int8())]))])
    refused = await api.post("/v0/datasets", json=bodies.changed(bodies.DATASET, "schema.arrowSchema", bodies.arrow(twice)))
    assert refused.status_code == 422
    (problem,) = refused.json()["detail"]
    assert problem["loc"] == ["body", "schema", "arrowSchema"]
    assert "has fields that no request can contain: the column 's' (struct<q: int8, q: int8>): the field 'q' is" in problem["msg"]


def test_only_schemas_are_replaced():
    """The rest of a request is the same."""
    import json

    import msgspec

    body = bodies.changed(bodies.DATASET_FULL, "schema.arrowSchema", "old")
    request = msgspec.json.decode(json.dumps(body), type=sure(DATASET).request)
    found = checks.with_reduced(request, sure(DATASET).checks, {"old": arrow.Verdict(reduced="new")})
    assert msgspec.to_builtins(found) == msgspec.to_builtins(
        msgspec.json.decode(json.dumps(bodies.changed(body, "schema.arrowSchema", "new")), type=sure(DATASET).request)
    )
    assert checks.with_reduced(request, sure(DATASET).checks, {}) is request


async def test_the_schema_is_sealed_with_the_files(world, api):
    """Runs read the rows with it; they never see the entity."""
    body = bodies.changed(bodies.DATASET, "schema.arrowSchema", bodies.arrow(large(bodies.ROW)))
    dataset = (await api.post("/v0/datasets", json=body)).json()["id"]
    assert (await uploaded(api, "datasets", dataset, "part-0.parquet", bodies.ROWS)).status_code == 200
    assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json()["status"] == "Ready"
    manifest = await manifests.read(world.services.objects, layout.root("datasets", dataset))
    assert decoded(sure(sure(manifest).schema)).equals(bodies.ROW)
    assert arrow_schemas.is_reduced(decoded(sure(sure(manifest).schema)))
