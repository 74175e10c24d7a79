"""Which files are a dataset, and that all that can be wrong with them is reported before anything is sent."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from dyff.schema.dataset import arrow as published

from dyff.adapters import arrow_schemas
from dyff.sdk import schemas
from tests.arrow_types import schema_of
from tests.narrowing import sure
from tests.sdk.conftest import got
from tests.sdk.small_datasets import encrypted, folder, parquet, table
from tests.sdk.test_uploads import ID, Reading, Uploaded

ONE, TWO = table(1), table(2)
WHOLE = parquet(table(*range(1000)))
NS, US = pa.timestamp("ns"), pa.timestamp("us")
TWICE_IN_STRUCT = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["q", "q"])


class Created:
    """A server that takes creates of datasets, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[dict] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.requests.append(body)
        entity = {"id": ID, "kind": "Dataset", "status": "Created", **body}
        return httpx.Response(201, json=entity)


async def create(connect, directory, **options):
    """What a create sends; a ValueError says that nothing was sent."""
    server = Created()
    client = connect(server)
    try:
        await got(client.datasets.create_arrow_dataset(directory, account="me", name="d", **options))
    except ValueError:
        assert server.requests == []
        raise
    (request,) = server.requests
    schema = schemas.decode(request["schema"]["arrowSchema"])
    return [each["path"] for each in request["artifacts"]], {field.name: str(field.type) for field in schema}


PLAIN = {"_index_": "int64", "text": "string"}
RIGHT: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "names that begin with an underscore": ({"_a": ONE, "_b/c": TWO}, ["_a", "_b/c"], PLAIN),
    "any suffix, or none": ({"a.PARQUET": ONE, "b.pq": TWO, "c": table(3)}, ["a.PARQUET", "b.pq", "c"], PLAIN),
    "folders in folders": ({"a/b/c/d.parquet": ONE, "a.parquet/part-0": TWO}, ["a.parquet/part-0", "a/b/c/d.parquet"], PLAIN),
    "names that begin with a dot": ({"a": ONE, ".b": TWO, ".c/d": TWO, "e/.f/g": TWO, ".README": b"#"}, ["a"], PLAIN),
    "an empty marker of Spark": ({"a": ONE, "_SUCCESS": b"", "b/_SUCCESS": b""}, ["a"], PLAIN),
    "a file without rows": ({"a": table(), "b": ONE}, ["a", "b"], PLAIN),
    "columns in another order": ({"a": ONE, "b": TWO.select(["text", "_index_"])}, ["a", "b"], PLAIN),
    "text that is kept in another way": (
        {"a": ONE, "b": table(2, text=pa.array(["x"], pa.large_string())), "c": table(3, text=pa.array(["x"]).dictionary_encode())},
        ["a", "b", "c"], PLAIN,
    ),
    "times in several units": (
        {"a": table(1, t=pa.array([1], US)), "b": table(2, t=pa.array([1], NS))}, ["a", "b"], {"_index_": "int64", "t": "timestamp[us]"}
    ),
    "nothing but nulls at first": ({"a": table(1, text=[None]), "b": TWO}, ["a", "b"], PLAIN),
    "nothing but nulls later": ({"a": ONE, "b": table(2, text=[None])}, ["a", "b"], PLAIN),
    "indices in no order": ({"a": table(9, -3, 5), "b": table(0, 7, 2)}, ["a", "b"], PLAIN),
    "numbers in folders": ({"n=1/a": ONE, "n=-20/a": TWO}, ["n=-20/a", "n=1/a"], {**PLAIN, "n": "int32"}),
    "a postcode": ({"zip=01234/a": ONE, "zip=5/a": TWO}, ["zip=01234/a", "zip=5/a"], {**PLAIN, "zip": "string"}),
    "zero with a sign": ({"n=-0/a": ONE}, ["n=-0/a"], {**PLAIN, "n": "string"}),
    "a number that is too large": ({"n=2147483648/a": ONE}, ["n=2147483648/a"], {**PLAIN, "n": "string"}),
    "a folder for no value": (
        {"n=__HIVE_DEFAULT_PARTITION__/a": ONE, "n=1/a": TWO}, ["n=1/a", "n=__HIVE_DEFAULT_PARTITION__/a"], {**PLAIN, "n": "int32"}
    ),
    "no folder for some files": ({"n=1/a": ONE, "a": TWO}, ["a", "n=1/a"], {**PLAIN, "n": "int32"}),
    "folders as Arrow writes them": ({"a%20b=c%20%C3%BC%2C/p": ONE}, ["a b=c ü,/p"], {**PLAIN, "a b": "string"}),
    "a column that the files have too": ({"n=1/a": table(1, n=[1])}, ["n=1/a"], {"_index_": "int64", "n": "int64"}),
    "a text that the files have too": ({"n=01/a": table(1, n=["01"])}, ["n=01/a"], {"_index_": "int64", "n": "string"}),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
