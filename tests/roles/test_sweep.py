"""What becomes of deleted entities: what is due, and the removal of their data on an embedded log and object store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from dyff.bus import expiry
from dyff.consumers.common.mirror import Mirrored
from dyff.consumers.orchestrator import role as orchestrator
from dyff.consumers.orchestrator import sweep
from dyff.entities import registry, storage
from dyff.kernel import degradation, errors, settings
from dyff.kernel.positions import Position
from dyff.objects.local import LocalObjects
from tests.roles import log, world

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
KEPT = timedelta(days=30)
E = [world.an_id(number) for number in range(10)]
AT_ONCE = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2), retention=settings.Retention(deleted_days=0, sweep_s=0.05))


def mirrored(entity):
    place = Position("epoch", 0, 0)
    return Mirrored(entity, place, place)


def deleted(entity_id, days, kind="Dataset", status="Deleted", **fields):
    """Deleted so many days ago."""
    return {"kind": kind, "id": entity_id, "status": status, "lastTransitionTime": (NOW - timedelta(days=days)).isoformat(), **fields}


SERVICE = {
    **world.a_session("")["inferenceService"],
    "id": E[1],
    "model": {"id": E[2]},
    "runner": {"volumeMounts": [{"kind": "Data", "data": {"source": {"kind": "Dataset", "id": E[3]}}}, {"kind": "Scratch"}]},
}
SESSION = {"inferenceService": SERVICE}
CASES = {
    "what was deleted long ago is due, the oldest first": ([deleted(E[1], 31), deleted(E[2], 40)], [], (), [E[2], E[1]]),
    "what was deleted lately stays": ([deleted(E[1], 29)], [], (), []),
    "exactly at the end of its time it is due": ([deleted(E[1], 30)], [], (), [E[1]]),
    "what is not deleted stays": ([deleted(E[1], 99, status="Failed")], [], (), []),
    "the dataset of an evaluation stays": ([deleted(E[1], 99)], [world.an_evaluation(E[9], "Admitted", dataset=E[1])], (), []),
    "so does its service": ([deleted(E[1], 99)], [world.an_evaluation(E[9], inferenceSession=SESSION)], (), []),
    "and the model that this serves": ([deleted(E[2], 99, "Model")], [world.an_evaluation(E[9], inferenceSession=SESSION)], (), []),
    "and what is mounted into it": ([deleted(E[3], 99)], [world.an_evaluation(E[9], inferenceSession=SESSION)], (), []),
    "and its session": (
        [deleted(E[4], 99, "InferenceSession")],
        [world.an_evaluation(E[9], inferenceSession=SESSION, inferenceSessionReference=E[4])],
        (),
        [],
    ),
    "a session's model stays": ([deleted(E[2], 99, "Model")], [{**world.a_session(E[9], "Admitted"), **SESSION}], (), []),
    "a waiting service's model stays": ([deleted(E[2], 99, "Model")], [world.a_service(E[9], "Created", model={"id": E[2]})], (), []),
    "a precondition stays": (
        [deleted(E[1], 99)],
        [world.an_evaluation(E[9], metadata={"preconditions": [{"id": E[1]}]})],
        (),
        [],
    ),
    "what others use does not hold up the rest": (
        [deleted(E[1], 99), deleted(E[2], 99)],
        [world.an_evaluation(E[9], dataset=E[1])],
        (),
        [E[2]],
    ),
    "a label that names it does not count": ([deleted(E[1], 99)], [world.an_evaluation(E[9], labels={"x": E[1]})], (), [E[1]]),
    "of a workflow of unknown kind every ID counts": ([deleted(E[1], 99)], [world.entity("Hologram", E[9], of=[{"it": E[1]}])], (), []),
    "so it does of one of an unforeseen form": ([deleted(E[1], 99)], [world.entity("Evaluation", E[9], data=E[1])], (), []),
    "what still has pods or a resource stays": ([deleted(E[1], 99, "Evaluation")], [], {E[1]}, []),
    "an unknown kind stays": ([deleted(E[1], 99, "Hologram")], [], (), []),
    "an ID that is none stays": ([deleted("../" + E[1], 99), deleted("", 99)], [], (), []),
    "without a time of deletion it stays": ([{**deleted(E[1], 99), "lastTransitionTime": "long ago"}], [], (), []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_due(name):
    """The case's name is the rule."""
    gone, live, busy, want = CASES[name]
    found = sweep.due(map(mirrored, gone), map(mirrored, live), busy, NOW, KEPT)
    assert [each.entity["id"] for each in found] == want


