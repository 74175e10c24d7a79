"""The aggregator: every command is folded once, whatever crashes."""

from __future__ import annotations

import random
from datetime import timedelta

import anyio
import pytest

from dyff.bus import topics
from dyff.consumers.aggregator import checkpoints, partitions, restoring
from dyff.kernel import errors
from tests.roles import log
from tests.roles.aggregated import failure, folded, poison, running


async def test_commands_become_whole_entities(bus):
    """Each command gives the whole entity on the state topic, in the partition of its event, and the group's offset moves."""
    one, two = log.an_evaluation(), log.an_evaluation()
    async with running(bus):
        positions = await log.publish(bus, log.create(one), log.create(two), log.status(one, "Admitted"))
        await folded(bus)
    state = (await log.latest(bus))[one["id"]]
    assert state.entity["status"] == "Admitted"
    assert state.source == positions[2]
    assert (await log.latest(bus))[two["id"]].entity == two
    ends = {partition: held.end for partition, held in (await bus.ranges(topics.EVENTS)).items() if held.end}
    assert await bus.committed(partitions.GROUP, topics.EVENTS) == ends


async def test_what_was_published_before_is_folded(bus):
    """A backlog from before the start is folded from its first event on."""
    entities = [log.an_evaluation() for _ in range(700)]
    await log.publish(bus, *map(log.create, entities))
    async with running(bus):
        await folded(bus)
    assert set(await log.latest(bus)) == {each["id"] for each in entities}


async def test_a_command_that_leaves_no_state_still_moves_the_position(bus):
    """After an edit of nothing a progress record says that it was seen."""
    async with running(bus):
        await log.publish(bus, log.status(log.an_evaluation(), "Ready"))
        await log.until(lambda: log.is_current(bus))
    assert await log.states(bus) == []


async def test_a_restart_folds_nothing_twice(bus):
    """After an orderly end the next one goes on where this one stopped, with the states that it needs."""
    entity = log.an_evaluation()
    for new in ("Created", "Admitted", "Complete"):
        async with running(bus):
            await log.publish(bus, log.create(entity) if new == "Created" else log.status(entity, new))
            await folded(bus)
    assert len(await log.states(bus)) == 3


@pytest.mark.parametrize("restarted", ["before the compaction", "after the compaction"])
async def test_the_forgotten_stays_forgotten_through_a_compaction(bus, restarted):
    """However old its end is, a new creation of the same ID brings nothing back, as in a replay, and stops nothing."""
    gone = log.an_evaluation()
    async with running(bus):
        await log.publish(bus, log.create(gone), log.status(gone, "Deleted"), log.forget(gone))
        await log.publish(bus, *(log.create(log.an_evaluation()) for _ in range(20)))
        await folded(bus)

    async def compact():
        await bus.compact(topics.STATE, lag=timedelta(seconds=-1), tombstone_lag=timedelta(seconds=-1))

    if restarted == "after the compaction":
        await compact()
    async with running(bus):
        if restarted == "before the compaction":
            await compact()
        await log.publish(bus, log.status(gone, "Ready"), log.create(gone))
        await log.until(lambda: log.is_current(bus))
    assert (await log.latest(bus))[gone["id"]].entity is None


@pytest.mark.parametrize("moment", ["before the append", "between append and commit", "after the commit"])
async def test_a_crash_folds_every_command_once(bus, moment):
    """Wherever it dies, the next owner brings every event into the states exactly once."""
    entities = [log.an_evaluation() for _ in range(20)]
    await log.publish(bus, *map(log.create, entities))

    async def crash(append, topic, messages, commit):
        if moment == "between append and commit":
            await append(topic, messages)
        elif moment == "after the commit":
            await append(topic, messages, commit)
        raise log.CrashError

    assert isinstance(await failure(log.Around(bus, crash)), log.CrashError)
    async with running(bus):
        await log.publish(bus, *(log.status(each, "Admitted") for each in entities))
        await folded(bus)


async def test_an_unknown_outcome_is_looked_at(bus):
    """When an append may or may not have happened the partition is taken over again, and nothing is doubled."""
    calls = []

    async def sometimes(append, topic, messages, commit):
        calls.append(topic)
        if len(calls) == 2:
            await append(topic, messages, commit)
            raise errors.OutcomeUnknown
        if len(calls) == 4:
            raise errors.OutcomeUnknown
        return await append(topic, messages, commit)

    entities = [log.an_evaluation() for _ in range(6)]
    async with running(log.Around(bus, sometimes)):
        for each in entities:
            await log.publish(bus, log.create(each))
            await folded(bus)
    assert len(calls) > 6


async def test_a_broker_that_does_not_answer_ends_the_role(bus):
    """Nothing was appended: the supervisor starts the role again with fresh clients, and then it is folded."""

    async def refuse(append, topic, messages, commit):
        raise errors.Unavailable

    await log.publish(bus, log.create(log.an_evaluation()))
    assert isinstance(await failure(log.Around(bus, refuse)), errors.Unavailable)
    async with running(bus):
        await folded(bus)


async def test_states_that_are_not_in_memory_are_read_again(bus, monkeypatch):
    """Memory holds few states; the others come from the topic when an event needs them, also after compaction."""
    monkeypatch.setattr(restoring, "RECENT_BYTES", 2500)
    entities = [log.an_evaluation() for _ in range(30)]
    async with running(bus):
        await log.publish(bus, *map(log.create, entities))
        await folded(bus)
        await log.publish(bus, *(log.status(each, "Admitted") for each in entities))
        await folded(bus)
    await bus.compact(topics.STATE, lag=timedelta(seconds=-1))
    assert len(await log.states(bus)) == 30
    async with running(bus):
        await log.publish(bus, *(log.status(each, "Complete") for each in entities))
        await log.until(lambda: log.is_current(bus))
    want = {message.key: message for message in await log.replayed(bus)}
    assert {message.key: message for message in await log.written(bus)} == want


@pytest.mark.parametrize("every", [checkpoints.EVERY, 3])
async def test_any_history_of_crashes_replays_to_the_same_bytes(bus, monkeypatch, every):
    """Commands, repetitions, poison, crashes and takeovers in any order: the topic is what a fresh replay writes.

    So it is with checkpoints all the time, which crash as well.
    """
    monkeypatch.setattr(checkpoints, "EVERY", every)
    chance = random.Random(7)
    entities = [log.an_evaluation() for _ in range(12)]
    history = [log.create(each) for each in entities]

    async def unreliable(append, topic, messages, commit):
        dice = chance.random()
        if dice < 0.15:
            raise log.CrashError
        if dice < 0.3:
            await append(topic, messages)
            raise log.CrashError
        positions = await append(topic, messages, commit)
        if dice < 0.4:
            raise errors.OutcomeUnknown
        return positions

    for _ in range(12):
        entity = chance.choice(entities)
        history += [log.status(entity, chance.choice(["Admitted", "Complete", "Deleted"])), chance.choice(history)]
        await log.publish(bus, *history[-2:])
        await bus.publish(topics.EVENTS, [poison(entity)])
        with anyio.move_on_after(0.05):
            await failure(log.Around(bus, unreliable))
    await log.publish(bus, *(log.create(each) for each in entities))
    async with running(bus):
        await folded(bus)
