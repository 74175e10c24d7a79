from __future__ import annotations

import hashlib
import json
import os
import tarfile

import pytest

from image import archive
from tests.narrowing import sure

CONFIG = {"Entrypoint": ["/program"]}


@pytest.fixture
def root(tmp_path):
    """A folder with a file, a program, a link and an empty folder."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "etc/name").write_text("dyff")
    (folder / "link").symlink_to("etc/name")
    return folder


def described(path):
    """The image's own description and the entries of its layer."""
    with tarfile.open(path) as tar:
        manifest = json.load(sure(tar.extractfile("manifest.json")))[0]
        with tarfile.open(fileobj=tar.extractfile("layer.tar")) as layer:
            return manifest, json.load(sure(tar.extractfile(manifest["Config"]))), layer.getmembers()


def test_an_archive_has_the_folder_and_the_programs(root, tmp_path):
    """One layer with what is in the folder, and programs that can be run, under the name that was asked for."""
    program = tmp_path / "built"
    program.write_bytes(b"\x7fELF")
    archive.write(tmp_path / "out.tar", "dyff.local/it:1", CONFIG, root=root, files={"/program": program})
    manifest, image, members = described(tmp_path / "out.tar")
    assert manifest["RepoTags"] == ["dyff.local/it:1"]
    assert image["config"] == CONFIG
    found = {each.name: each for each in members}
    assert sorted(found) == ["empty", "etc", "etc/name", "link", "program"]
    assert found["link"].linkname == "etc/name"
    assert found["program"].mode == 0o755


def test_the_parts_name_one_another_by_digest(root, tmp_path):
    """The manifest names the configuration by its digest, and that has the layer's: else no engine takes the image."""
    archive.write(tmp_path / "out.tar", "dyff.local/it:1", CONFIG, root=root)
    with tarfile.open(tmp_path / "out.tar") as tar:
        parts = {each.name: sure(tar.extractfile(each)).read() for each in tar}
    (manifest,) = json.loads(parts["manifest.json"])
    assert manifest["Layers"] == ["layer.tar"]
    assert manifest["Config"] == f"{hashlib.sha256(parts[manifest['Config']]).hexdigest()}.json"
    rootfs = json.loads(parts[manifest["Config"]])["rootfs"]
    assert rootfs["diff_ids"] == [f"sha256:{hashlib.sha256(parts['layer.tar']).hexdigest()}"]


def test_the_same_files_give_the_same_bytes(root, tmp_path):
    """When they were written does not matter."""
    archive.write(tmp_path / "one.tar", "dyff.local/it:1", CONFIG, root=root)
    os.utime(root / "etc/name", (1, 1))
    archive.write(tmp_path / "two.tar", "dyff.local/it:1", CONFIG, root=root)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_variant_has_the_same_files(root, tmp_path):
    """Only name and configuration are others, so that a node keeps the layer once."""
    archive.write(tmp_path / "one.tar", "dyff.local/it:1", CONFIG, root=root)
    archive.variant(tmp_path / "one.tar", tmp_path / "two.tar", "dyff.local/other:1", {"Entrypoint": ["/other"]})
    one, two = described(tmp_path / "one.tar"), described(tmp_path / "two.tar")
    assert two[0]["RepoTags"] == ["dyff.local/other:1"]
    assert two[1]["config"] == {"Entrypoint": ["/other"]}
    assert two[1]["rootfs"] == one[1]["rootfs"]


def test_an_archive_of_others_has_no_variant(tmp_path):
    """What has not one layer under our name is refused by name, and nothing is written."""
    with tarfile.open(tmp_path / "theirs.tar", "w"):
        pass
    with pytest.raises(ValueError, match=r"theirs\.tar was not written here"):
        archive.variant(tmp_path / "theirs.tar", tmp_path / "out.tar", "dyff.local/it:1", CONFIG)
    assert not (tmp_path / "out.tar").exists()


def test_files_stay_closed_when_nothing_was_written(root, tmp_path):
    """A program that is missing is an error, and no half archive is left."""
    with pytest.raises(FileNotFoundError):
        archive.write(tmp_path / "out.tar", "dyff.local/it:1", CONFIG, root=root, files={"/program": tmp_path / "no"})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["root"]
