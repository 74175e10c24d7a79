"""The versions of the fold in a log: a marker switches, and restarts and verification agree. What is too large stops nothing."""

from __future__ import annotations

import pytest

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedBus, EmbeddedHistory
from dyff.consumers.aggregator import partitions, restoring
from dyff.consumers.verification import verifying
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Epochs
from dyff.query import embedded as query
from dyff.query.maintenance import EmbeddedMaintenance
from tests.roles import log
from tests.roles.aggregated import failure, folded, running


async def marked(bus, version=2):
    """The markers, as `dyff migrate post` writes them."""
    partitions_of = (await bus.topic(topics.EVENTS)).partitions
    await bus.publish(topics.EVENTS, [envelope.marker_message(version, partition) for partition in range(partitions_of)])


async def versions(bus, entity):
    """By which version each state of an entity was folded, in order."""
    return [state.fold_version for key, state in await log.states(bus) if key == entity["id"]]


async def test_a_marker_switches_the_version(bus):
    """What comes before it is folded by the old version, what comes after it by the new one, also in one batch."""
    entity = log.an_evaluation()
    await log.publish(bus, log.create(entity), log.status(entity, "Admitted"))
    await marked(bus)
    await log.publish(bus, log.status(entity, "Complete"))
    async with running(bus):
        await folded(bus)
    assert await versions(bus, entity) == [1, 1, 2]


@pytest.mark.parametrize("before", ["a state", "nothing"])
async def test_a_restart_knows_the_version(bus, before):
    """The next owner goes on by the version that the marker switched to, though it does not read the marker again."""
    entity, other = log.an_evaluation(), log.an_evaluation()
    async with running(bus):
        if before == "a state":
            await log.publish(bus, log.create(other))
        await marked(bus)
        await log.until(lambda: log.is_current(bus))
    async with running(bus):
        await log.publish(bus, log.create(entity))
        await folded(bus)
    assert await versions(bus, entity) == [2]


async def test_a_checkpoint_has_the_version(bus, monkeypatch):
    """An owner that begins at a checkpoint folds by the version that was in force there."""
    monkeypatch.setattr("dyff.consumers.aggregator.checkpoints.EVERY", 1)
    entity = log.an_evaluation()
    async with running(bus):
        await marked(bus)
        await log.publish(bus, log.create(entity))
        await folded(bus)
    epoch = (await bus.topic(topics.EVENTS)).epoch
    partition = topics.partition_of(entity["id"].encode(), log.PARTITIONS)
    restored = await restoring.restore(bus, partition, (await bus.ranges(topics.STATE))[partition].end, Epochs(epoch))
    assert restored.checkpoint is not None
    assert restored.fold_version == 2


async def test_a_marker_twice_changes_nothing(bus):
    """`dyff migrate post` may be repeated, or run by two at once."""
    entity = log.an_evaluation()
    await marked(bus)
    await log.publish(bus, log.create(entity))
    await marked(bus)
    await log.publish(bus, log.status(entity, "Admitted"))
    async with running(bus):
        await folded(bus)
    assert await versions(bus, entity) == [2, 2]


async def test_a_marker_of_a_newer_release_stops_the_partition(tmp_path):
    """A release that does not know the version folds nothing after the marker, and says which release to start."""
    entity = log.an_evaluation()
    async with log.opened(tmp_path / "log.db", 1) as bus:
        await log.publish(bus, log.create(entity))
        await marked(bus, folding.VERSION + 1)
        await log.publish(bus, log.status(entity, "Admitted"))
        error = await failure(bus)
        assert isinstance(error, errors.NewerSchema)
        assert f"fold version {folding.VERSION + 1}" in error.message
        assert (await log.latest(bus))[entity["id"]].entity["status"] == "Created"


async def test_a_release_that_knows_no_versions_stops_at_the_marker():
    """It takes the marker for an event of a newer schema, as released, and does not fold on by its own version."""
    message = envelope.marker_message(2, 0)
    record = port.Record(topics.EVENTS, 0, 5, 0, message.key, message.value, message.headers)
    with pytest.raises(errors.NewerSchema, match="schema version"):
        envelope.event(record, "epoch")


async def test_a_log_of_both_versions_verifies(tmp_path):
    """`dyff verify` folds each event by its version, and finds every state as it is, byte for byte."""
    one, two = log.an_evaluation(), log.an_evaluation()
    async with log.opened(tmp_path / "log.db") as bus, query.EmbeddedQuery.open(tmp_path / "view.sqlite"), running(bus):
        await log.publish(bus, log.create(one), log.status(one, "Admitted"))
        await folded(bus)
        await marked(bus)
        await log.publish(bus, log.status(one, "Complete"), log.create(two))
        await folded(bus)
    async with EmbeddedHistory.open(tmp_path / "log.db") as history:
        report = await verifying.verify(history, EmbeddedMaintenance(tmp_path / "view.sqlite"), patience_s=0.1)
    assert [each for each in report.differences if "query store" not in str(each)] == []
    assert report.entities == 2


LIMIT = 40_000


@pytest.mark.parametrize("version", sorted(folding.FOLDS))
async def test_a_state_that_no_log_takes_stops_nothing(tmp_path, monkeypatch, version):
    """An edit whose state would be over the log's limit has no effect, whatever the version, and the partition goes on."""
    monkeypatch.setattr(port, "MAX_MESSAGE_BYTES", LIMIT)
    entity = log.an_evaluation(note="x" * 25_000)
    async with EmbeddedBus.open(tmp_path / "log", clock=log.CLOCK, ids=log.IDS, max_message_bytes=LIMIT) as bus:
        await bus.create_topics(topics.specs(1))
        if version > 1:
            await marked(bus, version)
        large = log.edit(entity, "EditEntityDocumentation", {"documentation": {"fullPage": "y" * 25_000}})
        async with running(bus):
            await log.publish(bus, log.create(entity), large, log.status(entity, "Admitted"))
            await folded(bus)
        state = (await log.latest(bus))[entity["id"]]
        assert state.entity["status"] == "Admitted"
        assert "metadata" not in state.entity
        assert await bus.committed(partitions.GROUP, topics.EVENTS) == {0: 3 + (version > 1)}
