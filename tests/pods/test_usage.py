"""The measurement of folders that a hostile program changes at the same time."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dyff.cluster.pods.shim import usage

MANY = 10**9


def measured(*folders: Path, max_bytes: int = MANY, max_files: int = MANY) -> usage.Walk:
    walk = usage.Walk([str(each) for each in folders], max_bytes, max_files)
    for _ in walk.run():
        pass
    return walk


def fill(path: Path, kib: int = 64) -> Path:
    path.write_bytes(os.urandom(kib * 1024))
    return path


def test_everything_below_is_counted(tmp_path):
    """Files in all depths count, with the space that they really take: a file with a hole takes what was written."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    fill(tmp_path / "a" / "b" / "file")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    os.sync()
    walk = measured(tmp_path)
    assert walk.files == 4
    assert 64 * 1024 <= walk.bytes < 1 << 20


def test_a_folder_in_another_one_counts_once(tmp_path):
    """Folders that contain each other, and files with several names, are counted once."""
    (tmp_path / "a").mkdir()
    fill(tmp_path / "a" / "file")
    os.link(tmp_path / "a" / "file", tmp_path / "again")
    assert measured(tmp_path, tmp_path / "a", tmp_path / "absent").files == 2


def test_links_are_not_followed(tmp_path):
    """A symbolic link counts as itself, whether it is in a folder or in the place of one."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    fill(outside / "file")
    (inside / "link").symlink_to(outside)
    (tmp_path / "top").symlink_to(outside)
    assert measured(inside).files == 1
    assert measured(tmp_path / "top").files == 0


def test_a_folder_that_becomes_a_link_is_not_entered(tmp_path, monkeypatch):
    """Between the list of a folder and the entry into one inside it, that one can become a link to anywhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    fill(outside / "file")
    victim = tmp_path / "inside" / "folder"
    victim.mkdir(parents=True)
    enter = usage._enter

    def swapped(folder: int, name: str) -> int:
        victim.rmdir()
        victim.symlink_to(outside)
        return enter(folder, name)

    monkeypatch.setattr(usage, "_enter", swapped)
    assert measured(tmp_path / "inside").files == 1


def test_pipes_and_sockets_do_not_block(tmp_path):
    """Special files are counted without being opened."""
    os.mkfifo(tmp_path / "pipe")
    assert measured(tmp_path).files == 1


@pytest.mark.parametrize(("limits", "what"), [({"max_files": 5}, "files"), ({"max_bytes": 100_000}, "bytes")])
def test_the_walk_ends_at_a_limit(tmp_path, limits, what):
    """As soon as a limit is exceeded, the walk ends and says which one."""
    for number in range(10):
        fill(tmp_path / str(number))
    os.sync()
    with pytest.raises(usage.TooMuch) as caught:
        measured(tmp_path, **limits)
    assert caught.value.what == what


def test_nesting_is_bounded(tmp_path):
    """A chain of folders that is too deep to walk is a breach, and needs few descriptors until then."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(usage.MAX_DEPTH + 5):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(usage.TooMuch) as caught:
        measured(tmp_path)
    assert caught.value.what == "depth"
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_walk_can_be_interrupted(tmp_path):
    """Control returns to the caller after a bounded number of entries, also within one folder."""
    for number in range(3 * usage.STEP_ENTRIES):
        (tmp_path / str(number)).touch()
    walk = usage.Walk([str(tmp_path)], MANY, MANY)
    counts = [walk.files for _ in walk.run()]
    assert len(counts) >= 3
    assert all(later - earlier <= usage.STEP_ENTRIES for earlier, later in itertools.pairwise(counts))


def test_open_files_without_a_name_are_counted(tmp_path):
    """A file that was deleted takes space while a process has it open, or mapped, or both; then it counts once."""
    program = """
import mmap, os, sys
held = []
for name in ("open", "mapped"):
    file = open(name, "w+b")
    file.write(os.urandom(1 << 20))
    file.flush()
    if name == "mapped":
        held.append(mmap.mmap(file.fileno(), 4096))
    else:
        held.append(file)
    os.unlink(name)
    del file
print(flush=True)
sys.stdin.read()
"""
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, **streams)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        walk = measured(tmp_path)
        walk.add_deleted([child.pid])
        child.kill()
    assert walk.files == 2
    assert 2 << 20 <= walk.bytes < 3 << 20
