"""Copying a finished tree to a volume."""

from __future__ import annotations

import msgspec
import pytest

from tests.workflows import runs

MODEL = "0d" * 16
FILES = {"config.json": b"{}", "weights/part-1.bin": bytes(3_000_000), "weights/part-2.bin": b"two"}


@pytest.fixture
def model(store):
    """A finalized model; its directory in the store."""
    root = store.objects / "models" / MODEL
    for path, data in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    write_manifest(root, [entry(path, data) for path, data in FILES.items()])
    return root


def entry(path, data):
    return {"kind": "file", "path": path, "key": f"models/{MODEL}/{path}", "size": len(data), "digest": {"md5": runs.md5(data)}}


def write_manifest(root, artifacts):
    (root / ".dyff").mkdir(exist_ok=True)
    (root / ".dyff" / "artifacts.json").write_bytes(msgspec.json.encode({"artifacts": artifacts}))


def fetch(steps, destination, **kwargs):
    return steps.call("fetch-data", "--source", f"models/{MODEL}/", "--destination", destination, **kwargs)


def test_a_tree_is_copied(model, steps, tmp_path):
    """Every listed file is there, whole; what is not listed is not."""
    (model / "stray.bin").write_bytes(b"not listed")
    done = steps.run("fetch-data", "--source", f"models/{MODEL}", "--destination", tmp_path / "volume")
    assert done.code == 0, done
    found = {str(file.relative_to(tmp_path / "volume")): file.read_bytes() for file in (tmp_path / "volume").rglob("*") if file.is_file()}
    assert found == FILES


def test_whole_files_are_kept_and_others_replaced(model, steps, tmp_path):
    """A repetition fetches only what is missing or damaged."""
    assert fetch(steps, tmp_path / "volume").code == 0
    (tmp_path / "volume" / "weights" / "part-2.bin").write_bytes(b"owt")
    again = fetch(steps, tmp_path / "volume")
    assert [line for line in again.lines if line.startswith("fetched")] == ["fetched weights/part-2.bin, 3 bytes"]
    assert (tmp_path / "volume" / "weights" / "part-2.bin").read_bytes() == b"two"


def test_changed_bytes_are_refused(model, steps, tmp_path):
    """Bytes that are not the promised ones never get their name in the volume."""
    (model / "config.json").write_bytes(b"[]")
    failed = fetch(steps, tmp_path / "volume")
    assert failed.code == 65
    assert "config.json has not the promised bytes" in failed.last
    assert not list((tmp_path / "volume").glob("config.json*"))


def test_a_missing_file_is_named(model, steps, tmp_path):
    """A listed file that the store has lost fails the step and is named."""
    (model / "config.json").unlink()
    failed = fetch(steps, tmp_path / "volume")
    assert (failed.code, "config.json is listed but missing" in failed.last) == (65, True)


def test_a_tree_that_was_never_finalized(store, steps, tmp_path):
    """Without a manifest nothing is copied."""
    failed = fetch(steps, tmp_path / "volume")
    assert (failed.code, "never finalized" in failed.last) == (65, True)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", ""])
def test_paths_cannot_leave_the_volume(model, steps, tmp_path, path):
    """A manifest whose paths lead out of the destination is refused as a whole."""
    write_manifest(model, [{**entry("config.json", b"{}"), "path": path}])
    failed = fetch(steps, tmp_path / "volume")
    assert failed.code == 78
    assert "the path" in failed.last
    assert not (tmp_path / "volume").exists()
