"""Copying a finished tree to a volume."""

from __future__ import annotations

import errno
import hashlib
import os

import msgspec
import pytest

from dyff.objects import local
from dyff.workflows import fetch_data, manifests, space
from tests import collisions
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


def write_manifest(root, artifacts, symlinks=()):
    (root / ".dyff").mkdir(exist_ok=True)
    (root / ".dyff" / "artifacts.json").write_bytes(msgspec.json.encode({"artifacts": artifacts, "symlinks": symlinks}))


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


def test_a_name_of_full_length_is_copied(model, steps, tmp_path):
    """The name of the incomplete file is not longer than the file's own can be."""
    name = "n" * 255
    (model / name).write_bytes(b"long")
    write_manifest(model, [entry(name, b"long")])
    assert fetch(steps, tmp_path / "volume").code == 0
    assert os.listdir(tmp_path / "volume") == [name]


def test_other_bytes_with_the_same_md5_are_refused(model, steps, tmp_path):
    """The SHA-256 of the manifest decides, for what is fetched and for what an earlier attempt left."""
    data = collisions.FIRST
    write_manifest(model, [{**entry("w", data), "digest": {"md5": runs.md5(data), "sha256": hashlib.sha256(data).hexdigest()}}])
    (model / "w").write_bytes(collisions.SECOND)
    failed = fetch(steps, tmp_path / "volume")
    assert (failed.code, "w does not have the listed bytes" in failed.last) == (65, True)
    (model / "w").write_bytes(data)
    (tmp_path / "volume" / "w").write_bytes(collisions.SECOND)
    assert fetch(steps, tmp_path / "volume").code == 0
    assert (tmp_path / "volume" / "w").read_bytes() == data


def test_changed_bytes_are_refused(model, steps, tmp_path):
    """Bytes that are not the promised ones never get their name in the volume."""
    (model / "config.json").write_bytes(b"[]")
    failed = fetch(steps, tmp_path / "volume")
    assert failed.code == 65
    assert "config.json does not have the listed bytes" in failed.last
    assert b"[]" not in {file.read_bytes() for file in (tmp_path / "volume").rglob("*") if file.is_file()}


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


LINKS = {
    "out of the volume": ("link", "../outside"),
    "absolute": ("link", "/etc"),
    "back by a link": ("a/link", "b/../../x"),
    "at a path outside": ("../link", "config.json"),
    "over a file": ("config.json", "weights"),
    "below a file": ("config.json/link", "x"),
}


@pytest.mark.parametrize(("link", "target"), LINKS.values(), ids=LINKS)
def test_links_cannot_leave_the_volume(model, steps, tmp_path, link, target):
    """A manifest with a hostile link is refused as a whole."""
    write_manifest(model, [entry("config.json", b"{}")], [{"link": link, "target": target, "target_is_directory": False}])
    failed = fetch(steps, tmp_path / "volume")
    assert failed.code == 78, failed
    assert not (tmp_path / "volume").exists()


def test_links_are_made_and_made_again(model, steps, tmp_path):
    """The links of a manifest are there afterwards, whatever was at their places before."""
    links = [{"link": "snapshot/config.json", "target": "../config.json", "target_is_directory": False}]
    write_manifest(model, [entry(path, data) for path, data in FILES.items()], links)
    assert fetch(steps, tmp_path / "volume").code == 0
    found = tmp_path / "volume" / "snapshot" / "config.json"
    assert (os.readlink(found), found.read_bytes()) == ("../config.json", b"{}")
    found.unlink()
    found.symlink_to("elsewhere")
    assert fetch(steps, tmp_path / "volume").code == 0
    assert os.readlink(found) == "../config.json"


@pytest.mark.parametrize("call", ["replace", "symlink"])
async def test_a_full_disk_is_waited_for(model, store, tmp_path, monkeypatch, capsys, call):
    """A file or a link that does not fit is made when there is space; until then the step does not end, so no attempt is used up."""
    write_manifest(model, [entry(path, data) for path, data in FILES.items()], [{"link": "latest", "target": "config.json"}])
    real, failures = getattr(os, call), iter(range(20))

    def full_at_first(*arguments, **options):
        if next(failures, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    for name in ("_FIRST_S", "_CEILING_S"):
        monkeypatch.setattr(space, name, 0.001)
    monkeypatch.setattr(manifests, "store", lambda: local.LocalObjects.open(store.root))
    monkeypatch.setattr(os, call, full_at_first)
    await fetch_data._step(["--source", f"models/{MODEL}/", "--destination", str(tmp_path / "volume")])
    assert {path: (tmp_path / "volume" / path).read_bytes() for path in FILES} == FILES
    assert (tmp_path / "volume" / "latest").read_bytes() == b"{}"
    assert "No space left on device; waiting for space" in capsys.readouterr().out
