"""Reading a folder that an untrusted program has filled."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dyff.cluster.pods import removal
from dyff.workflows import hostile_folders
from dyff.workflows.hostile_folders import File, Folder, Unfit

LIMIT = 1000


@pytest.fixture
def out(tmp_path):
    """The folder; what is to be read is in `top`."""
    (tmp_path / "out" / "top").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"secret")
    yield tmp_path / "out"
    removal.remove(str(tmp_path / "out"))  # a thousand folders in one another are too deep for other means


def files(out):
    return Folder(out).files("top", LIMIT, "the setting x")


def test_files_are_listed_in_order(out):
    """With their paths and sizes, in folders, too; a folder that is not there has none."""
    (out / "top" / "b").mkdir()
    (out / "top" / "b" / "1.txt").write_bytes(b"one")
    (out / "top" / "a.txt").write_bytes(b"")
    assert files(out) == [File("a.txt", 0), File("b/1.txt", 3)]
    assert Folder(out).files("nowhere", LIMIT, "x") == []


def _link(out: Path):
    (out / "top" / "x").symlink_to("/etc/passwd")


def _link_to_folder(out: Path):
    (out / "top" / "x").symlink_to("/etc")


def _pipe(out: Path):
    os.mkfifo(out / "top" / "x")


def _socket(out: Path):
    here = Path.cwd()
    os.chdir(out / "top")  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("x")
    finally:
        os.chdir(here)


def _hard_link(out: Path):
    os.link(out.parent / "outside", out / "top" / "x")


def _sparse(out: Path):
    with (out / "top" / "x").open("wb") as file:
        file.truncate(10 * 2**30)


def _deep(out: Path):
    folder = os.open(out / "top", os.O_RDONLY)
    for _ in range(1000):  # relative to the one above: the path is too long for the system
        os.mkdir("x", dir_fd=folder)
        inner = os.open("x", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


def _line_break(out: Path):
    (out / "top" / "a\nb").write_bytes(b"")


def _not_unicode(out: Path):
    (out / "top" / os.fsdecode(b"\xff")).write_bytes(b"")


def _long(out: Path):
    (out / "top" / ("x" * 200) / ("y" * 200)).mkdir(parents=True)
    (out / "top" / ("x" * 200) / ("y" * 200) / ("z" * 200)).write_bytes(b"")


def _many(out: Path):
    for n in range(6):
        (out / "top" / f"{n}").mkdir()


def _sum(out: Path):
    for n in range(3):
        (out / "top" / f"{n}").write_bytes(bytes(400))


HOSTILE = {
    _link: "'x' is a symbolic link", _link_to_folder: "'x' is a symbolic link", _pipe: "'x' is a named pipe", _socket: "'x' is a socket",
    _hard_link: "'x' is a hard link to a file outside", _sparse: "has 10737418240 bytes, more than the 1000 of the setting x",
    _deep: "folders deeper than 32", _line_break: r"'a\nb' must not contain '\n'", _not_unicode: r"'\udcff' must not contain",
    _long: "must not be longer than 512 bytes", _many: "more than 5 files and folders", _sum: "has 1200 bytes",
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), HOSTILE.items(), ids=[each.__name__ for each in HOSTILE])
def test_what_is_not_an_output_is_refused(out, monkeypatch, make, message):
    """Nothing but a bounded number of regular files, and the message names what it is. A reader never blocks."""
    monkeypatch.setattr(hostile_folders, "MAX_ENTRIES", 1000 if make is _deep else 5)
    make(out)
    with pytest.raises(Unfit) as refused:
        files(out)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_names_of_a_file_in_the_output_are_two_files(out):
    """Only a name outside could be of a file of someone else."""
    (out / "top" / "a").write_bytes(b"one")
    os.link(out / "top" / "a", out / "top" / "b")
    assert files(out) == [File("a", 3), File("b", 3)]


@pytest.mark.parametrize("make", [_link, _pipe, _link_to_folder], ids=lambda each: each.__name__)
def test_a_single_file_is_not_followed(out, make):
    """Neither when it is read alone."""
    make(out)
    with pytest.raises(Unfit, match="not a file"):
        Folder(out).read("top/x", LIMIT)


def test_a_link_on_the_way_is_not_followed(out):
    """A folder that is a link leads nowhere, for a list and for a file."""
    (out / "top").rmdir()
    (out / "top").symlink_to(out.parent)
    with pytest.raises(Unfit, match="leads through a symbolic link"):
        files(out)
    with pytest.raises(Unfit, match="leads through a symbolic link"):
        Folder(out).read("top/outside", LIMIT)


def test_a_small_file_is_bounded(out):
    """One byte more is too much; a file that is not there is none."""
    (out / "top" / "x").write_bytes(bytes(LIMIT))
    assert Folder(out).read("top/x", LIMIT) == bytes(LIMIT)
    assert Folder(out).read("top/y", LIMIT) is None
    with pytest.raises(Unfit, match="more than 999 bytes"):
        Folder(out).read("top/x", LIMIT - 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_reported(out):
    """The program can take all permissions away."""
    (out / "top" / "x").mkdir(mode=0)
    with pytest.raises(Unfit, match="cannot be read: Permission denied"):
        files(out)
    (out / "top" / "x").chmod(0o700)
