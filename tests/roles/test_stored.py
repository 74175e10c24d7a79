"""`dyff verify --objects`: every byte of every file, every manifest, and what to do about each difference."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from dyff.consumers.orchestrator import sealing
from dyff.consumers.verification import proofs, stored
from dyff.entities import registry
from dyff.kernel import backoff, errors
from dyff.objects import hashing, layout, manifests
from dyff.objects.local import LocalObjects
from dyff.query import port as query_port
from tests import collisions
from tests.entities.bodies import md5
from tests.narrowing import sure
from tests.roles import world

FILES = {"a": b"first", "b/c": collisions.FIRST}
MODEL, EVALUATION, FETCHED, GONE = (world.an_id(number) for number in range(4))
COMMIT = "0a" * 20


def a_model(entity_id=MODEL, status="Ready"):
    listed = [{"path": path, "size": len(data), "digest": {"md5": md5(data)}} for path, data in FILES.items()]
    return world.entity(
        "Model", entity_id, status, source={"kind": "Upload"}, artifact={"kind": "Volume", "volume": {"files": listed}}, resources={}
    )


def a_fetched_model(revision=COMMIT):
    source = {"kind": "HuggingFaceHub", "huggingFaceHub": {"repoID": "org/name", "revision": revision}}
    return world.entity("Model", FETCHED, "Ready", source=source, artifact={"kind": "Volume"}, resources={})


class Scanned:
    """A query store with these entities; before the scan is complete it is fenced `fenced` times."""

    def __init__(self, entities, fenced=0):
        self._entities, self._fenced = entities, fenced

    async def scan(self):
        yield [document(each) for each in self._entities]
        if self._fenced:
            self._fenced -= 1
            raise errors.Fenced("rebuilt")


def document(entity):
    plural = registry.BY_KIND[entity["kind"]].plural
    return query_port.Scanned(query_port.Document(plural, entity["id"], 1, msgspec.json.encode(entity)), sound=True)


@pytest.fixture
async def objects(tmp_path):
    """The files of an uploaded model, an evaluation, and a fetched model."""
    store = LocalObjects.open(tmp_path / "store")
    for path, data in FILES.items():
        await store.put(layout.staging("models", MODEL) + path, data)
    await sealing.seal(store, registry.BY_KIND["Model"], a_model(), lambda: True)
    await listed(store, layout.root("outputs", EVALUATION), "verified/x/part-00000.parquet", b"rows")
    await listed(store, layout.root("models", FETCHED), ".dyff/blobs/ab", b"weights", source={"kind": "HuggingFaceHub", "commit": COMMIT})
    return store


async def listed(store, root, name, data, digest=None, **fields):
    """A tree of one file, with its manifest."""
    await store.put(root + name, data)
    artifact = manifests.Artifact(path="file", key=root + name, size=len(data), digest=digest or hashing.of(data).digest)
    await manifests.write(store, root, manifests.Manifest(artifacts=(artifact,), **fields))


EMPTY = proofs.Report("epoch", {}, 0, 0, {"events": ""}, 0, [], [])


async def verified(store, *entities, fenced=0):
    entities = entities or (a_model(), world.an_evaluation(EVALUATION, "Complete"), a_fetched_model())
    scanned: Any = Scanned(entities, fenced)
    return await stored.verify(scanned, store, EMPTY)


def said(report):
    return [(each.what, each.entity) for each in report.differences]


@pytest.mark.parametrize("fenced", [0, 2])
async def test_what_is_right_is_clean(objects, fenced):
    """Nothing differs, and the report says how much was compared, once, even if the scan has to begin again."""
    report = await verified(objects, fenced=fenced)
    assert (report.count, report.notes) == (0, [])
    assert report.objects == proofs.Stored(manifests=3, files=4, size_bytes=5 + 128 + 4 + 7)


DAMAGE = {
    "a flipped bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a cut file": lambda data: data[:-7],
    "a longer file": lambda data: data + b"\0",
    "an empty file": lambda data: b"",
    "the other file of a collision pair": lambda data: collisions.SECOND,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", ["upload", "outputs", "fetched"])
async def test_damage_is_found_whatever_the_store_remembers(objects, tmp_path, damage, place):
    """Also if size and times are as before: the file, what is there, what should be, and what to do."""
    key = {
        "upload": layout.blob(layout.root("models", MODEL), hashing.of(collisions.FIRST).sha256),
        "outputs": layout.root("outputs", EVALUATION) + "verified/x/part-00000.parquet",
        "fetched": layout.root("models", FETCHED) + ".dyff/blobs/ab",
    }[place]
    file = tmp_path / "store/objects" / key
    before, times = file.read_bytes(), file.stat()
    file.write_bytes(DAMAGE[damage](before))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (difference,) = (await verified(objects)).differences
    same_size = len(DAMAGE[damage](before)) == len(before)
    assert (difference.place, difference.what) == ("object store", "bytes" if same_size else "damaged")
    assert key in difference.there
    assert "restore it from a backup of the object store, or delete the" in difference.text()


RESULTS = {"scores": [{"name": "e", "quantity": 0.25}], "curves": [], "provenance": {"seed": 1}}


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (RESULTS, []),
        ({**RESULTS, "provenance": {"seed": 1, "image": None}}, []),
        ({**RESULTS, "scores": [{"name": "e", "quantity": 0.5}]}, ["results"]),
        ({**RESULTS, "provenance": {}, "scores": []}, ["results", "results"]),
        ([], ["malformed"]),
        (None, ["missing"]),
    ],
)
@pytest.mark.parametrize(("kind", "status"), [("Measurement", "Complete"), ("SafetyCase", "Complete"), ("Measurement", "Failed")])
async def test_results_of_runs_are_those_that_were_stored(tmp_path, there, found, kind, status):
    """What a complete entity says about its run is what the run stored; of one that failed, nothing is compared."""
    store, collection = LocalObjects.open(tmp_path / "store"), registry.BY_KIND[kind].collection
    await listed(store, layout.root(collection, MODEL), "data/file", b"rows")
    if there is not None:
        await store.put(layout.results(layout.root(collection, MODEL)), msgspec.json.encode(there))
    report = await verified(store, world.entity(kind, MODEL, status, **RESULTS))
    assert [each.what for each in report.differences] == (found if status == "Complete" else [])


@pytest.mark.parametrize("what", ["file", "manifest", "nonsense"])
async def test_what_is_missing_or_unreadable_is_found(objects, what):
    """A listed file, the manifest of an entity that has succeeded, and a manifest that is none."""
    root = layout.root("models", MODEL)
    manifest = await manifests.read(objects, root)
    match what:
        case "file":
            await objects.delete(sure(manifest).artifacts[0].key)
            want = ("missing", f"Model/{MODEL}: a")
        case "manifest":
            await objects.delete(root + layout.ARTIFACTS)
            want = ("missing", f"Model/{MODEL}: {layout.ARTIFACTS}")
        case "nonsense":
            await objects.put(root + layout.ARTIFACTS, b'{"artifacts": [')
            want = ("malformed", f"Model/{MODEL}: {layout.ARTIFACTS}")
    assert said(await verified(objects)) == [want]


async def test_a_manifest_that_is_not_what_was_declared_is_found(objects):
    """A file that is missing in it, one too many, another size or MD5, and a file of another entity."""
    root = layout.root("models", MODEL)
    first, second = (sure(await manifests.read(objects, root))).artifacts
    await objects.put(root + "other", b"other")
    wrong = {
        "none": (first,),
        "extra": (first, second, msgspec.structs.replace(first, path="c")),
        "size": (msgspec.structs.replace(first, key=root + "other", digest=hashing.of(b"other").digest), second),
        "foreign": (msgspec.structs.replace(first, key=f"outputs/{EVALUATION}/verified/x/part-00000.parquet"), second),
    }
    found = {}
    for name, artifacts in wrong.items():
        await objects.put(root + layout.ARTIFACTS, msgspec.json.encode(manifests.Manifest(artifacts=artifacts)))
        found[name] = said(await verified(objects, a_model()))
    assert found["none"] == [("manifest", f"Model/{MODEL}: b/c")]
    assert found["extra"] == [("manifest", f"Model/{MODEL}: c")]
    assert found["size"] == [("manifest", f"Model/{MODEL}: a")]
    assert ("manifest", f"Model/{MODEL}: a") in found["foreign"]


async def test_a_fetched_model_is_from_its_source(objects):
    """The commit of the manifest is the one that the entity names; a branch can be any commit."""
    assert said(await verified(objects, a_fetched_model("main"))) == []
    assert said(await verified(objects, a_fetched_model("0b" * 20))) == [("manifest", f"Model/{FETCHED}: {layout.ARTIFACTS}")]


async def test_what_has_no_files_or_loses_them_is_not_missed(objects):
    """A deleted entity, one that waits or has failed, a mock, and a kind without files need no manifest."""
    mock = world.entity("Model", GONE, "Ready", source={"kind": "Mock"}, artifact={"kind": "Mock"}, resources={})
    others = [a_model(GONE, "Deleted"), a_model(GONE, "WaitingForUpload"), mock, world.an_evaluation(GONE, "Failed"), world.a_service(GONE)]
    for each in others:
        assert said(await verified(objects, each)) == []
    assert said(await verified(objects, a_model(GONE))) == [("missing", f"Model/{GONE}: {layout.ARTIFACTS}")]


async def test_a_manifest_of_an_older_release_is_read_and_noted(tmp_path):
    """Without SHA-256 a file is compared by size and MD5, and a note says so."""
    store = LocalObjects.open(tmp_path)
    await listed(store, layout.root("outputs", EVALUATION), "verified/x/0", b"rows", digest={"md5": md5(b"rows")})
    report = await verified(store, world.an_evaluation(EVALUATION, "Complete"))
    assert (report.count, report.notes) == (0, [stored.NO_SHA256.format(1)])
    await store.put(layout.root("outputs", EVALUATION) + "verified/x/0", b"sour")
    assert said(await verified(store, world.an_evaluation(EVALUATION, "Complete"))) == [("bytes", f"Evaluation/{EVALUATION}: file")]


async def test_a_store_that_does_not_answer_is_no_difference(objects, monkeypatch):
    """It is tried again, and if it stays away the verification ends with an error that names the file."""
    real, faults = objects.stream, [errors.Unavailable("down")] * 2

    async def stream(key, **options):
        if key.endswith(".parquet") and faults:
            raise faults.pop()
        async for piece in real(key, **options):
            yield piece

    monkeypatch.setattr(objects, "stream", stream)
    monkeypatch.setattr(backoff, "delays", lambda _: iter([0.0] * 10))
    assert (await verified(objects)).count == 0
    faults += [errors.Unavailable("down")] * 100
    with pytest.raises(errors.Unavailable, match=r"part-00000\.parquet cannot be read: down"):
        await verified(objects)
