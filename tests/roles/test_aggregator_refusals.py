"""The aggregator: what it cannot decode it puts aside, and what would corrupt the states stops it."""

from __future__ import annotations

import pytest

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.consumers.aggregator import partitions
from dyff.consumers.aggregator import role as aggregator
from dyff.entities import folding
from dyff.kernel import degradation, errors
from dyff.kernel.positions import Position
from tests.roles import log
from tests.roles.aggregated import failure, folded, poison, running

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
    """An event that makes the fold itself fail is poison too, not the end of its partition. `/ready` reports it."""
    fold = folding.fold

    def picky(state, event, version):
        if event.command.data.get("attributes", {}).get("status") == "Cursed":
            raise TypeError("cursed")
        return fold(state, event, version)

    monkeypatch.setattr(folding, "fold", picky)
    entity, troubles = log.an_evaluation(), degradation.Troubles()
    async with running(bus, troubles=troubles):
        await log.publish(bus, log.create(entity), log.status(entity, "Cursed"), log.status(entity, "Admitted"))
        await log.until(lambda: log.is_current(bus))
    assert (await log.latest(bus))[entity["id"]].entity["status"] == "Admitted"
    (aside,) = await log.records(bus, topics.QUARANTINE)
    assert dict(aside.headers)["dyff-quarantine-reason"] == b"TypeError: cursed"
    (trouble,) = troubles.current()
    assert trouble.name == "quarantine"
    assert dict(aside.headers)["dyff-quarantine-origin"].decode() in trouble.reason


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
        assert await bus.committed(partitions.GROUP, topics.EVENTS) == {0: 1}
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
        await owner.append(topics.QUARANTINE, [], port.Commit(partitions.GROUP, topics.EVENTS, positions[0].partition, 0))
    error = await failure(bus)
    assert isinstance(error, errors.LogDiverged)
    assert "must be folded from offset 0" in error.message


async def test_a_lost_group_offset_is_not_trusted(bus):
    """The states decide: a committed offset that is ahead of them is ignored, one that is missing means the first."""
    entity = log.an_evaluation()
    positions = await log.publish(bus, log.create(entity), log.status(entity, "Admitted"))
    async with bus.own("somebody") as owner:
        await owner.append(topics.QUARANTINE, [], port.Commit(partitions.GROUP, topics.EVENTS, positions[0].partition, 2))
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
