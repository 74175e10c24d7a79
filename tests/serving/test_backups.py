"""Backups and restores at places, on disks and of data that are not as they should be: refused with what to do, and never left halfway."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
from pathlib import Path

import apsw
import msgspec
import pytest

from dyff.kernel import errors, settings
from dyff.objects import keeping
from dyff.serve import directory
from dyff.serve.backups import contents, files, restoring, taking
from tests.serving.furnished import furnish

KEYS = ("datasets/a/x", "datasets/b/x")


def quiet(_line):
    """Takes the lines that are for people."""


def of(root):
    """The settings of a data directory."""
    return settings.Settings(data_dir=str(root))


def backed_up(root, target):
    """Back a data directory up."""
    return taking.backup(of(root), target, quiet)


def restored(backup, root, *, force=False):
    """Restore a backup into a data directory."""
    return restoring.restore(of(root), backup, quiet, force=force)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data directory with two objects, and a backup of it."""
    root = tmp_path_factory.mktemp("made")
    place = furnish(root / "data")
    for key in KEYS:
        path = place.objects / "objects" / key
        path.parent.mkdir(parents=True)
        path.write_text(key)
    backed_up(place.root, root / "backup")
    return root


@pytest.fixture
def data(made, tmp_path):
    """A copy of the data directory, to be changed."""
    return directory.DataDirectory(shutil.copytree(made / "data", tmp_path / "data"))


@pytest.fixture
def backup(made, tmp_path):
    """A copy of the backup, to be changed."""
    return shutil.copytree(made / "backup", tmp_path / "backup")


@pytest.fixture(autouse=True)
def same_priority(monkeypatch):
    """The commands lower their own priority; these tests are in the same process."""
    monkeypatch.setattr(os, "nice", lambda _by: 0)


def sealed(backup, **changes):
    """Write the list and the head of a backup that was changed as another release would have written them."""
    head = msgspec.json.decode((backup / contents.HEAD).read_bytes())["head"]
    listed = [msgspec.json.decode(line, type=contents.File) for line in (backup / contents.LIST).read_bytes().splitlines()]
    (backup / contents.LIST).unlink()
    with contents.Listing(backup) as listing:
        for each in listed:
            if (backup / each.path).is_file():
                listing.add(files.described(each.path, files.digests(backup / each.path)))
        digest = listing.finish()
    head |= {"list_sha256": digest, "files": listing.files, "size_bytes": listing.size_bytes, **changes}
    body = msgspec.json.encode({key: value for key, value in head.items() if value is not None})
    (backup / contents.HEAD).write_bytes(msgspec.json.encode({"head": msgspec.Raw(body), "sha256": hashlib.sha256(body).hexdigest()}))


def names(root):
    """The names in a directory."""
    return sorted(path.name for path in root.iterdir())


def stored(root):
    """The names in a data directory, but those that SQLite makes and removes, and the lock."""
    return [name for name in names(root) if not name.endswith(("-shm", "-wal", "server.lock"))]


# Where a backup is put.


@pytest.mark.parametrize("missing", ["day", "year/month/day"])
def test_a_backup_makes_no_folders_above_it(made, tmp_path, missing):
    """A missing folder is a typing error, or a disk that is not mounted: the copy would be on the wrong disk."""
    with pytest.raises(errors.Misconfigured, match=r"does not exist.*mkdir -p .*mount"):
        backed_up(made / "data", tmp_path / missing / "backup")
    assert names(tmp_path) == []


def test_the_root_of_all_files_is_no_target(made):
    """It has no name; it exists, as any other directory that is refused."""
    with pytest.raises(errors.AlreadyExists, match="exists already"):
        backed_up(made / "data", Path("/"))


@pytest.mark.parametrize("name", [os.fsdecode(b"not \xff utf-8"), "x" * 250, "x" * 300])
def test_a_name_that_cannot_be_used_is_refused_before_anything_is_made(made, tmp_path, name):
    """SQLite cannot open a path that is not UTF-8, and no file system has names of more than 255 bytes."""
    with pytest.raises(errors.Misconfigured, match=r"not UTF-8|too long"):
        backed_up(made / "data", tmp_path / name)
    assert names(tmp_path) == []


def test_a_target_in_another_backup_is_refused(made, backup):
    """It would make that one invalid."""
    with pytest.raises(errors.Misconfigured, match="is in the backup"):
        backed_up(made / "data", backup / "objects" / "new")
    assert names(backup / "objects") == ["datasets"]