def test_every_kind_says_what_it_uses():
    """What must be there before a run starts is used by it."""
    entity = world.an_evaluation(E[9], inferenceSession=SESSION, inferenceSessionReference=E[4])
    assert registry.used(entity) >= set(registry.BY_KIND["Evaluation"].dependencies(entity))
    assert registry.used(entity) == {world.DATASET, E[1], E[2], E[3], E[4]}


@pytest.fixture
async def here(tmp_path):
    async with world.installation(tmp_path, version=2) as made:
        await made.create(world.a_dataset(), world.a_service())
        yield made


@pytest.fixture
def objects(tmp_path):
    return LocalObjects.open(tmp_path / "objects")


def leading(here, objects, given=AT_ONCE, bus=None, troubles=None):
    """The orchestrator, while the context lasts."""
    return world.running(orchestrator, bus or here.bus, here.cluster, clock=here.clock, settings=given, objects=objects, troubles=troubles)


async def stored(objects):
    return [each.key async for each in objects.list("")]


def is_forgotten(here, entity_id):
    return here.folded.get(entity_id) is None


async def test_a_deleted_entity_goes_with_all_that_is_stored(here, objects):
    """Its tree is removed, an evaluation's outputs too, then it is forgotten; others' data stay. The evaluation itself stays."""
    for key in (f"datasets/{E[1]}/.dyff/artifacts.json", f"datasets/{E[1]}/a/b", f"outputs/{E[2]}/data/x", f"evaluations/{E[2]}/y"):
        await objects.put(key, b"x")
    await objects.put(f"datasets/{world.DATASET}/a", b"x")
    await here.create(world.a_dataset(E[1]), world.an_evaluation(E[2], "Complete"))
    async with leading(here, objects):
        await here.set_status("Dataset", E[1], "Deleted")
        await here.set_status("Evaluation", E[2], "Deleted")
        await world.until(lambda: is_forgotten(here, E[1]) and not here.folded.deleted())
    assert await stored(objects) == [f"datasets/{world.DATASET}/a"]
    left = await here.whole(E[2])
    assert (left["status"], storage.of(left, 1000)) == ("Deleted", storage.Size(0, 0))


async def test_what_stays_is_removed_once(here, objects):
    """When nothing is stored of a deleted evaluation any more, the sweep leaves it alone, and a new leader does, too."""
    await here.create(world.an_evaluation(E[2], "Complete"), world.a_dataset(E[3]))
    async with leading(here, objects):
        await here.set_status("Evaluation", E[2], "Deleted")
        await world.until(lambda: not here.folded.deleted())
    source = here.folded.get(E[2]).source
    async with leading(here, objects):
        await here.set_status("Dataset", E[3], "Deleted")
        await world.until(lambda: is_forgotten(here, E[3]), what="a look of the sweep")
    assert here.folded.get(E[2]).source == source


async def test_many_go_in_one_look(here, objects, monkeypatch):
    """However many are due, nobody waits for the next look."""
    monkeypatch.setattr(sweep, "AT_ONCE", 3)
    many = [world.an_id(100 + number) for number in range(10)]
    await here.create(*(world.a_dataset(each, "Deleted", lastTransitionTime="2026-11-03T12:00:00Z") for each in many))
    once = settings.Settings(retention=settings.Retention(deleted_days=0, sweep_s=3600))
    async with leading(here, objects, once):
        await world.until(lambda: all(is_forgotten(here, each) for each in many))


async def test_data_in_use_wait_for_the_workflow(here, objects):
    """The dataset of a running evaluation is deleted, but its data are there until the run has ended."""
    key = f"datasets/{world.DATASET}/a"
    await objects.put(key, b"x")
    async with leading(here, objects):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        await here.create(world.a_dataset(E[2]))
        await here.set_status("Dataset", world.DATASET, "Deleted")
        await here.set_status("Dataset", E[2], "Deleted")
        await world.until(lambda: is_forgotten(here, E[2]), what="a look of the sweep")
        assert await stored(objects) == [key]
        await here.set_status("Evaluation", E[1], "Complete")
        await world.until(lambda: is_forgotten(here, world.DATASET))
    assert await stored(objects) == []


