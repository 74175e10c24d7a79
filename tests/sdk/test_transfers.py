from __future__ import annotations

import base64
import hashlib
import subprocess
import sys

import httpx
import pytest

from dyff.sdk import errors, models, transfers


def links(*paths: str, content: bytes = b"rows") -> list[models.Downlink]:
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    return [
        models.Downlink(
            artifact=models.Artifact(path=path, digest=models.Digest(md5=md5)), signedURL=models.SignedURL(url="http://s/" + path)
        )
        for path in paths
    ]


def a_store(content: bytes = b"rows") -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(content))))


def test_a_download_appears_whole_or_not_at_all(tmp_path):
    """All artifacts are at their paths below the destination, which did not exist before."""
    with a_store() as store:
        transfers.download(store, links("a.parquet", "part=1/b.parquet"), tmp_path / "out")
    assert (tmp_path / "out/part=1/b.parquet").read_bytes() == b"rows"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_wrong_bytes_are_refused(tmp_path):
    """An artifact whose digest does not fit fails the download and leaves no destination."""
    with a_store(b"other") as store, pytest.raises(errors.TransferFailed, match=r"a\.parquet"):
        transfers.download(store, links("a.parquet"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil"])
def test_a_path_cannot_leave_the_destination(tmp_path, path):
    """A hostile server cannot write elsewhere."""
    with a_store() as store, pytest.raises(errors.TransferFailed, match="leaves the destination"):
        transfers.download(store, links(path), tmp_path / "out")


def test_an_existing_destination_is_not_touched(tmp_path):
    """Nothing is overwritten."""
    with a_store() as store, pytest.raises(FileExistsError, match="choose a new directory"):
        transfers.download(store, links("a"), tmp_path)


def test_importing_the_sdk_does_not_import_pyarrow():
    """What takes long to import is imported when it is used."""
    code = "import sys, dyff.sdk; print(sorted({'pyarrow', 'litestar', 'apsw'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
