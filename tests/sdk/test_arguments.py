"""An argument of the wrong kind: the error names it and says what is expected, before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.sdk import models
from tests.sdk.conftest import got, listed

ID = "ab" * 16
DATASET = models.Dataset(id=ID, account="me", kind="Dataset", status="Ready", name="d", artifacts=[], schema={})


class DataFrame:
    """What pandas's own has, by which it is recognized."""

    def to_parquet(self, path) -> None:
        raise AssertionError("nothing is written")


DataFrame.__module__ = "pandas.core.frame"


def dataset(folder):
    return lambda client: client.datasets.create_arrow_dataset(folder, account="me", name="x")


def model(folder, **options):
    return lambda client: client.models.create_from_volume(folder, account="me", name="x", **{"resources": {}, **options})


def service(request):
    return lambda client: client.inferenceservices.create(request)


WRITE_FIRST = "write it to a Parquet file in a folder first"
PASS_ID = f"pass its .id, '{ID}'"

MISTAKES = {
    "a file for a folder": (dataset("rows/x.parquet"), NotADirectoryError, ["dataset_directory: ", "pass the folder that has it, 'rows'"]),
    "a text file for a folder": (dataset(Path("notes.txt")), NotADirectoryError, ["'notes.txt' is a file"]),
    "no folder": (dataset("nothing"), FileNotFoundError, ["dataset_directory: the folder 'nothing' does not exist", "relative paths"]),
    "an empty path": (dataset(""), TypeError, ["dataset_directory: must be the path of a folder", "empty string"]),
    "an empty folder": (dataset("empty"), ValueError, ["no Parquet files"]),
    "a table for a folder": (dataset(pa.table({"a": [1]})), TypeError, ["not a pyarrow Table", WRITE_FIRST]),
    "a data frame for a folder": (dataset(DataFrame()), TypeError, ["not a pandas DataFrame", WRITE_FIRST]),
    "a list for a folder": (dataset(["x.parquet"]), TypeError, ["dataset_directory: must be the path of a folder", "not a list"]),
    "nothing for a folder": (dataset(None), TypeError, ["dataset_directory: ", "not None"]),
    "an ID for a dataset": (
        lambda client: client.datasets.upload_arrow_dataset(ID, "rows"), TypeError, ["dataset: must be a Dataset", "datasets.get(id)"]
    ),
    "a file for an uploaded folder": (
        lambda client: client.datasets.upload_arrow_dataset(DATASET, "rows/x.parquet"), NotADirectoryError, ["dataset_directory: "]
    ),
    "another folder": (
        lambda client: client.datasets.upload_arrow_dataset(
            models.Dataset(
                id=ID, account="me", kind="Dataset", status="Created", name="d", schema={},
                artifacts=[models.Artifact(path="part.parquet", kind="parquet", digest=models.Digest(md5="x"))],
            ),
            "empty",
        ),
        FileNotFoundError,
        ["'empty' has no file 'part.parquet'", "from which the entity was created"],
    ),
    "a file for a model's folder": (model("notes.txt"), NotADirectoryError, ["root_directory: 'notes.txt' is a file"]),
    "no folder of a model": (model("nothing"), FileNotFoundError, ["root_directory: the folder 'nothing' does not exist"]),
    "a string for resources": (model("rows", resources="1Gi"), TypeError, ["resources: must be a dict", "not a string"]),
    "one accelerator for a list": (model("rows", accelerators={"kind": "GPU"}), TypeError, ["accelerators: must be a list of dicts"]),
    "a dataset for a model": (lambda client: client.models.upload_volume(DATASET, "rows"), TypeError, ["model: must be a Model"]),
    "a file for a listed folder": (lambda client: _now(client.volumes.list("notes.txt")), NotADirectoryError, ["root_directory: "]),
    "a JSON string for a request": (service(json.dumps({"account": "me"})), TypeError, ["request: must be a dict", "pass json.loads(...)"]),
    "a string for a request": (service("mock"), TypeError, ["request: must be a dict", "not a string"]),
    "a list for a request": (service([{"account": "me"}]), TypeError, ["request: must be a dict", "not a list"]),
    "nothing for a request": (service(None), TypeError, ["request: must be a dict", "not None"]),
    "an Arrow schema for its description": (
        service({"interface": {"outputSchema": pa.schema([("a", pa.int64())])}}), TypeError, ["interface.outputSchema: ", "schemas.encode"]
    ),
    "a path object for a string": (service({"runner": {"args": [Path("/a")]}}), TypeError, ["runner.args.0: ", "str(...) of it, '/a'"]),
    "an object of Python": (service({"name": object()}), TypeError, ["name: must be a JSON value", "type object"]),
    "a number that JSON lacks": (service({"runner": {"nodes": float("nan")}}), ValueError, ["runner.nodes: JSON has no nan"]),
    "a number for a field's name": (service({"runner": {1: "a"}}), TypeError, ["runner: names of fields must be strings"]),
    "an entity for an ID": (lambda client: client.datasets.get(DATASET), TypeError, ["id: must be an ID", PASS_ID]),
    "an entity to wait for": (lambda client: client.evaluations.wait(DATASET), TypeError, ["id: must be an ID", PASS_ID]),
    "an entity to download": (lambda client: client.evaluations.download(DATASET, "out"), TypeError, ["id: must be an ID", PASS_ID]),
    "nothing for an ID": (lambda client: client.datasets.get(None), TypeError, ["id: must be an ID", "not None"]),
    "bytes for an ID": (lambda client: client.datasets.delete(ID.encode()), TypeError, ["id: must be an ID", "not bytes"]),
    "an account's object for its ID": (
        lambda client: client.accounts.list_tokens(SimpleNamespace(id=ID)), TypeError, ["account: must be an ID", PASS_ID]
    ),
    "an entity for a key": (lambda client: client.evaluations.query(dataset=DATASET), TypeError, ["dataset: must be a string", PASS_ID]),
    "a list for a key": (lambda client: client.evaluations.query(status=["Ready"]), TypeError, ["status: must be a string", "`query=`"]),
    "an entity to look for": (
        lambda client: client.evaluations.query(query={"dataset": object()}), TypeError, ["query.dataset: must be a JSON value"]
    ),
    "a list for labels": (lambda client: client.datasets.label(ID, ["a"]), TypeError, ["labels: must be a dict", "not a list"]),
    "a string for texts": (lambda client: client.datasets.edit_documentation(ID, "x"), TypeError, ["edit_request: must be a dict"]),
    "a wrong case for access": (lambda client: client.datasets.publish(ID, "Public"), ValueError, ["did you mean 'public'?"]),
    "a wrong case for a kind": (lambda client: _now(client.apigroup("dataset")), ValueError, ["did you mean 'Dataset'?"]),
    "an ID for an entity": (lambda client: client.get(ID), TypeError, ["entity: must be an entity", "client.datasets.get(id)"]),
    "a number for a destination": (lambda client: client.datasets.download(ID, 7), TypeError, ["destination: must be the path"]),
}  # fmt: skip


async def _now(value):
    return value


@pytest.fixture
def client(connect, tmp_path, monkeypatch):
    """A client of a server that must not be asked, in a directory with a few files."""
    for folder in ("rows", "empty"):
        (tmp_path / folder).mkdir()
    pyarrow.parquet.write_table(pa.table({"_index_": pa.array([1], pa.int64())}), tmp_path / "rows/x.parquet")
    (tmp_path / "notes.txt").write_text("not a folder")
    monkeypatch.chdir(tmp_path)

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.method} {request.url} was sent")

    return connect(never)


@pytest.mark.parametrize(("call", "want_error", "want"), MISTAKES.values(), ids=MISTAKES)
async def test_a_wrong_argument_is_named(client, call, want_error, want):
    """Nothing is sent, and the error has the argument or the field, what was given, and what to pass in its place."""
    with pytest.raises(want_error) as caught:
        await got(call(client))
    assert [part for part in want if part not in str(caught.value)] == [], str(caught.value)


async def test_an_entity_to_iterate_by_is_named(client):
    """The same holds for pages."""
    with pytest.raises(TypeError, match="dataset: must be a string"):
        await listed(client.evaluations.pages(dataset=DATASET))
