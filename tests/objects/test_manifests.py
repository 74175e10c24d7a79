"""The manifest of a tree: what was ever written is read, what is written is always the same bytes, and both are bounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dyff.kernel import errors
from dyff.objects import layout, local, manifests
from dyff.objects.manifests import Artifact, Link, Manifest

ROOT = "models/0d/"
MD5, SHA256 = "1B2M2Y8AsgTpgAmY7PhCfg==", "e3" * 32

UPLOADED = Manifest(
    artifacts=(
        Artifact(path="a/b.parquet", key="models/0d/a/b.parquet", size=3, digest={"md5": MD5}, kind="parquet"),
        Artifact(path="c", key="models/0d/c", size=0, digest={"md5": MD5}),
    )
)
VERIFIED = Manifest(
    artifacts=(
        Artifact(path=".dyff/errors.parquet", key="outputs/0e/verified/x/errors.parquet", size=9, digest={"md5": MD5}, kind="parquet"),
    )
)
FETCHED = Manifest(
    artifacts=(Artifact(path="b/f", key="models/0d/.dyff/blobs/f", size=1, digest={"md5": MD5, "sha256": SHA256}, kind="file"),),
    symlinks=(Link("s/f", "../b/f"), Link("t", "s", True)),
    source={"kind": "HuggingFaceHub", "commit": "abc"},
)
WITHOUT_LINKS = msgspec.structs.replace(FETCHED, symlinks=())

WRITTEN = {
    "uploaded, by earlier releases": (
        UPLOADED,
        (
            b'{"artifacts":[{"path":"a/b.parquet","key":"models/0d/a/b.parquet","size":3,"digest":{"md5":"%(md5)s"},"kind":"parquet"},'
            b'{"path":"c","key":"models/0d/c","size":0,"digest":{"md5":"%(md5)s"}}]}'
        ),
    ),
    "uploaded": (
        UPLOADED,
        (
            b'{"artifacts":[{"digest":{"md5":"%(md5)s"},"key":"models/0d/a/b.parquet","kind":"parquet","path":"a/b.parquet","size":3},'
            b'{"digest":{"md5":"%(md5)s"},"key":"models/0d/c","path":"c","size":0}]}'
        ),
    ),
    "verified": (
        VERIFIED,
        (
            b'{"artifacts":[{"digest":{"md5":"%(md5)s"},"key":"outputs/0e/verified/x/errors.parquet","kind":"parquet",'
            b'"path":".dyff/errors.parquet","size":9}]}'
        ),
    ),
    "fetched": (
        FETCHED,
        (
            b'{"artifacts":[{"digest":{"md5":"%(md5)s","sha256":"%(sha256)s"},"key":"models/0d/.dyff/blobs/f","kind":"file","path":"b/f",'
            b'"size":1}],"source":{"commit":"abc","kind":"HuggingFaceHub"},"symlinks":[{"link":"s/f","target":"../b/f",'
            b'"target_is_directory":false},{"link":"t","target":"s","target_is_directory":true}]}'
        ),
    ),
    "fetched, without links": (
        WITHOUT_LINKS,
        (
            b'{"artifacts":[{"digest":{"md5":"%(md5)s","sha256":"%(sha256)s"},"key":"models/0d/.dyff/blobs/f","kind":"file","path":"b/f",'
            b'"size":1}],"source":{"commit":"abc","kind":"HuggingFaceHub"},"symlinks":[]}'
        ),
    ),
}


def text(written):
    """The bytes of an example."""
    return written % {b"md5": MD5.encode(), b"sha256": SHA256.encode()}


@pytest.fixture
def store(tmp_path):
    return local.LocalObjects.open(tmp_path)


async def read(store, data):
    """What is read of a stored manifest with these bytes."""
    await store.put(ROOT + layout.ARTIFACTS, data)
    return await manifests.read(store, ROOT)


@pytest.mark.parametrize(("manifest", "written"), WRITTEN.values(), ids=WRITTEN)
async def test_what_was_written_is_read(store, manifest, written):
    """Each form in which a release has written manifests means the same as ever."""
    assert await read(store, text(written)) == manifest


@pytest.mark.parametrize("form", [each for each in WRITTEN if "earlier" not in each])
async def test_the_bytes_are_always_the_same(store, form):
    """A manifest is written as JSON with sorted keys and without what is not said; an empty list of links is not left out."""
    manifest, written = WRITTEN[form]
    assert await manifests.write(store, ROOT, manifest)
    assert await store.get(ROOT + layout.ARTIFACTS) == text(written)


async def test_no_manifest_is_none(store):
    """A tree without a manifest is not an error: its files are not there yet."""
    assert await manifests.read(store, ROOT) is None


async def test_the_first_manifest_stays(store):
    """A second one is not stored, and its writer learns that."""
    assert await manifests.write(store, ROOT, UPLOADED)
    assert not await manifests.write(store, ROOT, FETCHED)
    assert await manifests.read(store, ROOT) == UPLOADED


async def test_what_a_later_release_adds_is_ignored(store):
    """Unknown fields at any level, another kind and other digests do not keep this release from reading the files."""
    entry = {"path": "a", "key": "k", "size": 1, "kind": "new", "digest": {"md5": MD5, "blake3": "x"}, "added": {"x": [1]}}
    link = {"link": "b", "target": "a", "target_is_directory": False, "added": 1}
    found = await read(store, msgspec.json.encode({"artifacts": [entry], "symlinks": [link], "source": {"a": {"b": 1}}, "added": 1}))
    assert found.artifacts == (Artifact(path="a", key="k", size=1, kind="new", digest={"md5": MD5, "blake3": "x"}),)
    assert found.links == (Link("b", "a"),)


async def test_what_may_be_left_out(store):
    """Without a key the bytes are at the path below the root; digests, kind and links may be missing or, for links, null."""
    found = await read(store, b'{"artifacts":[{"path":"a/b","size":2},{"path":"c","key":"k","size":0}],"symlinks":null}')
    assert found.artifacts == (Artifact(path="a/b", key=ROOT + "a/b", size=2), Artifact(path="c", key="k", size=0))
    assert found.links == ()


def entries(*paths, links=()):
    """A manifest of files with these paths."""
    files = [{"path": path, "key": "k", "size": 0, "digest": {}} for path in paths]
    return {"artifacts": files, "symlinks": [{"link": link, "target": target} for link, target in links]}


WRONG = {
    "no JSON": (b"{", "truncated"),
    "no text": (b'{"artifacts": "\xff"}', ""),
    "no object": ([], "Expected `object`"),
    "no files": ({}, "artifacts"),
    "files that are none": ({"artifacts": [1]}, "$.artifacts[0]"),
    "a size below nothing": ({"artifacts": [{"path": "a", "size": -1}]}, "size"),
    "a path out of the tree": (entries("a", "../b"), "the path '../b'"),
    "an absolute path": (entries("/etc/passwd"), "the path '/etc/passwd'"),
    "a link at a path out of the tree": (entries("a", links=[("../b", "a")]), "the path '../b'"),
    "a link out of the tree": (entries("a", links=[("b", "../a")]), "out of the tree"),
    "an absolute link": (entries("a", links=[("b", "/etc")]), "the link 'b' to '/etc'"),
    "a link at a file": (entries("a", links=[("a", "b")]), "'a' is there twice"),
    "a link below a file": (entries("a", links=[("a/b", "c")]), "'a' cannot be a file"),
}


@pytest.mark.parametrize(("value", "want"), WRONG.values(), ids=WRONG)
async def test_what_is_no_manifest_is_refused_with_the_reason(store, value, want):
    """A manifest that is damaged or leads out of the tree is refused as a whole, by name."""
    with pytest.raises(errors.Misconfigured) as refused:
        await read(store, value if isinstance(value, bytes) else msgspec.json.encode(value))
    assert ROOT + layout.ARTIFACTS in refused.value.message
    assert want in refused.value.message


async def test_deep_nesting_is_refused(store):
    """Nesting that the decoder cannot follow is an error with a name, not a defect."""
    with pytest.raises(errors.Misconfigured):
        await read(store, b'{"artifacts":[],"source":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}")


@pytest.mark.parametrize("manifest", [UPLOADED, FETCHED], ids=["files", "files and links"])
@pytest.mark.parametrize(("bound", "at_most"), [("MAX_ENTRIES", 0), ("MAX_BYTES", 100)])
async def test_a_manifest_is_bounded(store, monkeypatch, manifest, bound, at_most):
    """One with more bytes, or more files and links, than the bound is neither read nor written, and what is stored stays."""
    await manifests.write(store, ROOT, manifest)
    before = await store.get(ROOT + layout.ARTIFACTS)
    monkeypatch.setattr(manifests, bound, at_most)
    with pytest.raises(errors.Misconfigured, match="more than"):
        await manifests.read(store, ROOT)
    with pytest.raises(errors.FixRequest, match="more than"):
        await manifests.write(store, "models/other/", manifest)
    assert await store.get(ROOT + layout.ARTIFACTS) == before
    assert await store.head("models/other/" + layout.ARTIFACTS) is None


async def test_no_more_than_the_bound_is_fetched(store, monkeypatch):
    """Of an object that is too large, one byte more than allowed is read, whatever its size."""
    await store.put(ROOT + layout.ARTIFACTS, b" " * 10_000)
    fetched = []

    class Counting:
        async def stream(self, key, *, start=0, end=None):
            async for piece in store.stream(key, start=start, end=end):
                fetched.append(len(piece))
                yield piece

    counting: Any = Counting()
    monkeypatch.setattr(manifests, "MAX_BYTES", 100)
    with pytest.raises(errors.Misconfigured, match="more than 100 bytes"):
        await manifests.read(counting, ROOT)
    assert sum(fetched) == 101


async def test_what_could_not_be_read_is_not_written(store):
    """A path that leads out of the tree is refused by the writer already."""
    with pytest.raises(errors.FixRequest, match=r"the path '\.\./a'"):
        await manifests.write(store, ROOT, Manifest(artifacts=(Artifact(path="../a", key="k", size=0),)))
    assert await manifests.read(store, ROOT) is None


async def test_a_large_manifest_does_not_stop_others(store, monkeypatch):
    """Checking many files is done outside the event loop, and gives the same."""
    monkeypatch.setattr(manifests, "_IN_A_THREAD_BYTES", 10)
    assert await manifests.write(store, ROOT, FETCHED)
    assert await manifests.read(store, ROOT) == FETCHED
    with pytest.raises(errors.FixRequest, match="the path"):
        await manifests.write(store, ROOT, Manifest(artifacts=(Artifact(path="/a", key="k", size=0),)))
