"""The state mirror: what the orchestrator and the informer know of the folded states."""

from __future__ import annotations

import anyio
import pytest

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import role as aggregator
from dyff.consumers.common import reconciling
from dyff.consumers.common.mirror import StateMirror
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Position
from tests.narrowing import sure
from tests.roles import log


def folding_bus(bus):
    return log.running(aggregator.run, bus, clock=log.CLOCK)


def running(mirror):
    return log.running(mirror.run)


async def test_it_is_ready_when_it_knows_everything(bus):
    """At readiness all that was folded before is there: the living whole, the ended slim."""
    lives, ended = log.an_evaluation(name="n"), log.an_evaluation(name="n", labels={"a": "1"})
    async with folding_bus(bus):
        positions = await log.publish(bus, log.create(lives), log.create(ended), log.status(ended, "Complete", command_id="x"))
        await log.until(lambda: log.is_current(bus))
    mirror = StateMirror(bus)
    async with running(mirror):
        assert [each.entity for each in mirror.live()] == [lives]
        assert sure(mirror.get(lives["id"])).status_source == positions[0]
        (slim,) = mirror.ended()
        assert slim is mirror.get(ended["id"])
        assert slim.ended
        assert not sure(mirror.get(lives["id"])).ended
        assert {key: slim.entity[key] for key in ("id", "kind", "account", "status")} == {
            "id": ended["id"], "kind": "Evaluation", "account": "acc", "status": "Complete"
        }  # fmt: skip
        assert "labels" not in slim.entity
        assert slim.cost == sure(mirror.get(lives["id"])).cost == {"workflows.dyff.io/admitted": "1"}
        assert mirror.get("f" * 32) is None


async def test_it_waits_until_it_is_current(bus):
    """`wait_current` returns when all that was published before is visible, also commands that fold to nothing."""
    mirror = StateMirror(bus)
    async with running(mirror), folding_bus(bus):
        for number in range(20):
            entity = log.an_evaluation()
            await log.publish(bus, log.create(entity), log.status(log.an_evaluation(), "Ready"))
            with anyio.fail_after(log.DEADLINE_S):
                await mirror.wait_current()
            assert sure(mirror.get(entity["id"])).entity == entity
            assert sum(mirror.events_seen.values()) == 2 * (number + 1)


async def test_it_says_that_something_has_changed(bus):
    """`on_change` is called for each change, so that a trigger misses none that comes between two waits."""
    trigger = reconciling.Trigger()
    mirror = StateMirror(bus, trigger.set)
    entity = log.an_evaluation()
    async with running(mirror), folding_bus(bus):
        assert not await trigger.wait(0.01)
        await log.publish(bus, log.create(entity))
        await mirror.wait_current()
        assert await trigger.wait(0.0)
        assert not await trigger.wait(0.01)
        async with anyio.create_task_group() as group:
            group.start_soon(log.publish, bus, log.status(entity, "Admitted"))
            assert await trigger.wait(log.DEADLINE_S)
        assert sure(mirror.get(entity["id"])).entity["status"] == "Admitted"


async def test_a_restored_entity_lives_again(bus):
    """An entity moves between the ended and the living as its status says, and what is forgotten is gone."""
    entity = log.an_evaluation()
    mirror = StateMirror(bus)
    async with running(mirror), folding_bus(bus):

        async def after(command):
            await log.publish(bus, command)
            await mirror.wait_current()
            return [len(list(each)) for each in (mirror.live(), mirror.ended(), mirror.deleted())]

        assert await after(log.create(entity)) == [1, 0, 0]
        assert await after(log.status(entity, "Complete")) == [0, 1, 0]
        assert await after(log.status(entity, "Deleted")) == [0, 1, 1]
        assert await after(log.edit(entity, "RestoreEntity", {"entity": entity})) == [1, 0, 0]
        assert await after(log.status(entity, "Deleted")) == [0, 1, 1]
        assert await after(log.forget(entity)) == [0, 0, 0]
        assert mirror.get(entity["id"]) is None


async def test_an_old_state_behind_a_newer_changes_nothing(bus):
    """The state with the highest source counts, not the last one; a forgotten entity does not come back either."""
    entity, gone = log.an_evaluation(), log.an_evaluation()
    mirror = StateMirror(bus)
    async with folding_bus(bus):
        await log.publish(bus, log.create(entity), log.status(entity, "Admitted"))
        await log.publish(bus, log.create(gone), log.status(gone, "Deleted"), log.forget(gone))
        await log.until(lambda: log.is_current(bus))
    async with running(mirror):
        await bus.publish(topics.STATE, [each for each in await log.written(bus) if each.value and b'"Created"' in each.value])
        await bus.publish(topics.STATE, [port.Message(b"x", b"garbage", (), partition) for partition in range(log.PARTITIONS)])
        ends = {partition: held.end for partition, held in (await bus.ranges(topics.STATE)).items()}
        await mirror._until(mirror._read, ends)
        assert sure(mirror.get(entity["id"])).entity["status"] == "Admitted"
        assert mirror.get(gone["id"]) is None


async def test_a_state_of_a_newer_fold_stops_it(bus):
    """What a newer release folded is not planned from."""
    position = Position((await bus.topic(topics.EVENTS)).epoch, 0, 0)
    state = folding.State("Evaluation", log.an_evaluation(), position, "id", position, {}, "", folding.VERSION + 1)
    await bus.publish(topics.STATE, [envelope.state_message(state, "x")])
    with pytest.raises(BaseExceptionGroup) as caught:
        await StateMirror(bus).run()
    assert caught.group_contains(errors.NewerSchema)


async def test_an_entity_of_an_unforeseen_form_stops_nothing(bus):
    """If the cost of an entity is not known, it has none, and the mirror continues."""
    odd = {"id": log.IDS.new(), "kind": "Evaluation", "account": "acc", "status": "Created"}
    mirror = StateMirror(bus)
    async with running(mirror), folding_bus(bus):
        await log.publish(bus, log.create(odd))
        await mirror.wait_current()
        assert sure(mirror.get(odd["id"])).cost == {}
