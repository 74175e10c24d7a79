"""What only the local directory has to get right: other processes, crashes, and what people do to files."""

import asyncio
import base64
import fcntl
import hashlib
import os
import shutil
import sys
import textwrap
import time

import anyio
import pytest

from dyff.kernel import errors
from dyff.objects import local, stores
from tests.narrowing import sure


@pytest.fixture
def root(tmp_path):
    """Where the store is."""
    return tmp_path / "store"


@pytest.fixture
def objects(root):
    """A fresh store."""
    return local.LocalObjects.open(root)


def md5(data):
    """As the port has it: base64."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


async def run(program, *arguments):
    """Run Python text in a process of its own; returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_of_many_processes_one_takes_a_name(root, objects):
    """Put-if-absent holds between processes: each name goes to exactly one of them, whole."""
    program = """
        import sys, anyio
        from dyff.kernel import errors
        from dyff.objects import stores
        async def main(url, me):
            store = stores.open_store(url, {})
            for number in range(60):
                try:
                    await store.put(f"d{number % 3}/{number}", me.encode() * 1000, if_absent=True)
                    print(number)
                except errors.AlreadyExists:
                    pass
        anyio.run(main, *sys.argv[1:])
    """
    won = {}

    async def contend(me):
        won[me] = [int(line) for line in (await run(program, root.as_uri(), me)).split()]

    async with anyio.create_task_group() as tasks:
        for me in "abc":
            tasks.start_soon(contend, me)
    assert sorted(number for numbers in won.values() for number in numbers) == list(range(60))
    for me, numbers in won.items():
        for number in numbers:
            assert await objects.get(f"d{number % 3}/{number}") == me.encode() * 1000


async def test_writing_and_removing_in_the_same_directories(objects):
    """A put that succeeds is there, even while deletions remove the directories that it needs."""

    async def write(number):
        for turn in range(20):
            key = f"a/b/c/{number}-{turn}"
            await objects.put(key, b"x")
            assert await objects.head(key) is not None
            await objects.delete(key)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(write, number)
    assert [info async for info in objects.list("")] == []


async def test_another_process_sees_digests_without_reading_the_bytes_again(root, objects, monkeypatch):
    """The digest is kept: who opens the store later learns it without computing."""
    await objects.put("a/b", b"data")
    monkeypatch.setattr("dyff.objects.digests._computed", lambda descriptor: pytest.fail("computed again"))
    assert (sure(await local.LocalObjects.open(root).head("a/b"))).md5 == md5(b"data")


@pytest.mark.parametrize("damage", ["lost", "empty", "nonsense", "of another kind", "directory"])
async def test_a_lost_digest_is_computed_again_and_kept(root, objects, damage, monkeypatch):
    """Whatever happened to its record, an object's digest is right, and computed only once."""
    await objects.put("a/b", b"data")
    record = root / "digests/a/b"
    record.unlink()
    match damage:
        case "empty":
            record.write_bytes(b"")
        case "nonsense":
            record.write_bytes(b'{"md5": 1')
        case "of another kind":
            record.write_bytes(b'{"md5": "wrong"}')
        case "directory":
            record.mkdir()
    assert (await objects.head("a/b")).md5 == md5(b"data")
    monkeypatch.setattr("dyff.objects.digests._computed", lambda descriptor: pytest.fail("computed again"))
    assert [info.md5 async for info in objects.list("a/")] == [md5(b"data")]


