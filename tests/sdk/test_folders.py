"""What needs no server: which files an upload has, and what a token says."""

from __future__ import annotations

import os
from pathlib import Path

import dyff.client
import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.sdk import Client, folders


@pytest.fixture
def tree(tmp_path):
    for name in ("a.bin", "README.md", "docs/x.md", "docs/y.bin", "build/z.bin", ".git/config", "deep/build/w.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link.bin").symlink_to("a.bin")
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include_symlinks": True},
        {"include": ["*.bin"]},
        {"exclude": ["*.md"]},
        {"exclude": ["build/"]},
        {"exclude": ["/build/"]},
        {"include": ["docs/**"], "exclude": ["*.md"]},
        {"include": ["*.bin", "!docs/y.bin"]},
        {"include": ["nothing"]},
        {"include": [], "exclude": []},
    ],
    ids=str,
)
def test_an_upload_has_the_files_that_the_published_client_takes(tree, options):
    """The same choice by the same patterns, and in order."""
    found = Client(api_token="t").volumes.list(tree, **options)
    assert found == sorted(dyff.client.Client(api_token="t").volumes.list(tree, **options))


def test_a_token_shows_what_it_says(kind):
    """Its header and its claims, and no secret; what is not a token is reported."""
    import jwt

    client = kind(api_token="t")
    token = jwt.encode({"sub": "Account/me"}, "a secret of thirty-two bytes or so", algorithm="HS256")
    assert client.tokens.inspect(token) == ({"alg": "HS256", "typ": "JWT"}, {"sub": "Account/me"})
    with pytest.raises(ValueError, match="not a token"):
        client.tokens.inspect("t")


def test_a_name_that_is_not_utf_8_is_refused_by_its_name(tmp_path):
    """No JSON can hold it. A file that is not selected may have it."""
    (tmp_path / os.fsdecode(b"caf\xe9.bin")).write_bytes(b"x")
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"'caf\\udce9\.bin' is not UTF-8, so it cannot be uploaded: rename it"):
        folders.list_files(tmp_path, False, None, None)
    assert folders.list_files(tmp_path, False, ["weights.*"], None) == [Path("weights.bin")]


@pytest.mark.parametrize("odd", ["folder", "file"])
def test_a_dataset_with_a_name_that_is_not_utf_8_is_refused(tmp_path, odd):
    """The folder's own name counts, too, because Arrow cannot open it."""
    folder = tmp_path / (os.fsdecode(b"\xff") if odd == "folder" else "prompts")
    folder.mkdir()
    table = pa.table({"_index_": pa.array([0], pa.int64())})
    with (folder / (os.fsdecode(b"\xff.parquet") if odd == "file" else "rows.parquet")).open("wb") as file:
        pyarrow.parquet.write_table(table, file)
    with Client(api_token="t", endpoint="http://127.0.0.1:1/v0") as client, pytest.raises(ValueError, match=r"\\udcff.* is not UTF-8"):
        client.datasets.create_arrow_dataset(folder, account="me", name="x")
