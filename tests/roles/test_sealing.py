"""Sealing of finalized uploads by the orchestrator: what it copies, how it ends, and that it can be killed at any moment (ADR 18)."""

from __future__ import annotations

import hashlib

import anyio
import pytest

from dyff.consumers.orchestrator import role as orchestrator
from dyff.consumers.orchestrator import sealing
from dyff.entities import registry
from dyff.kernel import errors, settings
from dyff.objects import layout, manifests
from dyff.objects.local import LocalObjects
from tests import collisions
from tests.entities.bodies import md5
from tests.narrowing import sure
from tests.roles import world

E = [world.an_id(number) for number in range(10)]
FAST = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2), retention=settings.Retention(sweep_s=0.05))
SLOW_SWEEP = settings.Settings(orchestrator=FAST.orchestrator, retention=settings.Retention(sweep_s=3600))


def a_model(entity_id, files, **fields):
    """A model that waits for these files, by path."""
    listed = [{"path": path, "size": len(data), "digest": {"md5": md5(data)}} for path, data in files.items()]
    fields = {"source": {"kind": "Upload"}, "artifact": {"kind": "Volume", "volume": {"files": listed}}, "resources": {}, **fields}
    return world.entity("Model", entity_id, "WaitingForUpload", **fields)


class CloudLike:
    """A store that knows no SHA-256, like a cloud, and copies byte by byte; `fail` is called before each copy."""

    def __init__(self, real, fail=lambda source: None, digests=True):
        self._real, self._fail, self._digests = real, fail, digests
        self.copied = []

    def __getattr__(self, name):
        return getattr(self._real, name)

    async def head(self, key):
        info = await self._real.head(key)
        return info and type(info)(info.key, info.size_bytes, info.md5 if self._digests else None)

    async def copy(self, source, target, *, sha256):
        self._fail(source)
        data = await self._real.get(source)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise errors.DigestMismatch("changed")
        await self._real.put(target, data)
        self.copied.append(source)


@pytest.fixture
async def here(tmp_path):
    async with world.installation(tmp_path) as made:
        yield made


@pytest.fixture
def objects(tmp_path):
    return LocalObjects.open(tmp_path / "objects")


def leading(here, objects, given=SLOW_SWEEP):
    """The orchestrator, while the context lasts."""
    return world.running(orchestrator, here.bus, here.cluster, clock=here.clock, settings=given, objects=objects)


async def staged(objects, entity_id, files, plural="models"):
    for path, data in files.items():
        await objects.put(layout.staging(plural, entity_id) + path, data)


async def finalize(here, entity_id):
    await here.set_status("Model", entity_id, "WaitingForUpload", "Finalizing")


async def stored(objects, prefix=""):
    return [each.key async for each in objects.list(prefix)]


FILES = {"config.json": b"{}", "a/weights.bin": collisions.FIRST, "a/empty": b""}


@pytest.mark.parametrize("small_bytes", [sealing._SMALL_BYTES, 0])
@pytest.mark.parametrize("like", ["local", "cloud", "cloud without digests"])
async def test_files_are_sealed_under_their_sha256(here, objects, like, small_bytes, monkeypatch):
    """On every kind of store: size and both digests in the manifest, the bytes under the SHA-256, the staging prefix empty."""
    monkeypatch.setattr(sealing, "_SMALL_BYTES", small_bytes)
    store = objects if like == "local" else CloudLike(objects, digests=like == "cloud")
    await here.create(a_model(E[0], FILES))
    await staged(objects, E[0], FILES)
    async with leading(here, store):
        await finalize(here, E[0])
        await here.until_status(E[0], "Ready", None)
        manifest = await manifests.read(objects, layout.root("models", E[0]))
        await world.until(lambda: empty(objects))
    for each in sure(manifest).artifacts:
        data = FILES[each.path]
        assert (each.size, each.digest) == (len(data), {"md5": md5(data), "sha256": hashlib.sha256(data).hexdigest()})
        assert await objects.get(each.key) == data
        assert each.key == f"models/{E[0]}/.dyff/blobs/{each.digest['sha256']}"
    assert [each.path for each in sure(manifest).artifacts] == list(FILES)


