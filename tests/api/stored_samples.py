"""Evaluations with stored outputs, for tests of samples: Parquet files and manifests as the steps write them."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from dyff.entities import specs
from dyff.objects import manifests
from dyff.workflows import failures, kept

RESPONSE = pa.struct([pa.field("_response_index_", pa.int64()), pa.field("text", pa.string())])
_COLUMNS: dict[str, pa.DataType] = {"_replication_": pa.string(), "_index_": pa.int64(), "responses": pa.list_(RESPONSE)}
OUTPUTS = pa.schema(_COLUMNS)


def parquet(rows: list[dict[str, Any]] | pa.Table, schema: pa.Schema | None = None, **options: Any) -> bytes:
    """Rows as a Parquet file."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=schema)
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, **options)
    return sink.getvalue()


async def publish(world, root: str, files: dict[str, bytes], path: str = ".dyff/artifacts.json") -> None:
    """Store files and their manifest."""
    listed = []
    for name, data in files.items():
        await world.services.objects.put(f"{root}data/{name}", data)
        listed.append(
            manifests.Artifact(path=name, key=f"{root}data/{name}", size=len(data), digest={"sha256": hashlib.sha256(data).hexdigest()})
        )
    assert await manifests.write(world.services.objects, root, manifests.Manifest(artifacts=tuple(listed)), path)


async def evaluation(world, items: dict[str, bytes], *, replications: int = 1, account: str = "test") -> dict[str, Any]:
    """An evaluation that is complete, without its outputs. `items`: the files of its dataset."""
    dataset, service = await world.dataset(account=account), await world.ready_service(account=account)
    await world.set_status(dataset, "Ready")
    await publish(world, f"datasets/{dataset}/", items)
    body = {"account": account, "dataset": dataset, "inferenceSession": {"inferenceService": service}, "replications": replications}
    async with world.client() as client:
        made = await client.post("/v0/evaluations", json=body)
    assert made.status_code == 201, made.text
    await world.set_status(made.json()["id"], "Complete")
    return made.json()


def output(evaluation_id: str, index: int, *texts: str, number: int = 0, none: bool = False) -> dict[str, Any]:
    """A row of outputs."""
    responses = None if none else [{"_response_index_": place, "text": text} for place, text in enumerate(texts)]
    return {"_replication_": specs.replication_id(evaluation_id, number), "_index_": index, "responses": responses}


def error(evaluation_id: str, index: int, message: str, number: int = 0) -> dict[str, Any]:
    """A row of errors."""
    return failures.Failure(failures.BAD_REQUEST, message, 400, None).row(index, specs.replication_id(evaluation_id, number))


def errors_file(rows: list[dict[str, Any]]) -> bytes:
    """The file of errors."""
    return parquet(rows, failures.SCHEMA)


def exchange(evaluation_id: str, index: int, request: bytes, answer: bytes) -> dict[str, Any]:
    """A row of exchanges."""
    empty = dict.fromkeys(kept.SCHEMA.names)
    known = {"_index_": index, "_replication_": specs.replication_id(evaluation_id, 0), "try": 1, "request": request, "answer": answer}
    return {**empty, **known, "status": 200, "request_bytes": len(request), "answer_bytes": len(answer)}


def exchanges_file(rows: list[dict[str, Any]]) -> bytes:
    """A file of exchanges."""
    return parquet(rows, kept.SCHEMA)


async def measurement(world, of: dict[str, Any], rows: list[dict[str, Any]], **changes: Any) -> str:
    """A complete measurement of an evaluation, with a row for each item. Returns its ID."""
    measurement_id = world.services.ids.new()
    entity = {
        "kind": "Measurement", "id": measurement_id, "account": of["account"], "status": "Complete", "level": "Instance",
        "creationTime": "2026-01-31T12:00:00.000000Z", "lastTransitionTime": "2026-01-31T12:00:00.000000Z", "schemaVersion": "0.1",
        "labels": {}, "annotations": [],
        "method": {"id": world.services.ids.new(), "name": "exact match"}, "scope": {"evaluation": of["id"]}, "inputs": [], "schema": {},
        **changes,
    }  # fmt: skip
    await world.put(entity)
    await publish(world, f"measurements/{measurement_id}/", {"part-0.parquet": parquet(rows)})
    return measurement_id


def values(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The values of cells by their names."""
    return {each["name"]: each["value"] for each in cells}
