"""A log that was restored from a backup continues under a new epoch, and what it holds keeps its positions."""

from __future__ import annotations

import pytest

from dyff.bus import topics
from dyff.bus.embedded import EmbeddedBus, EmbeddedHistory, restored
from dyff.kernel import errors, positions
from tests.roles import log
from tests.roles.aggregated import folded, running


async def test_a_restored_log_folds_on_and_a_replay_gives_the_same_bytes(tmp_path):
    """Old events keep their epoch, new ones get another; both fold into one state, twice over."""
    path, entities = tmp_path / "bus.sqlite", [log.an_evaluation() for _ in range(6)]
    async with log.opened(path) as bus, running(bus):
        before = await log.publish(bus, *map(log.create, entities))
        await folded(bus)
    for _ in range(2):
        restored.start_new_epoch(path, log.IDS)
        async with log.opened(path) as bus, running(bus):
            after = await log.publish(bus, *(log.edit(each, "EditEntityLabels", {"labels": {"a": "b"}}) for each in entities))
            await folded(bus)
            topic = await bus.topic(topics.EVENTS)
            assert {each.epoch for each in after} == {topic.epoch}
            assert all(topic.epochs.has(each) for each in (*before, *after))
            assert before[0].epoch != topic.epoch
            before += after
    assert len({each.epoch for each in before}) == 3


async def test_a_decision_on_what_the_backup_lost_is_dropped(tmp_path):
    """A controller's command that names a position of the lost end is not taken for one about the same offset of the restored log."""
    path, entity = tmp_path / "bus.sqlite", log.an_evaluation()
    async with log.opened(path) as bus, running(bus):
        await log.publish(bus, log.create(entity))
        await folded(bus)
        old = await bus.topic(topics.EVENTS)
    restored.start_new_epoch(path, log.IDS)
    async with log.opened(path) as bus, running(bus):
        [moved] = await log.publish(bus, log.status(entity, "Admitted"))
        lost = positions.Position(old.epoch, moved.partition, moved.offset)
        await log.publish(bus, log.status(entity, "Failed", decided_on=lost.text()))
        await folded(bus)
        assert (await log.latest(bus))[entity["id"]].entity["status"] == "Admitted"
        await log.publish(bus, log.status(entity, "Failed", decided_on=moved.text()))
        await folded(bus)
        assert (await log.latest(bus))[entity["id"]].entity["status"] == "Failed"


def test_what_a_client_saw_before_the_backup_is_waited_for_and_what_was_lost_is_not():
    """`Dyff-Position` of an earlier epoch counts up to where the backup was made; that of another log does not count."""
    known = positions.Epochs("c", (positions.Era("a", {0: 5, 1: 7}), positions.Era("b", {0: 9, 1: 7})))
    assert known.known("c", {0: 12}) == {0: 12}
    assert known.known("a", {0: 12, 1: 3}) == {0: 5, 1: 3}
    assert known.known("other", {0: 12}) == {}
    assert [known.at(0, offset) for offset in (4, 5, 8, 9)] == ["a", "b", "b", "c"]
    assert [known.has(positions.Position(epoch, 0, 5)) for epoch in "abc"] == [False, True, False]


async def test_the_copy_of_a_log_is_proved_and_gets_its_mark(tmp_path):
    """A restored log that loses its end is noticed, and a copy with a changed byte is refused."""
    path = tmp_path / "bus.sqlite"
    async with log.opened(path) as bus:
        await log.publish(bus, *(log.create(log.an_evaluation()) for _ in range(3)))
        ends = {number: each.end for number, each in (await bus.ranges(topics.EVENTS)).items()}
    assert restored.require_sound(path)[topics.EVENTS] == ends
    restored.start_new_epoch(path, log.IDS)
    whole = path.read_bytes()
    place = whole.index(b'"inferenceSessionReference":"s"')
    path.write_bytes(whole[:place] + b'"inferenceSessionReferencf":"s"' + whole[place + 31 :])
    with pytest.raises(errors.LogDiverged):
        restored.require_sound(path)
    path.unlink()
    with pytest.raises(errors.DyffError, match="there is no log"):
        async with EmbeddedHistory.open(path):
            pass
    with pytest.raises(errors.LogDiverged, match="acknowledged"):
        async with EmbeddedBus.open(path, clock=log.CLOCK, ids=log.IDS):
            pass
