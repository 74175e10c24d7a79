"""Digests of manifests: what a page and an export say of stored data."""

from __future__ import annotations

import hashlib

import pytest

from dyff.api import manifest_digests
from dyff.entities import registry
from dyff.kernel import errors
from dyff.objects import layout, local

ROW = registry.BY_KIND["Dataset"]
KEY = layout.root(ROW.collection, "d" * 32) + layout.ARTIFACTS


class Store:
    """A store without digests of its own. `trouble`: what its next answers raise, by operation."""

    def __init__(self, objects: local.LocalObjects) -> None:
        self._objects = objects
        self.trouble: dict[str, Exception] = {}
        self.reads = 0

    async def head(self, key):
        if "head" in self.trouble:
            raise self.trouble["head"]
        info = await self._objects.head(key)
        return None if info is None else type(info)(info.key, info.size_bytes, info.md5)

    async def stream(self, key):
        self.reads += 1
        if "stream" in self.trouble:
            raise self.trouble["stream"]
        async for piece in self._objects.stream(key):
            yield piece


@pytest.fixture
async def store(tmp_path):
    objects = local.LocalObjects.open(tmp_path / "objects")
    await objects.put(KEY, b"manifest")
    return Store(objects)


async def test_a_manifest_is_read_once(store):
    """It cannot change, so its digest is kept; also when its data is gone or the store does not answer."""
    digests = manifest_digests.ManifestDigests(store)
    for _ in range(2):
        assert await digests.of(ROW, "d" * 32) == hashlib.sha256(b"manifest").hexdigest()
        store.trouble["head"] = errors.Unavailable("no")
    assert store.reads == 1


@pytest.mark.parametrize("operation", ["head", "stream"])
async def test_an_outage_is_no_answer(store, operation):
    """A page that is missing a digest only because the store does not answer would say something else than it says later."""
    store.trouble[operation] = errors.Unavailable("the store does not answer")
    digests = manifest_digests.ManifestDigests(store)
    with pytest.raises(errors.Unavailable):
        await digests.of(ROW, "d" * 32)
    store.trouble.clear()
    assert await digests.of(ROW, "d" * 32) is not None


async def test_what_is_not_there_has_none(store, monkeypatch):
    """Nothing stored, deleted between two questions, too large, or of a kind without data."""
    digests = manifest_digests.ManifestDigests(store)
    assert await digests.of(ROW, "e" * 32) is None
    assert await digests.of(registry.BY_KIND["Method"], "d" * 32) is None
    store.trouble["stream"] = errors.NotFound("gone")
    assert await digests.of(ROW, "d" * 32) is None
    store.trouble.clear()
    monkeypatch.setattr(manifest_digests, "MAX_BYTES", 7)
    assert await digests.of(ROW, "d" * 32) is None


async def test_few_are_kept(store, monkeypatch):
    """The oldest makes room."""
    monkeypatch.setattr(manifest_digests, "REMEMBERED", 1)
    await store._objects.put(layout.root(ROW.collection, "e" * 32) + layout.ARTIFACTS, b"other")
    digests = manifest_digests.ManifestDigests(store)
    for entity, reads in (("d", 1), ("e", 2), ("e", 2), ("d", 3)):
        await digests.of(ROW, entity * 32)
        assert store.reads == reads