async def test_within_the_retention_time_nothing_goes(here, objects):
    """By default a deleted entity is kept for a month; without a time, for ever."""
    await objects.put(f"datasets/{world.DATASET}/a", b"x")
    await here.set_status("Dataset", world.DATASET, "Deleted")
    for days in (30.0, None):
        kept = settings.Settings(retention=settings.Retention(deleted_days=days, sweep_s=0.01))
        async with leading(here, objects, kept):
            # real time: nothing reports that something does not happen
            await anyio.sleep(0.2)
        assert not is_forgotten(here, world.DATASET)
    assert len(await stored(objects)) == 1


class KilledError(BaseException):
    """The process died here. No exception of a program: maintenance would try again after one."""


async def test_a_crash_between_removal_and_command_is_healed(here, objects):
    """The data are gone, the command was not given: the next one finds nothing to remove and gives the same command, once."""
    attempts = []

    async def crash(append, topic, messages, commit):
        attempts.append(dict(messages[0].headers)["dyff-id"])
        raise KilledError

    await objects.put(f"datasets/{world.DATASET}/a", b"x")
    await here.set_status("Dataset", world.DATASET, "Deleted")
    with pytest.RaisesGroup(KilledError, flatten_subgroups=True), anyio.fail_after(world.DEADLINE_S):
        async with leading(here, objects, bus=log.Around(here.bus, crash)):
            await anyio.sleep_forever()
    assert await stored(objects) == []
    assert not is_forgotten(here, world.DATASET)

    async def watched(append, topic, messages, commit):
        attempts.append(dict(messages[0].headers)["dyff-id"])
        return await append(topic, messages, commit)

    async with leading(here, objects, bus=log.Around(here.bus, watched)):
        await world.until(lambda: is_forgotten(here, world.DATASET))
    assert len(attempts) == 2
    assert len(set(attempts)) == 1


@pytest.mark.parametrize("problem", [errors.Unavailable("away"), errors.Misconfigured("deletes are refused"), PermissionError("no")])
async def test_a_store_that_refuses_is_asked_again(here, objects, problem):
    """What could not be removed is reported and not forgotten; it holds up no other and ends no role, and goes later."""
    troubles = degradation.Troubles()

    class Store:
        away = True
        list = objects.list

        async def delete_tree(self, prefix):
            if self.away and E[1] in prefix:
                raise type(problem)(*problem.args)
            await objects.delete_tree(prefix)

    store = Store()
    await objects.put(f"datasets/{E[1]}/a", b"x")
    await here.create(world.a_dataset(E[1]), world.a_dataset(E[2]))
    async with leading(here, store, troubles=troubles):
        await here.set_status("Dataset", E[1], "Deleted")
        await here.set_status("Dataset", E[2], "Deleted")
        await world.until(lambda: is_forgotten(here, E[2]))
        assert not is_forgotten(here, E[1])
        await world.until(lambda: [each.times > 2 for each in troubles.current()] == [True])
        (trouble,) = troubles.current()
        assert trouble.name == "sweep"
        assert E[1] in trouble.reason
        store.away = False
        await world.until(lambda: is_forgotten(here, E[1]))
        await world.until(lambda: not troubles.current())
    assert await stored(objects) == []


async def test_what_was_restored_meanwhile_is_not_forgotten(here, objects):
    """The command holds only for the deletion that it was decided on."""
    await here.set_status("Dataset", world.DATASET, "Deleted")
    command = sweep.forget(here.folded.get(world.DATASET), here.clock.now(), expiry.NEVER)
    entity = world.a_dataset()
    await here.publish(log.edit(entity, "RestoreEntity", {"entity": entity}), command)
    assert here.said(world.DATASET)[0] == "Ready"
    await here.set_status("Dataset", world.DATASET, "Deleted")
    await here.publish(command)
    assert not is_forgotten(here, world.DATASET)