def test_a_target_in_a_store_that_is_elsewhere_is_refused(data, tmp_path):
    """The data directory may lead to other disks by symbolic links."""
    shutil.move(data.objects, tmp_path / "disk")
    data.objects.symlink_to(tmp_path / "disk")
    with pytest.raises(errors.Misconfigured, match="is in the data directory itself"):
        backed_up(data.root, tmp_path / "disk" / "backup")
    assert "backup" not in names(tmp_path / "disk")
    backed_up(data.root, tmp_path / "backup")
    assert sorted(path.name for path in (tmp_path / "backup" / "objects" / "datasets").iterdir()) == ["a", "b"]


@pytest.mark.parametrize("point", ["audit", "list", "stores", "objects", "head", "name"])
def test_a_disk_that_is_full_is_one_sentence_and_leaves_nothing(data, tmp_path, monkeypatch, point):
    """Whatever is written when it happens."""

    def fail(*_args, **_keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where = {
        "audit": (taking, "_copy_audit"), "list": (contents.Listing, "add"), "stores": (taking, "_prove_stores"),
        "objects": (files, "copy"), "head": (contents, "write_head"), "name": (os, "rename"),
    }  # fmt: skip
    monkeypatch.setattr(*where[point], fail)
    with pytest.raises(errors.DiskFull, match="nothing was completed"):
        backed_up(data.root, tmp_path / "backup")
    assert names(tmp_path) == ["data"]


def test_the_audit_log_counts_for_the_space_that_is_needed(data, tmp_path, monkeypatch):
    """It can be larger than everything else."""
    data.audit.mkdir(exist_ok=True)
    with open(data.audit / "audit-20260101T000000.000000Z.jsonl.gz", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(errors.DiskFull, match="MiB are needed"):
        backed_up(data.root, tmp_path / "backup")
    assert names(tmp_path) == ["data"]


def test_a_target_that_appears_meanwhile_is_not_replaced(data, tmp_path, monkeypatch):
    """Such as by another program."""
    real = taking.prove

    def prove(root, head):
        real(root, head)
        (tmp_path / "backup").mkdir()
        (tmp_path / "backup" / "theirs").touch()

    monkeypatch.setattr(taking, "prove", prove)
    with pytest.raises(errors.AlreadyExists, match="exists already"):
        backed_up(data.root, tmp_path / "backup")
    assert names(tmp_path / "backup") == ["theirs"]
    assert names(tmp_path) == ["backup", "data"]


def test_a_data_directory_that_is_read_only_is_refused_with_the_reason(data, tmp_path, monkeypatch):
    """A backup locks its files."""

    def refuse(_path, _mode):
        return False

    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(errors.Misconfigured, match=r"data directory .* cannot be written to.*copy"):
        backed_up(data.root, tmp_path / "backup")
    assert names(tmp_path) == ["data"]


# What is restored.


@pytest.mark.parametrize("changes", [{}, {"ends": None}, {"epochs": [1]}], ids=["same", "without a field", "with another field"])
def test_a_backup_in_a_newer_form_names_the_release(backup, tmp_path, changes):
    """Whatever its head looks like: it is not damaged."""
    sealed(backup, format=contents.FORMAT + 1, release="99.1", **changes)
    with pytest.raises(errors.Misconfigured, match=r"of release 99\.1, in a newer form"):
        restored(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("store", ["bus", "accounts", "cluster"])
def test_a_store_of_a_newer_release_is_refused_before_anything_is_replaced(backup, tmp_path, store):
    """The server of this release would refuse it."""
    connection = apsw.Connection(str(backup / "stores" / f"{store}.sqlite"))
    connection.pragma("user_version", 99)
    connection.close()
    sealed(backup)
    with pytest.raises((errors.NewerSchema, errors.Misconfigured), match=r"newer release|this release can read|upgrade"):
        restored(backup, tmp_path / "new")
    assert names(tmp_path / "new") == ["server.lock"]


def a_pipe(path):
    """Opening it to read waits for a writer."""
    os.mkfifo(path)


def a_folder(path):
    """With the file's name."""
    path.mkdir()


def a_link(path):
    """To a file elsewhere, which is not of the backup."""
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", [contents.HEAD, contents.LIST, "stores/bus.sqlite", "objects/datasets/a/x"])
@pytest.mark.parametrize("put", [a_pipe, a_folder, a_link], ids=lambda each: each.__name__)
def test_what_is_no_file_is_refused_and_named(backup, tmp_path, name, put):
    """Nothing is waited for, and it is not reported as missing."""
    (backup / name).unlink()
    put(backup / name)
    with pytest.raises((errors.Damaged, errors.Misconfigured), match="is not a file") as found:
        restored(backup, tmp_path / "new")
    assert str(backup / name) in found.value.message


@pytest.mark.parametrize(("number", "reason"), [(errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")])
def test_a_file_that_cannot_be_read_is_not_reported_as_missing(backup, tmp_path, monkeypatch, number, reason):
    """The message names it, and the reason: it may belong to another user."""
    real, refused = os.open, backup / "objects" / KEYS[0]

    def opened(path, *arguments, **keywords):
        if path == refused:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(errors.Unavailable, match=reason) as found:
        restored(backup, tmp_path / "new")
    assert str(refused) in found.value.message


def test_a_backup_without_a_log_is_named_as_such(backup, tmp_path):
    """The list and the head can be right otherwise."""
    (backup / "stores" / "bus.sqlite").unlink()
    sealed(backup)
    with pytest.raises(errors.Damaged, match="has no log"):
        restored(backup, tmp_path / "new")


def test_a_data_directory_in_the_backup_is_refused(backup):
    """It would make the backup invalid."""
    with pytest.raises(errors.Misconfigured, match="is in the backup"):
        restored(backup, backup / "data")
    assert "data" not in names(backup)


# What the target has before.


def test_a_damaged_audit_log_does_not_stop_a_restore(backup, data):
    """It is kept as it is, and entries of the backup are added to it."""
    (backup / "audit").mkdir(exist_ok=True)
    data.audit.mkdir(exist_ok=True)
    cut = data.audit / "audit-20260101T000000.000000Z.jsonl.gz"
    cut.write_bytes(gzip.compress(b"an entry\n" * 100)[:15])
    (data.audit / "audit-20260102T000000.000000Z.jsonl.gz").write_bytes(b"no such form")
    restored(backup, data.root, force=True)
    assert len(cut.read_bytes()) == 15
    assert not data.unfinished.exists()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM])
@pytest.mark.parametrize("name", ["bus.sqlite", "objects", "server-notes"])
def test_what_cannot_be_moved_aside_leaves_everything_as_it_was(backup, data, monkeypatch, number, name):
    """Such as a disk of its own that is mounted in the data directory. A restore that was cut there can be given up, too."""
    (data.root / "server-notes").write_text("kept")
    before, real = stored(data.root), os.rename

    def rename(source, target):
        if source == data.root / name:
            raise OSError(number, os.strerror(number), str(source))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(errors.Unavailable, match=f"{name} cannot be moved aside .*everything is as it was"):
            restored(backup, data.root, force=True)
    assert stored(data.root) == before
    restored(backup, data.root, force=True)


def test_a_backup_and_a_restore_of_the_same_directory_do_not_meet(backup, data, tmp_path, monkeypatch):
    """The backup would have stores of one and objects of the other. Each of them says that the other one is at work."""
    real = taking._prove_stores

    def prove(*arguments):
        with keeping.Kept(data.objects).keeping(), pytest.raises(errors.InUse):
            restored(backup, data.root, force=True)
        return real(*arguments)

    monkeypatch.setattr(taking, "_prove_stores", prove)
    backed_up(data.root, tmp_path / "first")
    assert not list(data.root.glob("replaced-*"))

    whole = restoring._build

    def build(*arguments):
        with pytest.raises(errors.Misconfigured, match="is not finished"):
            backed_up(data.root, tmp_path / "second")
        return whole(*arguments)

    monkeypatch.setattr(restoring, "_build", build)
    restored(backup, data.root, force=True)
    assert not (tmp_path / "second").exists()


def test_a_lock_of_a_store_that_was_replaced_is_not_held(tmp_path):
    """A backup that waited for the restore must not believe that it has the new store for itself."""
    old, new = tmp_path / "objects", tmp_path / "moved"
    old.mkdir()
    kept = keeping.Kept(old)
    waiting = kept._opened()
    old.rename(new)
    old.mkdir()
    try:
        with kept.alone():
            assert not kept._is_named(waiting)
    finally:
        os.close(waiting)


def test_accounts_that_cannot_be_read_are_reported(backup, data):
    """What was suspended since is not known then, so a person has to do it again."""
    data.accounts.write_bytes(b"no database" * 1000)
    said: list[str] = []
    restoring.restore(of(data.root), backup, said.append, force=True)
    assert any(each.startswith("suspend again") for each in said)


@pytest.mark.parametrize("there", ["theirs", "link"])
def test_only_what_a_backup_left_is_removed(data, tmp_path, there):
    """Not a directory of someone else that has the name by chance."""
    place = tmp_path / "backup.incomplete"
    if there == "link":
        place.symlink_to(data.root)
    else:
        place.mkdir()
        (place / there).touch()
    with pytest.raises(errors.AlreadyExists, match="remove it, or choose another name"):
        backed_up(data.root, tmp_path / "backup")
    assert data.bus.exists()
    assert names(tmp_path) == ["backup.incomplete", "data"]
