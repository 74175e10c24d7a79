"""The orchestrator records how much the object store holds of each entity: once it has ended, and meanwhile of uploads."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from dyff.bus import topics
from dyff.consumers.common import mirror, reconciling
from dyff.consumers.orchestrator import measuring
from dyff.consumers.orchestrator import role as orchestrator
from dyff.entities import storage
from dyff.kernel import degradation, errors, settings
from dyff.objects.local import LocalObjects
from tests.roles import log, world
from tests.roles.test_sealing import a_model, finalize, staged

E = [world.an_id(number) for number in range(10)]
GIVEN = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2), retention=settings.Retention(deleted_days=None, sweep_s=3600))


@pytest.fixture
async def here(tmp_path):
    """A log that is folded by the second version, which knows the records."""
    async with world.installation(tmp_path, version=2) as made:
        yield made


@pytest.fixture
def objects(tmp_path):
    return LocalObjects.open(tmp_path / "objects")


def leading(here, objects, bus=None):
    return world.running(orchestrator, bus or here.bus, here.cluster, clock=here.clock, settings=GIVEN, objects=objects)


async def size(here, entity_id):
    """What is recorded of an entity that has ended, read from the log; None: nothing yet."""
    whole = (await log.latest(here.bus))[entity_id].entity
    return storage.object_bytes(whole) if storage.is_recorded(whole) else None


async def measured(here, entity_id):
    async def known():
        return await size(here, entity_id) is not None

    await world.until(known, what="the measurement")
    return await size(here, entity_id)


async def test_outputs_of_a_run_count_when_it_has_ended(here, objects):
    """All that is there, raw outputs and manifests too, of runs that succeeded and of runs that failed."""
    await here.create(world.an_evaluation(E[1], "Complete"), world.an_evaluation(E[2], "Failed"), world.an_evaluation(E[3], "Complete"))
    await objects.put(f"outputs/{E[1]}/data/a/part.parquet", b"x" * 1000)
    await objects.put(f"outputs/{E[1]}/.dyff/artifacts.json", b"{}")
    await objects.put(f"outputs/{E[2]}/data/a/part.parquet", b"x" * 30)
    async with leading(here, objects):
        assert [await measured(here, each) for each in E[1:4]] == [1002, 30, 0]


async def test_a_sealed_upload_counts_what_is_stored(here, objects):
    """The sealed files and the manifest, not the staged ones, which are removed."""
    files = {"a": b"12345", "b": b"678"}
    await here.create(a_model(E[1], files))
    await staged(objects, E[1], files)
    await finalize(here, E[1])
    async with leading(here, objects):
        found = await measured(here, E[1])
    assert found == sum([each.size_bytes async for each in objects.list(f"models/{E[1]}/")]) > 8


async def test_what_is_recorded_is_not_measured_again(here, objects):
    """A new leader records only what is missing: one command for each entity, whatever is restarted."""
    await here.create(world.an_evaluation(E[1], "Complete"))
    async with leading(here, objects):
        await measured(here, E[1])
    await objects.put(f"outputs/{E[1]}/late", b"x")
    await here.create(world.an_evaluation(E[2], "Complete"))
    async with leading(here, objects):
        await measured(here, E[2])
    assert await size(here, E[1]) == 0


async def test_a_store_that_does_not_answer_is_asked_again(here, objects, monkeypatch):
    """One entity that cannot be measured does not keep others from it, and is measured later; the orchestrator serves on."""
    await here.create(world.an_evaluation(E[1], "Complete"), world.an_evaluation(E[2], "Complete"))
    await objects.put(f"outputs/{E[1]}/a", b"x")
    fails = [True]

    class Failing:
        def __getattr__(self, name):
            return getattr(objects, name)

        async def list(self, prefix):
            if fails[0] and E[1] in prefix:
                raise errors.Unavailable("not now")
            async for each in objects.list(prefix):
                yield each

    monkeypatch.setattr(degradation, "_delays", lambda _: iter(lambda: 0.05, None))
    async with leading(here, Failing()):
        assert await measured(here, E[2]) == 0
        assert await size(here, E[1]) is None
        fails[0] = False
        assert await measured(here, E[1]) == 1


@asynccontextmanager
async def hands(here, objects):
    """The measuring alone, to call it pass by pass, and the mirror that it looks at."""
    folded = mirror.StateMirror(here.bus)

    async def append(messages):
        return await here.bus.publish(topics.EVENTS, messages)

    async with anyio.create_task_group() as group:
        await group.start(folded.run)
        yield (
            measuring.Measuring(
                folded, objects, append, here.bus.clock_offset_s, reconciling.Trigger(), here.clock, degradation.Troubles(here.clock)
            ),
            folded,
        )
        group.cancel_scope.cancel()


async def test_uploads_in_progress_are_measured(here, objects):
    """So that they count after a restart of the api, too; again only when that has changed."""
    async with hands(here, objects) as (work, folded):
        await here.create(
            world.entity("Dataset", E[1], "WaitingForUpload", artifacts=[]), world.entity("Dataset", E[2], "WaitingForUpload")
        )
        await staged(objects, E[1], {"a": b"12", "b": b"345"}, "datasets")
        await folded.wait_current()
        assert [await work.staged(), await work.staged()] == [1, 0]
        assert storage.object_bytes(folded.get(E[1]).entity) == 5
        await objects.delete_tree(f"uploads/datasets/{E[1]}/")
        assert [await work.staged(), await work.staged()] == [1, 0]
        assert storage.object_bytes(folded.get(E[1]).entity) == 0


async def test_what_was_deleted_is_measured_when_its_pods_have_ended(here, objects):
    """A run that was ended by its owner can still write: it is measured a minute later."""
    async with hands(here, objects) as (work, folded):
        await here.create(world.an_evaluation(E[1]), world.an_evaluation(E[2], "Deleted", lastTransitionTime="2026-01-01T00:00:00.000000Z"))
        await here.set_status("Evaluation", E[1], "Deleted")
        await objects.put(f"outputs/{E[1]}/a", b"x")
        await folded.wait_current()
        assert await work.ended() == 1
        assert [each.entity["id"] for each in folded.unmeasured()] == [E[1]]


async def test_a_log_of_the_first_version_is_left_alone(tmp_path, objects, monkeypatch):
    """Before `dyff migrate post` the records have no effect: one batch shows it, and the rest waits."""
    monkeypatch.setattr(measuring, "BATCH", 1)
    async with world.installation(tmp_path, version=1) as old, hands(old, objects) as (work, folded):
        await old.create(*(world.an_evaluation(each, "Complete") for each in E[1:4]))
        await folded.wait_current()
        before = len(await log.records(old.bus, topics.EVENTS))
        assert await work.ended() == 0
        assert len(await log.records(old.bus, topics.EVENTS)) == before + 1