async def test_these_files_are_a_dataset(connect, tmp_path, case):
    """No row is lost without a rule, and no value in a path is changed."""
    files, paths, schema = RIGHT[case]
    assert await create(connect, folder(tmp_path / "data", files)) == (paths, schema)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a README": ({"a": ONE, "README.md": b"# Data\n"}, r"^'README.md' is not a Parquet file.*name that begins with a dot"),
    "a table of another kind": ({"a": ONE, "more.csv": b"_index_,text\n1,a\n"}, "'more.csv' is not a Parquet file"),
    "no bytes": ({"a": ONE, "b": b""}, "'b' is not a Parquet file: it has no bytes"),
    "a marker of Spark with bytes": ({"a": ONE, "_SUCCESS": b"?"}, "'_SUCCESS' is not a Parquet file"),
    "a file that ends early": ({"a": ONE, "b": WHOLE[:-100]}, "'b' is not a Parquet file, or not the whole of one; write it again"),
    "a file without its beginning": ({"a": ONE, "b": WHOLE[500:]}, "'b' is a damaged Parquet file: its beginning is missing"),
    "a file without its middle": ({"a": ONE, "b": WHOLE[:50] + WHOLE[-2500:]}, "'b' is a damaged Parquet file: a part of its data"),
    "a file with other bytes in it": ({"b": WHOLE[:200] + b"\xff" * 200 + WHOLE[400:]}, "'b' is a damaged Parquet file: "),
    "a damaged footer": ({"a": ONE, "b": WHOLE[:-90] + b"\xff" * 82 + WHOLE[-8:]}, "'b' cannot be read as a Parquet file"),
    "a damaged footer of the first file": ({"b": WHOLE[:-90] + b"\xff" * 82 + WHOLE[-8:]}, "'b' cannot be read as a Parquet file"),
    "an encrypted footer": ({"a": ONE, "b": encrypted(TWO, plaintext_footer=False)}, "'b' is an encrypted Parquet file"),
    "encrypted columns": ({"a": ONE, "b": encrypted(TWO, plaintext_footer=True)}, "'b' is an encrypted Parquet file"),
    "another type": ({"a": ONE, "b": table(2, text=[2])}, "^'b' is not as the schema declares: the field 'text' should be string, but is"),
    "one column more": ({"a": ONE, "b": table(2, text=["a"], x=[1])}, "'b' is not as .* 'x', which is int64, is not declared"),
    "one column less": ({"a": ONE, "b": TWO.select(["_index_"])}, "'b' is not as .* 'text' should be string, but is missing"),
    "a column twice": ({"a": pa.table([[1], ["a"], ["b"]], names=["_index_", "text", "text"])}, "the column 'text' is there 2 times"),
    "no index": ({"a": pa.table({"text": ["a"]})}, "needs an `_index_` of type int64"),
    "an index of another type": ({"a": pa.table({"_index_": pa.array([1], pa.int32())})}, "needs an `_index_` of type int64"),
    "an index twice in a file": ({"a": ONE, "b": table(8, 9, 8)}, "the _index_ 8 occurs twice: in row 0 of 'b' and in row 2 of 'b'"),
    "an index twice in two files": (
        {"a": table(1, 20, 3), "b": table(7, 5), "c": table(6, 3, 12)}, "_index_ 3 occurs twice: in row 2 of 'a' and in row 1 of 'c'"
    ),
    "indices from 0 in each file": ({"a": table(0, 1, 2), "b": table(0, 1)}, "_index_ 0 occurs twice: in row 0 of 'a' and in row 0 of 'b'"),
    "more rows than indices": ({"a": table(0, 2), "b": table(1, 1, 1)}, "_index_ 1 occurs twice: in row 0 of 'b' and in row 1 of 'b'"),
    "a row without index": ({"a": table(0, None, 2)}, "'a': row 1, counted from 0, has no _index_"),
    "no rows": ({"a": table()}, "no rows at all"),
    "nothing": ({}, "has no Parquet files"),
    "nothing but hidden files": ({".a": ONE}, "has no Parquet files"),
    "a link to nothing": ({"a": ONE, "b": "nowhere"}, "'b' is a symbolic link to nothing"),
    "a link to a folder above": ({"a": ONE, "b/c": ".."}, "'b/c' is a symbolic link to a directory that contains it"),
    "two values of a column": ({"n=1/n=2/a": ONE}, "'n=1/n=2/a' has folders with two values of the column 'n'"),
    "a slash in a folder": ({"a%20b=c%2Fd/p": ONE}, "'a%20b=c%2Fd', which means 'a b=c/d'; no path can contain that: write the"),
    "a colon in a folder": ({"t=12%3A30/p": ONE}, "'t=12%3A30/p' means 't=12:30/p', which must not contain ':': write the files without"),
    "bytes in a folder": ({"t=%ff/p": ONE}, "'t=%ff', whose %-codes are not UTF-8"),
    "two folders of one meaning": ({"t=a%20b/p": ONE, "t=a b/p": TWO}, "is stored as 't=a b/p', and so is"),
    "a name that cannot be stored": ({"a:b": ONE}, "'a:b' must not contain ':'"),
    "a column that says something else": ({"n=1/a": table(1, n=[2])}, "'n=1/a' .*the field 'n' is '1' in the path and something else"),
    "a row that says something else": ({"n=1/a": table(1, 2, 3, n=[1, 2, 1])}, "'n=1/a' has the column 'n', which is 1 in the path, and"),
    "a path with another type": ({"n=1/a": table(1, n=[1]), "n=x/a": table(2, n=[1])}, "'n=x/a' .*'n' should be int64, but is 'x' in"),
    "a struct with a name twice": ({"a": table(1, s=TWICE_IN_STRUCT)}, "'s' .* the field 'q' is there 2 times"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_reported_before_anything_is_sent(connect, tmp_path, case):
    """The message names the file and what to do; the server does not hear of it."""
    files, want = WRONG[case]
    with pytest.raises(ValueError, match=want):
        await create(connect, folder(tmp_path / "data", files))


async def test_links_are_followed(connect, tmp_path):
    """Files and folders behind symbolic links belong to the dataset, as with the published client."""
    outside = folder(tmp_path / "outside", {"x": TWO, "y/z": table(3)})
    inside = folder(tmp_path / "data", {"a": ONE, "b": str(outside / "x"), "c": str(outside / "y")})
    paths, _ = await create(connect, inside)
    assert paths == ["a", "b", "c/z"]


async def test_a_file_and_a_missing_directory_are_no_dataset(connect, tmp_path):
    """What was given is named, and what is expected."""
    (tmp_path / "a.parquet").write_bytes(WHOLE)
    for name, want, kind in (("a.parquet", "is a file; pass the folder", NotADirectoryError), ("nowhere", "nowhere", FileNotFoundError)):
        with pytest.raises(kind, match=want):
            await create(connect, tmp_path / name)


async def test_summaries_of_other_files_have_no_rows(connect, tmp_path):
    """`_metadata` only lists the rows of other files, so it is left out; `_common_metadata` is a file without rows."""
    listed: list = []
    pa.parquet.write_to_dataset(ONE, tmp_path / "data", metadata_collector=listed)
    pa.parquet.write_metadata(ONE.schema, tmp_path / "data" / "_common_metadata")
    pa.parquet.write_metadata(ONE.schema, tmp_path / "data" / "_metadata", listed)
    paths, _ = await create(connect, tmp_path / "data")
    assert len(paths) == 2
    assert "_metadata" not in paths


async def test_all_wrong_files_are_named_at_once(connect, tmp_path):
    """Ten of them; how many more there are is said."""
    files: dict[str, Any] = {f"{n:02}": b"?" for n in range(13)}
    with pytest.raises(ValueError, match=r"'00' is not .*'09' is not .*; and 3 more$"):
        await create(connect, folder(tmp_path / "data", files))


async def test_a_schema_chooses_the_types_of_folders(connect, tmp_path):
    """A schema that is given is declared, and the files must fit it."""
    data = folder(tmp_path / "data", {"zip=01234/a": ONE})
    wanted = schema_of(("_index_", pa.int64()), ("text", pa.string()), ("zip", pa.int64()))
    assert (await create(connect, data, schema=wanted))[1] == {**PLAIN, "zip": "int64"}
    with pytest.raises(ValueError, match="'text' should be int64, but is string"):
        await create(connect, data, schema=pa.schema([("_index_", pa.int64()), ("text", pa.int64())]))


async def test_metadata_that_nobody_reads_is_not_sent(connect, tmp_path):
    """Descriptions of columns stay; a megabyte of Hugging Face does not, nor a large entry of a column."""
    docs = pa.field("text", pa.string(), metadata={"__doc__": "The prompt.", "huge": "x" * 5000})
    given = schema_of(pa.field("_index_", pa.int64()), docs, metadata={"huggingface": "x" * 10**6, "license": "MIT"})
    data = folder(tmp_path / "data", {"a": ONE.cast(given)})
    server = Created()
    await got(connect(server).datasets.create_arrow_dataset(data, account="me", name="d"))
    encoded = server.requests[0]["schema"]["arrowSchema"]
    sent = schemas.decode(encoded)
    assert len(encoded) < 2000
    assert sent.metadata == {b"license": b"MIT"}
    assert sure(sent.field("text").metadata)[b"__doc__"] == b"The prompt."
    assert b"huge" not in sure(sent.field("text").metadata)
    assert arrow_schemas.is_reduced(sent)


@pytest.mark.parametrize("value", ["c ü,", "+ &", "a'b", None, "01", "x=y", "~!@"])
async def test_a_value_in_a_folder_is_read_as_the_published_package_reads_it(connect, tmp_path, value):
    """Arrow writes the folder, we store it under a path without %-codes, and the published package reads the same value there."""
    rows = pa.table({"_index_": [1], "v": pa.array([value], pa.string())})
    partitioning = pa.dataset.partitioning(pa.schema([("v", pa.string())]), flavor="hive")
    pa.dataset.write_dataset(rows, tmp_path / "data", format="parquet", partitioning=partitioning)
    (path,), schema = await create(connect, tmp_path / "data")
    assert schema["v"] == "string"
    (local,) = (tmp_path / "data").rglob("*.parquet")
    stored = folder(tmp_path / "stored", {path: local.read_bytes()})
    read = pa.dataset.dataset(stored, format="parquet", partitioning=partitioning)
    assert read.to_table().to_pylist() == [{"_index_": 1, "v": value}]


@pytest.mark.parametrize(
    "case", ["names that begin with an underscore", "any suffix, or none", "folders in folders", "names that begin with a dot"]
)
async def test_the_published_client_takes_the_same_files(connect, tmp_path, case):
    """Where its choice is a dataset at all."""
    data = folder(tmp_path / "data", RIGHT[case][0])
    listed: Any = published.open_dataset(str(data))
    theirs = [file.removeprefix(f"{data}/") for file in listed.files]
    assert (await create(connect, data))[0] == sorted(theirs)


def a_dataset(schema: pa.Schema, *paths: str):
    from dyff.sdk import models

    artifacts = [models.Artifact(path=path, kind="parquet", digest=models.Digest(md5="x")) for path in paths]
    return models.Dataset(
        id=ID,
        account="me",
        kind="Dataset",
        status="WaitingForUpload",
        name="d",
        artifacts=artifacts,
        schema={**schemas.encode(schema)},
    )


async def test_an_upload_sends_files_under_their_stored_paths(kind, tmp_path):
    """A percent-encoded folder is found again; nothing but the declared files is sent."""
    data = folder(tmp_path / "data", {"v=a%20b/p": ONE, "v=c/p": TWO, "v=d/p": table(3)})
    server = Uploaded()
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    schema = ONE.schema.append(pa.field("v", pa.string()))
    await got(client.datasets.upload_arrow_dataset(a_dataset(schema, "v=a b/p", "v=c/p"), data, progress=False))
    assert {path: hashlib.sha256(sent).digest() for path, sent in server.put.items()} == {
        "v=a b/p": hashlib.sha256(parquet(ONE)).digest(),
        "v=c/p": hashlib.sha256(parquet(TWO)).digest(),
    }


async def test_an_upload_is_checked_against_the_datasets_schema(kind, tmp_path):
    """A dataset that was created in another way: files that do not fit it are not sent."""
    data = folder(tmp_path / "data", {"a": ONE, "b": table(2, text=[2])})
    server = Uploaded()
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    with pytest.raises(ValueError, match="'b' is not as the schema declares: the field 'text' should be string"):
        await got(client.datasets.upload_arrow_dataset(a_dataset(ONE.schema, "a", "b"), data, progress=False))
    with pytest.raises(FileNotFoundError, match="has no file 'c'"):
        await got(client.datasets.upload_arrow_dataset(a_dataset(ONE.schema, "a", "c"), data, progress=False))
    assert (server.put, server.finalized) == ({}, 0)


def test_what_is_no_schema_is_reported():
    """`decode` says so, whatever the text is."""
    for text in ("?", "", base64.b64encode(b"no schema").decode()):
        with pytest.raises(ValueError):
            schemas.decode(text)