DAMAGES = {
    "cut": (lambda data: data[:-7], "it has 4093 bytes, and 4100 were stored"),
    "emptied": (lambda data: b"", "it has 0 bytes, and 4100 were stored"),
    "longer": (lambda data: data + b"x", "it has 4101 bytes"),
    "another byte": (lambda data: b"X" + data[1:], "its bytes are not those that were stored"),
    "no bytes, only zeros": (lambda data: b"\0" * len(data), "its bytes are not those that were stored"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_object_is_named_and_not_served(root, objects, damage):
    """A file that was changed where it lies is no answer to any read; restored, it is served again."""
    data = b"data" * 1025
    await objects.put("a/b", data)
    await objects.put("a/c", b"whole")
    changed, why = DAMAGES[damage]
    file = root / "objects/a/b"
    file.write_bytes(changed(data))
    for read in (objects.head("a/b"), objects.get("a/b"), anext(objects.stream("a/b")), anext(objects.stream("a/b", start=5, end=9))):
        with pytest.raises(errors.Damaged, match=f"the object 'a/b' is damaged: {why}.*restore it from a backup"):
            await read
    listed = [(info.key, info.size_bytes, info.md5) async for info in objects.list("a/")]
    assert listed == [("a/b", len(changed(data)), None), ("a/c", 5, md5(b"whole"))]
    file.write_bytes(data)
    assert await objects.get("a/b") == data
    assert (await objects.head("a/b")).md5 == md5(data)


async def test_another_object_in_the_place_of_a_damaged_one_is_served(root, objects):
    """Damage is of that very file: it can be deleted, and stored again."""
    await objects.put("a/b", b"data")
    (root / "objects/a/b").write_bytes(b"cut")
    await objects.put("a/b", b"new")
    assert await objects.get("a/b") == b"new"
    (root / "objects/a/b").write_bytes(b"cut")
    await objects.delete("a/b")
    assert await objects.head("a/b") is None


async def test_a_digest_of_other_bytes_is_never_believed(root, objects):
    """If a file was touched, replaced or restored behind our back, its digest is that of the bytes that are there."""
    await objects.put("a/b", b"data")
    file = root / "objects/a/b"
    before = file.stat()
    os.utime(file, ns=(0, 0))
    assert (await objects.head("a/b")).md5 == md5(b"data")
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").write_bytes(b"copy")
    os.utime(file.with_name("copy"), ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(file.with_name("copy"), file)
    assert (await objects.head("a/b")).md5 == md5(b"copy")


async def test_digests_are_invisible(root, objects):
    """Listings and reads show objects, never what the store keeps next to them."""
    await objects.put("a/b", b"data")
    assert [info.key async for info in objects.list("")] == ["a/b"]
    for key in ("digests/a/b", "incoming", "objects/a/b"):
        assert await objects.head(key) is None
    await objects.delete("a/b")
    assert not list((root / "digests").iterdir())


async def test_links_lead_nowhere(root, objects, tmp_path):
    """A symbolic link inside the store, to a file or a directory, is not followed by any operation."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (root / "objects/to-file").symlink_to(outside / "secret")
    (root / "objects/to-directory").symlink_to(outside)
    for key in ("to-file", "to-directory", "to-directory/secret"):
        assert await objects.head(key) is None
        with pytest.raises(errors.NotFound):
            await objects.get(key)
        await objects.delete_tree(f"{key}/")
    with pytest.raises(errors.InvalidFields):
        await objects.put("to-directory/new", b"x")
    await objects.delete("to-directory/secret")
    assert [info async for info in objects.list("")] == []
    assert [info async for info in objects.list("to-directory/")] == []
    assert sorted(path.name for path in outside.iterdir()) == ["secret", "sub"]
    await objects.put("to-file", b"ours")
    assert (outside / "secret").read_bytes() == b"secret"
    assert await objects.get("to-file") == b"ours"


async def test_a_tree_with_links_is_deleted_without_what_they_lead_to(root, objects, tmp_path):
    """Deleting a tree removes the links in it, not their targets."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(b"x")
    await objects.put("t/a", b"x")
    (root / "objects/t/link").symlink_to(tmp_path / "outside")
    await objects.delete_tree("t/")
    assert (tmp_path / "outside/kept").exists()
    assert not (root / "objects/t").exists()


async def test_special_files_are_no_objects(root, objects):
    """A pipe or a socket in the directory is neither listed nor waited for."""
    os.mkfifo(root / "objects/pipe")
    assert await objects.head("pipe") is None
    assert [info async for info in objects.list("")] == []


async def test_nothing_can_be_below_an_object(objects):
    """A key that leads through an object, or is a directory of others, is refused with the reason."""
    await objects.put("a/b", b"x")
    with pytest.raises(errors.InvalidFields, match="nothing can be below"):
        await objects.put("a/b/c", b"y")
    for if_absent in (False, True):
        with pytest.raises(errors.InvalidFields, match="objects below"):
            await objects.put("a", b"y", if_absent=if_absent)
    assert [info.key async for info in objects.list("")] == ["a/b"]


async def test_an_empty_directory_is_not_in_the_way(root, objects):
    """A directory that a crash left behind, empty, does not prevent an object of its name."""
    for number, if_absent in enumerate((False, True)):
        (root / f"objects/{number}").mkdir()
        await objects.put(str(number), b"x", if_absent=if_absent)
        assert await objects.get(str(number)) == b"x"


async def test_a_start_clears_away_what_a_crash_left(root, objects):
    """Old temporary files that nobody holds and half-deleted trees go; what a living process writes stays."""
    incoming = root / "incoming"
    long_ago = time.time() - 2 * 3600
    for name in ("abandoned", "held", "fresh"):
        (incoming / name).write_bytes(b"x")
        if name != "fresh":
            os.utime(incoming / name, (long_ago, long_ago))
    (incoming / "tree/sub").mkdir(parents=True)
    with open(incoming / "held", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        local.LocalObjects.open(root)
    assert sorted(path.name for path in incoming.iterdir()) == ["fresh", "held"]


async def test_a_start_minds_no_writer_that_ends_meanwhile(root, objects, monkeypatch):
    """A temporary file that becomes an object while another process looks what a crash left is nobody's error."""
    listed = os.scandir

    def scandir(path):
        entries = list(listed(path))
        (root / "incoming" / "writing").rename(root / "objects" / "done")
        return entries

    (root / "incoming" / "writing").write_bytes(b"x")
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        local.LocalObjects.open(root)
    assert await objects.get("done") == b"x"


async def test_a_writer_holds_its_temporary_file(root, objects):
    """A long upload is not mistaken for something that a crash left."""
    going_on, may_end = anyio.Event(), anyio.Event()

    async def slow():
        yield b"x" * local.CHUNK_BYTES
        going_on.set()
        await may_end.wait()
        yield b"y"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(objects.put, "k", slow())
        await going_on.wait()
        for path in (root / "incoming").iterdir():
            os.utime(path, (0, 0))
        local.LocalObjects.open(root)
        may_end.set()
    assert (await objects.head("k")).size_bytes == local.CHUNK_BYTES + 1


async def test_nothing_is_left_in_incoming(root, objects):
    """Successful, refused and cancelled writes, and deletions, leave no temporary file."""
    await objects.put("a", b"x")
    with pytest.raises(errors.AlreadyExists):
        await objects.put("a", b"y", if_absent=True)
    with pytest.raises(errors.DigestMismatch):
        await objects.put("b", b"y", md5="wrong")
    await objects.put("t/a", b"x")
    await objects.delete_tree("t/")
    assert not list((root / "incoming").iterdir())


async def test_a_broken_disk_is_unavailable(root, objects, monkeypatch):
    """Where the disk fails nothing was changed, and the caller is asked to try again later."""

    def full(descriptor):
        raise OSError(28, "No space left on device")

    await objects.put("a", b"old")
    monkeypatch.setattr("dyff.objects.incoming.os.fsync", full)
    with pytest.raises(errors.DiskFull, match="No space left"):
        await objects.put("a", b"new")
    assert await objects.get("a") == b"old"
    assert not list((root / "incoming").iterdir())


async def test_everything_is_on_the_disk_before_put_returns(objects, monkeypatch):
    """The file is synced before it gets its name, and every directory that got an entry after that, before `put` returns."""
    calls = []

    def record(name):
        real = getattr(os, name)

        def recorded(*args, **kwargs):
            calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, recorded)

    for name in ("fsync", "mkdir", "link"):
        record(name)
    await objects.put("new/sub/a", b"x", if_absent=True)
    assert calls[:7] == ["fsync", "mkdir", "fsync", "mkdir", "fsync", "link", "fsync"]


async def test_names_that_are_no_keys_are_not_listed(root, objects):
    """Files that someone put into the directory by hand under a name that is no key do not break a listing."""
    (root / "objects/what?").write_bytes(b"x")
    await objects.put("a", b"x")
    assert [info.key async for info in objects.list("")] == ["a"]


async def test_without_a_signer_it_cannot_sign(objects):
    """Steps open the store without one; asking for a URL is a fault of the configuration."""
    with pytest.raises(errors.Misconfigured, match="signer"):
        await objects.sign("GET", "a")


def test_a_root_that_cannot_be_one_is_reported(tmp_path):
    """A file in the place of the directory is a fault of the settings, named in the message."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(errors.Misconfigured, match="file"):
        local.LocalObjects.open(tmp_path / "file")


async def test_a_step_opens_the_store_by_its_url(root, objects):
    """The URL that the server gives leads a step to the same objects."""
    await objects.put("a b", b"x")
    assert await stores.open_store(root.as_uri(), {}).get("a b") == b"x"
    assert await stores.open_store(f"file://localhost{root}", {}).get("a b") == b"x"


@pytest.mark.parametrize("url", ["", "/tmp/x", "ftp://bucket", "file:relative", "file://host/x", "file://", "file:///x?y", "http://h/x"])
def test_a_url_of_no_store_is_refused(url):
    """The message names the URL and the form that is expected."""
    with pytest.raises(errors.Misconfigured, match="file:///"):
        stores.open_store(url, {})
