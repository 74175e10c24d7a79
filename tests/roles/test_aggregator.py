"""The aggregator: every command is folded once, whoever dies and whoever takes over."""

from __future__ import annotations

import random
from datetime import timedelta

import anyio
import pytest

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.consumers import aggregator, ownership, restoring
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Position
from tests.roles import log


@pytest.fixture
async def bus(tmp_path):
    async with log.opened(tmp_path / "log.db") as opened:
        yield opened


def running(bus):
    return log.running(aggregator.run, bus, clock=log.CLOCK)


async def folded(bus):
    """All that was published is folded, exactly as a replay folds it."""
    await log.until(lambda: log.is_current(bus))
    assert await log.written(bus) == await log.replayed(bus)


async def failure(bus):
    """The error that ends the role."""
    try:
        with anyio.fail_after(log.DEADLINE_S):
            async with running(bus):
                await anyio.sleep_forever()
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return error


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
    assert await bus.committed(ownership.GROUP, topics.EVENTS) == ends


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


async def test_two_share_the_work_and_one_takes_over(bus):
    """Two owners at the same time fold disjoint partitions; when one ends the other takes its partitions over, with no gap."""
    entities = [log.an_evaluation() for _ in range(40)]

    async def work(new):
        for each in entities:
            await log.publish(bus, log.create(each) if new == "Created" else log.status(each, new))

    async with running(bus):
        async with running(bus), anyio.create_task_group() as group:
            group.start_soon(work, "Created")
            await anyio.sleep(0.02)
        await work("Admitted")
        await folded(bus)
        async with running(bus):
            await work("Complete")
            await folded(bus)
    assert {state.entity["status"] for state in (await log.latest(bus)).values()} == {"Complete"}


async def test_a_fenced_owner_writes_nothing_more(bus):
    """Who was paused while another took over has its appends refused, discards what it had and joins again."""
    entity = log.an_evaluation()
    async with running(bus):
        await log.publish(bus, log.create(entity))
        await folded(bus)
        for partition in range(log.PARTITIONS):
            async with bus.own(ownership.owner_name(partition)):
                pass
        await log.publish(bus, log.status(entity, "Admitted"))
        await folded(bus)
    assert [state.entity["status"] for _, state in await log.states(bus)] == ["Created", "Admitted"]


@pytest.mark.parametrize("alive", [True, False])
async def test_a_stale_state_is_written_over(bus, alive):
    """If an old state comes behind a newer one, as a zombie's would, the owner writes the newest again: compaction keeps the last.

    A living owner notices by itself, with no event to fold; else the next one does when it takes over.
    """
    entity = log.an_evaluation()

    async def is_mended():
        return (await log.latest(bus))[entity["id"]].entity["status"] == "Admitted"

    async with running(bus):
        await log.publish(bus, log.create(entity), log.status(entity, "Admitted"))
        await folded(bus)
        if alive:
            await bus.publish(topics.STATE, (await log.written(bus))[:1])
            await log.until(is_mended)
            await log.publish(bus, log.status(entity, "Complete"))
            await log.until(lambda: log.is_current(bus))
    if not alive:
        await bus.publish(topics.STATE, (await log.written(bus))[:1])
        assert not await is_mended()
        async with running(bus):
            assert await is_mended()
    assert (await log.latest(bus))[entity["id"]].entity["status"] == ("Complete" if alive else "Admitted")


async def test_foreign_bytes_among_the_states_are_written_over(bus):
    """What is no state, but stands where one should, is replaced by the newest state."""
    entity = log.an_evaluation()
    async with running(bus):
        positions = await log.publish(bus, log.create(entity))
        await folded(bus)
    await bus.publish(topics.STATE, [port.Message(entity["id"].encode(), b"garbage", (), positions[0].partition)])
    async with running(bus):
        pass
    assert envelope.state((await log.records(bus, topics.STATE))[-1]).entity == entity


def poison(entity, value=b"{not json", headers=None):
    command = log.status(entity, "Failed")
    message = envelope.command_message(command)
    return port.Message(message.key, value, message.headers if headers is None else headers)


