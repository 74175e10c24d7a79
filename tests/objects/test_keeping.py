"""Backups of a local store: what is deleted meanwhile is kept for them, and every manifest comes with its files."""

from __future__ import annotations

import os
from typing import Any

import pytest

from dyff.kernel import errors
from dyff.objects import exporting, keeping
from dyff.objects.local import LocalObjects

MANIFEST = "datasets/a/.dyff/artifacts.json"


def read(root, removed) -> dict[str, bytes]:
    """All objects that a backup sees, by key."""
    return {found.key: os.pread(found.descriptor, 100, 0) for found in exporting.objects(root, removed)}


async def test_what_is_deleted_meanwhile_is_kept_until_the_backup_ends(tmp_path):
    """Trees and single objects are gone for everyone else at once, and for everyone when the backup is over."""
    store = LocalObjects.open(tmp_path)
    for key in ("datasets/a/x", "datasets/a/y/z", "datasets/b/x", "uploads/datasets/c/x"):
        await store.put(key, key.encode())
    with keeping.Kept(tmp_path).keeping() as removed:
        await store.delete_tree("datasets/a/")
        await store.delete("datasets/b/x")
        await store.delete("datasets/b/none")
        await store.put("datasets/b/x", b"again")
        assert [each.key async for each in store.list("")] == ["datasets/b/x", "uploads/datasets/c/x"]
        found = [(each.key, os.pread(each.descriptor, 100, 0)) for each in exporting.objects(tmp_path, removed)]
        assert dict(reversed(found)) == {
            "datasets/a/x": b"datasets/a/x", "datasets/a/y/z": b"datasets/a/y/z", "datasets/b/x": b"again",
            "uploads/datasets/c/x": b"uploads/datasets/c/x",
        }  # fmt: skip
    assert not (tmp_path / "removed").exists()
    await store.delete("datasets/b/x")
    assert not (tmp_path / "removed").exists()


async def test_what_a_killed_backup_left_is_removed_by_the_next_start(tmp_path):
    """The kernel has released its lock."""
    LocalObjects.open(tmp_path)
    (tmp_path / "removed" / "1" / "datasets").mkdir(parents=True)
    LocalObjects.open(tmp_path)
    assert not (tmp_path / "removed").exists()


async def test_a_start_while_a_backup_is_made_removes_nothing(tmp_path):
    """A step opens the store, too."""
    store = LocalObjects.open(tmp_path)
    await store.put("datasets/a/x", b"x")
    with keeping.Kept(tmp_path).keeping() as removed:
        await store.delete("datasets/a/x")
        LocalObjects.open(tmp_path)
        assert read(tmp_path, removed) == {"datasets/a/x": b"x"}


async def test_one_backup_at_a_time(tmp_path):
    """The second one says why, and a deletion in progress is waited for."""
    LocalObjects.open(tmp_path)
    kept = keeping.Kept(tmp_path)
    with kept.keeping(), pytest.raises(errors.InUse), kept.keeping(0):
        pass
    with kept.deleting() as place:
        assert place is None
        with pytest.raises(errors.InUse), kept.keeping(0):
            pass


async def test_manifests_come_first(tmp_path):
    """One that is put while the store is read is left out, since its files may have been passed already."""
    store = LocalObjects.open(tmp_path)
    await store.put("datasets/b/x", b"x")
    await store.put("datasets/b/.dyff/artifacts.json", b"b")
    with keeping.Kept(tmp_path).keeping() as removed:
        keys: list[Any] = []
        for found in exporting.objects(tmp_path, removed):
            if not keys:
                await store.put("datasets/a/x", b"x")
                await store.put(MANIFEST, b"a")
            keys.append(found.key)
    assert keys == ["datasets/b/.dyff/artifacts.json", "datasets/a/x", "datasets/b/x"]
    assert sorted(exporting.roots(tmp_path)) == [("datasets", "a"), ("datasets", "b")]
