"""The releases that manifests record."""

from __future__ import annotations

import pytest

from dyff.api import releases
from dyff.entities import registry
from dyff.kernel import errors
from dyff.objects import layout, local, manifests

ROW = registry.BY_KIND["Evaluation"]
PLATFORM = {"name": "dyff-platform", "version": "1"}


def root(letter):
    return layout.root(ROW.collection, letter * 32)


@pytest.fixture
def store(tmp_path):
    return local.LocalObjects.open(tmp_path / "objects")


async def stored(store, letter, source):
    assert await manifests.write(store, root(letter), manifests.Manifest(artifacts=(), source=source))


async def test_what_a_manifest_says_is_kept(store, monkeypatch):
    """It cannot change, so it is read once, and the oldest makes room; without a manifest nothing is known, and it is looked for again."""
    monkeypatch.setattr(releases, "REMEMBERED", 1)
    known = releases.Releases(store)
    assert await known.of(ROW, "e" * 32) is None
    await stored(store, "e", {"kind": "Outputs", "platform": PLATFORM})
    await stored(store, "f", None)
    for _ in range(2):
        assert [await known.of(ROW, each * 32) for each in "eef"] == [PLATFORM, PLATFORM, None]
    await store.delete_tree(root("f"))
    assert await known.of(ROW, "f" * 32) is None


async def test_what_cannot_be_read(store, monkeypatch):
    """A large manifest is left alone; one that is damaged is an error that says what to do; one that is no object says nothing."""
    known = releases.Releases(store)
    await stored(store, "a", {"kind": "Outputs", "platform": "0.2"})
    assert await known.of(ROW, "a" * 32) is None
    await store.put(root("b") + layout.ARTIFACTS, b"{")
    with pytest.raises(errors.Damaged) as damaged:
        await known.of(ROW, "b" * 32)
    assert "restore it from a backup" in damaged.value.message
    monkeypatch.setattr(releases, "MAX_BYTES", 0)
    assert await known.of(ROW, "b" * 32) is None


async def test_one_that_is_deleted_meanwhile_says_nothing(store, monkeypatch):
    """Between the question how large it is and reading it."""

    async def gone(*_):
        return None

    await stored(store, "e", {"kind": "Outputs", "platform": PLATFORM})
    monkeypatch.setattr(manifests, "read", gone)
    assert await releases.Releases(store).of(ROW, "e" * 32) is None