POISON = {
    "no JSON": lambda entity: poison(entity),
    "no object": lambda entity: poison(entity, b"[1]"),
    "deep nesting": lambda entity: poison(entity, b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "no headers": lambda entity: poison(entity, log.status(entity, "Failed").value(), ()),
    "another's key": lambda entity: poison(entity, log.status(log.an_evaluation(), "Failed").value()),
    "a tombstone": lambda entity: poison(entity, None),
    "a naive time": lambda entity: poison(
        entity, log.status(entity, "Failed").value(), (("dyff-id", b"x"), ("dyff-time", b"2026-01-01T00:00:00"), ("dyff-expires", b"x"))
    ),
    "no status": lambda entity: envelope.command_message(log.create({**entity, "status": None})),
}


@pytest.mark.parametrize("make", POISON.values(), ids=POISON)
async def test_poison_is_put_aside(bus, make):
    """What nobody can decode goes to quarantine as it was, with the reason and its place, and stops nothing."""
    entity = log.an_evaluation()
    bad = make(entity)
    async with running(bus):
        await log.publish(bus, log.create(entity))
        (position,) = await bus.publish(topics.EVENTS, [bad])
        await log.publish(bus, log.status(entity, "Admitted"))
        await log.until(lambda: log.is_current(bus))
        (last,) = await bus.publish(topics.EVENTS, [bad])
        await log.until(lambda: log.is_current(bus))
    assert [state.entity["status"] for _, state in await log.states(bus)] == ["Created", "Admitted"]
    aside = await log.records(bus, topics.QUARANTINE)
    assert [(each.key, each.value) for each in aside] == [(bad.key, bad.value)] * 2
    for record, origin in zip(aside, (position, last), strict=True):
        headers = dict(record.headers)
        assert headers["dyff-quarantine-origin"].decode() == f"{topics.EVENTS}:{origin.partition}:{origin.offset}"
        assert headers["dyff-quarantine-reason"]
        assert record.headers[: len(bad.headers)] == bad.headers


async def test_what_the_fold_cannot_take_is_put_aside(bus, monkeypatch):
    """An event that makes the fold itself fail is poison too, not the end of its partition."""
    fold = folding.fold

    def picky(state, event):
        if event.command.data.get("attributes", {}).get("status") == "Cursed":
            raise TypeError("cursed")
        return fold(state, event)

    monkeypatch.setattr(folding, "fold", picky)
    entity = log.an_evaluation()
    async with running(bus):
        await log.publish(bus, log.create(entity), log.status(entity, "Cursed"), log.status(entity, "Admitted"))
        await log.until(lambda: log.is_current(bus))
    assert (await log.latest(bus))[entity["id"]].entity["status"] == "Admitted"
    (aside,) = await log.records(bus, topics.QUARANTINE)
    assert dict(aside.headers)["dyff-quarantine-reason"] == b"TypeError: cursed"


async def test_a_newer_schema_stops_loudly(bus):
    """A command of a newer release is not skipped: what came before it is folded, then the role ends."""
    one, two = log.an_evaluation(), log.an_evaluation("0" * 32)
    newer = port.Message(one["id"].encode(), b'{"schemaVersion":"0.2","command":"CreateEntity","data":{}}', (), 0)
    first = envelope.command_message(log.create(one))
    await bus.publish(topics.EVENTS, [port.Message(first.key, first.value, first.headers, 0), newer])
    later = envelope.command_message(log.create(two))
    await bus.publish(topics.EVENTS, [port.Message(later.key, later.value, later.headers, 0)])
    for _ in range(2):
        error = await failure(bus)
        assert isinstance(error, errors.NewerSchema)
        assert f"{topics.EVENTS}/0@1" in error.message
        assert list(await log.latest(bus)) == [one["id"]]
        assert await bus.committed(ownership.GROUP, topics.EVENTS) == {0: 1}
    assert await log.records(bus, topics.QUARANTINE) == []


async def test_a_state_of_a_newer_fold_stops_loudly(bus):
    """States that a newer release folded are not overwritten by this one."""
    entity = log.an_evaluation()
    epoch = (await bus.topic(topics.EVENTS)).epoch
    (position,) = await log.publish(bus, log.create(entity))
    state = folding.State("Evaluation", entity, Position(epoch, position.partition, 0), "id", position, {}, "", folding.VERSION + 1)
    await bus.publish(topics.STATE, [envelope.state_message(state, entity["id"])])
    assert isinstance(await failure(bus), errors.NewerSchema)


async def a_state_from(bus, position, event_id="another"):
    entity = log.an_evaluation()
    state = folding.State("Evaluation", entity, position, event_id, position, {})
    await bus.publish(topics.STATE, [envelope.state_message(state, entity["id"])])


async def test_events_that_lost_their_end_stop_loudly(bus):
    """If more was folded than the log holds, new commands would be swallowed: the role ends and says so."""
    epoch = (await bus.topic(topics.EVENTS)).epoch
    await a_state_from(bus, Position(epoch, 0, 5))
    error = await failure(bus)
    assert isinstance(error, errors.LogDiverged)
    assert "lost its end" in error.message


async def test_other_events_stop_loudly(bus):
    """If the event at the highest recorded position is not the one that was folded, the role ends and says so."""
    epoch = (await bus.topic(topics.EVENTS)).epoch
    (position,) = await log.publish(bus, log.create(log.an_evaluation(), "the one"))
    await a_state_from(bus, Position(epoch, position.partition, 0))
    error = await failure(bus)
    assert isinstance(error, errors.LogDiverged)
    assert "is not another" in error.message


async def test_other_events_are_noticed_behind_progress(bus):
    """Also where the last thing folded left no state, the event there must be the one that was seen."""
    epoch = (await bus.topic(topics.EVENTS)).epoch
    (position,) = await log.publish(bus, log.create(log.an_evaluation()))
    await bus.publish(topics.STATE, [envelope.progress_message(Position(epoch, position.partition, 0), "seen then")])
    assert isinstance(await failure(bus), errors.LogDiverged)


@pytest.mark.parametrize("position", [Position("other", 0, 0), Position("", 1, 0)])
async def test_states_of_another_log_stop_loudly(bus, position):
    """States that were folded from another log, or another partition, are not mixed with this one's."""
    epoch = (await bus.topic(topics.EVENTS)).epoch
    entity = log.an_evaluation()
    source = Position(position.epoch or epoch, position.partition, position.offset)
    message = envelope.state_message(folding.State("Evaluation", entity, source, "id", source, {}), entity["id"])
    await bus.publish(topics.STATE, [port.Message(message.key, message.value, message.headers, 0)])
    error = await failure(bus)
    assert isinstance(error, errors.LogDiverged)
    assert "restored together" in error.message


async def test_events_that_are_gone_stop_loudly(bus):
    """If events were removed that are not folded, they are not skipped."""
    entity = log.an_evaluation()
    positions = await log.publish(bus, log.create(entity), log.status(entity, "Admitted"))
    await bus.truncate(topics.EVENTS, positions[0].partition, 1)
    async with bus.own("somebody") as owner:
        await owner.append(topics.QUARANTINE, [], port.Commit(ownership.GROUP, topics.EVENTS, positions[0].partition, 0))
    error = await failure(bus)
    assert isinstance(error, errors.LogDiverged)
    assert "must be folded from offset 0" in error.message


async def test_a_lost_group_offset_is_not_trusted(bus):
    """The states decide: a committed offset that is ahead of them is ignored, one that is missing means the first."""
    entity = log.an_evaluation()
    positions = await log.publish(bus, log.create(entity), log.status(entity, "Admitted"))
    async with bus.own("somebody") as owner:
        await owner.append(topics.QUARANTINE, [], port.Commit(ownership.GROUP, topics.EVENTS, positions[0].partition, 2))
    async with running(bus):
        await folded(bus)
    assert (await log.latest(bus))[entity["id"]].entity["status"] == "Admitted"


async def test_different_partition_counts_are_refused(tmp_path):
    """Events and states must have the same partitions, or an entity's states would be elsewhere."""
    specs = [port.TopicSpec(topics.EVENTS, 2, compacted=False), port.TopicSpec(topics.STATE, 3, compacted=True)]
    async with EmbeddedBus.open(tmp_path / "log.db", clock=log.CLOCK, ids=log.IDS) as bus:
        await bus.create_topics(specs)
        with pytest.raises(errors.Misconfigured, match=r"2 partitions and .* has 3"):
            await aggregator.run(bus, clock=log.CLOCK)


async def test_states_that_are_not_in_memory_are_read_again(bus, monkeypatch):
    """Memory holds few states; the others come from the topic when an event needs them, also after compaction."""
    monkeypatch.setattr(restoring, "RECENT", 2)
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


async def test_any_history_of_crashes_replays_to_the_same_bytes(bus):
    """Commands, repetitions, poison, crashes and takeovers in any order: the topic is what a fresh replay writes."""
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
