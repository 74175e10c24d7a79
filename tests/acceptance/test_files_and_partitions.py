"""From a directory to the requests of a service, with both clients: no row is lost, and no value in a path is changed."""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from dyff.schema import platform, requests

from dyff.sdk import Client
from tests.acceptance.conftest import eventually
from tests.narrowing import sure
from tests.sdk.small_datasets import folder, table

pytestmark = pytest.mark.acceptance

FILES = {
    "zip=01234/_part.parquet": table(0),
    "zip=01234/b.PARQUET": table(1),
    "_more/zip=5/a.parquet": table(2, 3),
    "zip=__HIVE_DEFAULT_PARTITION__/a.parquet": table(4),
}
WANT = {0: "01234", 1: "01234", 2: "5", 3: "5", 4: None}
SCHEMA = pa.schema([*table(0).schema, ("zip", pa.string())])


@pytest.fixture(scope="module")
def sdk(server, token):
    """Our client."""
    with Client(api_token=token, endpoint=server.endpoint) as client:
        yield client


def uploaded_with_ours(sdk, _, account, directory):
    dataset = sdk.datasets.create_arrow_dataset(directory, account=account, name="partitions")
    sdk.datasets.upload_arrow_dataset(dataset, directory, progress=False)
    return dataset.id


def uploaded_with_the_published_one(_, client, account, directory):
    """With the files that it takes, and a schema that declares text: by itself it declares a number here."""
    import hashlib

    artifacts = [
        platform.Artifact(
            kind="parquet",
            path=path,
            digest=platform.Digest(md5=base64.b64encode(hashlib.md5((directory / path).read_bytes()).digest()).decode()),
        )
        for path in FILES
    ]
    schema = platform.DataSchema(arrowSchema=base64.b64encode(SCHEMA.serialize().to_pybytes()).decode())
    request = requests.DatasetCreateRequest(account=account, name="partitions", artifacts=artifacts, schema=schema)
    dataset = client.datasets.create(request)
    client.datasets.upload_arrow_dataset(dataset, directory)
    return eventually(lambda: client.datasets.get(dataset.id), "Ready").id


@pytest.mark.parametrize("upload", [uploaded_with_ours, uploaded_with_the_published_one])
def test_values_of_paths_and_rows_of_all_files_reach_the_service(sdk, client, account, service_request, tmp_path, upload):
    """The kept requests have the text of the folder, whatever it looks like, for each row of each file."""
    dataset = upload(sdk, client, account, folder(tmp_path / "data", dict(FILES)))
    request = service_request(account)
    request["interface"]["inputPipeline"] = [
        {"kind": "TransformJSON", "configuration": {"prompt": "$.text", "model": "mock", "zip": "$.zip"}}
    ]
    service = sdk.inferenceservices.wait(sdk.inferenceservices.create(request).id, progress=False)
    asked = {"account": account, "dataset": dataset, "inferenceSession": {"inferenceService": service.id}}
    done = sdk.evaluations.wait(sdk.evaluations.create(asked).id, timeout_s=120, progress=False)
    assert done.status == "Complete"
    sdk.evaluations.download(done.id, tmp_path / "outputs", progress=False)
    kept = [row for file in (tmp_path / "outputs" / ".dyff" / "exchanges").iterdir() for row in pa.parquet.read_table(file).to_pylist()]
    assert {row["_index_"]: json.loads(row["request"])["zip"] for row in kept} == WANT
    assert {row["_index_"]: json.loads(row["request"])["prompt"] for row in kept} == {index: f"text {index}" for index in WANT}
    outputs = pa.parquet.ParquetDataset(tmp_path / "outputs").read()
    assert sorted(sure(index) for index in outputs["_index_"].to_pylist()) == sorted(WANT)