async def empty(objects):
    return await stored(objects, layout.UPLOADS) == []


@pytest.mark.parametrize(
    ("there", "want"),
    [
        ({"config.json": b"{}"}, "'a/weights.bin' is missing"),
        ({**FILES, "config.json": b"[]"}, "'config.json' has 2 bytes and the MD5"),
        ({**FILES, "a/empty": b"x"}, "'a/empty' has 1 bytes"),
    ],
)
async def test_a_file_that_is_not_as_declared_ends_the_entity(here, objects, there, want):
    """`Error` with the file, what it is, and what to do; the staged files are removed and there is no manifest."""
    await here.create(a_model(E[0], FILES))
    await staged(objects, E[0], there)
    async with leading(here, CloudLike(objects, digests=False)):
        await finalize(here, E[0])
        await here.until_status(E[0], "Error", "UploadFailed")
        await world.until(lambda: empty(objects))
    (message,) = [each for each in await messages(here, E[0]) if each]
    assert want in message
    assert "Create a new Model and upload its files again." in message
    assert await objects.head(layout.root("models", E[0]) + layout.ARTIFACTS) is None


async def messages(here, entity_id):
    """The messages of the commands that changed the entity's status."""
    return [each.get("message") for each in await here.status_changes(entity_id)]


async def test_a_new_leader_continues(here, objects, monkeypatch):
    """Killed between two files, sealing is continued: what is copied stays, and the entity becomes ready."""
    monkeypatch.setattr(sealing, "_SMALL_BYTES", 0)
    files = {"a": b"first", "b": b"second"}
    await here.create(a_model(E[0], files))
    await staged(objects, E[0], files)
    reached = anyio.Event()

    def down(source):
        if source.endswith("/b"):
            reached.set()
            raise errors.Unavailable("down")

    failing = CloudLike(objects, down)
    async with leading(here, failing):
        await finalize(here, E[0])
        await reached.wait()
        await world.until(lambda: failing.copied == [layout.staging("models", E[0]) + "a"])
    assert here.said(E[0])[:2] == ("WaitingForUpload", "Finalizing")
    store = CloudLike(objects)
    async with leading(here, store):
        await here.until_status(E[0], "Ready")
    assert store.copied == [layout.staging("models", E[0]) + "b"]


async def test_a_manifest_without_its_status_is_completed(here, objects):
    """Killed between the manifest and `Ready`: the manifest stays as it is, even if other bytes are staged now."""
    await here.create(a_model(E[0], FILES))
    await staged(objects, E[0], FILES)
    row = registry.BY_KIND["Model"]
    await sealing.seal(objects, row, here.entity(E[0]), lambda: True)
    before = await objects.get(layout.root("models", E[0]) + layout.ARTIFACTS)
    await staged(objects, E[0], {"a/weights.bin": collisions.SECOND})
    async with leading(here, objects):
        await finalize(here, E[0])
        await here.until_status(E[0], "Ready")
    assert await objects.get(layout.root("models", E[0]) + layout.ARTIFACTS) == before


async def test_two_sealers_never_change_what_is_listed(objects):
    """The second finds other bytes with the same MD5: both agree on the first manifest, and its bytes stay."""
    files = {"w": collisions.FIRST}
    row, model = registry.BY_KIND["Model"], a_model(E[0], files)
    await staged(objects, E[0], files)
    slow = CloudLike(objects, digests=False)
    read, seal_first = manifests.read, sealing.seal(objects, row, model, lambda: True)

    async def after_the_first(store, root):
        found = await read(store, root)
        if store is slow:
            await seal_first
            await staged(objects, E[0], {"w": collisions.SECOND})
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(manifests, "read", after_the_first)
        await sealing.seal(slow, row, model, lambda: True)
    (artifact,) = (sure(await read(objects, layout.root("models", E[0])))).artifacts
    assert artifact.digest["sha256"] == hashlib.sha256(collisions.FIRST).hexdigest()
    assert await objects.get(artifact.key) == collisions.FIRST


async def test_a_file_that_changes_while_it_is_copied_is_not_stored(objects, monkeypatch):
    """Between hash and copy, the other file of a collision pair is put: nothing is copied, and the next attempt seals one of them."""
    monkeypatch.setattr(sealing, "_SMALL_BYTES", 0)
    row, model = registry.BY_KIND["Model"], a_model(E[0], {"w": collisions.FIRST})
    source = layout.staging("models", E[0]) + "w"
    await objects.put(source, collisions.FIRST)

    class Swapping(CloudLike):
        async def copy(self, source, target, *, sha256):
            await objects.put(source, collisions.SECOND)
            await super().copy(source, target, sha256=sha256)

    with pytest.raises(errors.Unavailable, match="was changed while it was sealed"):
        await sealing.seal(Swapping(objects, digests=False), row, model, lambda: True)
    assert await stored(objects, "models/") == []
    await sealing.seal(CloudLike(objects, digests=False), row, model, lambda: True)
    (artifact,) = (sure(await manifests.read(objects, layout.root("models", E[0])))).artifacts
    assert artifact.digest["sha256"] == hashlib.sha256(collisions.SECOND).hexdigest()


async def test_a_deletion_stops_it(here, objects, monkeypatch):
    """Deleted while its files cannot be copied: there is no more attempt, no manifest, and the staged files go."""
    monkeypatch.setattr(sealing, "_SMALL_BYTES", 0)
    await here.create(a_model(E[0], FILES))
    await staged(objects, E[0], FILES)
    tried = anyio.Event()

    def down(_):
        tried.set()
        raise errors.Unavailable("down")

    async with leading(here, CloudLike(objects, down)):
        await finalize(here, E[0])
        await tried.wait()
        await here.set_status("Model", E[0], "Deleted", "DeleteCommand")
        await world.until(lambda: empty(objects))
    assert here.said(E[0])[0] == "Deleted"
    assert await objects.head(layout.root("models", E[0]) + layout.ARTIFACTS) is None


@pytest.mark.parametrize("fault", [errors.Misconfigured("denied"), errors.OutcomeUnknown("lost"), errors.Unavailable("down")])
async def test_no_fault_of_the_store_ends_the_orchestrator(here, objects, fault, monkeypatch):
    """It is tried again until the store works; other work goes on meanwhile."""
    monkeypatch.setattr(sealing, "_SMALL_BYTES", 0)
    faults = [fault, fault]

    def failing(_):
        if faults:
            raise faults.pop()

    await here.create(a_model(E[0], {"a": b"x"}), world.a_dataset(), world.a_service())
    await staged(objects, E[0], {"a": b"x"})
    async with leading(here, CloudLike(objects, failing)):
        await finalize(here, E[0])
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        await here.until_status(E[0], "Ready")


async def test_leftovers_are_swept(here, objects):
    """What a late URL put for an entity that is sealed, deleted or unknown is removed; what is still awaited stays."""
    await here.create(a_model(E[0], FILES), a_model(E[1], FILES), a_model(E[2], FILES))
    await here.set_status("Model", E[0], "Ready")
    await here.set_status("Model", E[1], "Deleted")
    for entity_id in E[:4]:
        await staged(objects, entity_id, {"x": b"late"})
    await staged(objects, E[4], {"x": b"late"}, plural="holograms")
    async with leading(here, objects, FAST):
        await world.until(lambda: kept(objects))


async def kept(objects):
    return await stored(objects, layout.UPLOADS) == [layout.staging("models", E[2]) + "x"]
