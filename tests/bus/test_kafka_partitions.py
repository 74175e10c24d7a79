"""Someone changes topics on the broker under a running installation, as `kafka-topics` does: added partitions, another policy, deletion."""

from __future__ import annotations

import os
import uuid
from typing import Any

import anyio
import msgspec
import pytest
from aiokafka.admin import NewPartitions

from dyff.bus import evidence, port, topics
from dyff.bus.kafka import Connection, KafkaBus, added
from dyff.kernel import degradation, errors
from dyff.serve import log_topics
from tests import waiting
from tests.conftest import missing

pytestmark = pytest.mark.engines
LIMIT_S = 60.0


@pytest.fixture
async def where():
    if "DYFF_TEST_KAFKA" not in os.environ:
        missing("no Kafka: DYFF_TEST_KAFKA is not set; run make test-engines")
    made = Connection(bootstrap_servers=os.environ["DYFF_TEST_KAFKA"], prefix=f"{uuid.uuid4().hex}.")
    async with KafkaBus.open(made) as bus:
        await bus.create_topics(topics.specs(2))
        await bus.publish(topics.EVENTS, [port.Message(b"entity-%d" % number, b"{}") for number in range(40)])
        yield made


def using(where, partitions):
    used = {spec.name: spec.partitions for spec in topics.specs(partitions)}
    return msgspec.structs.replace(where, used=used)


async def grow(bus, where, topic, partitions):
    """What `kafka-topics --alter --partitions` does; returns when the brokers show it."""
    admin = await bus.administration._admin.get()
    await admin.create_partitions({where.named(topic): NewPartitions(partitions)})
    with anyio.fail_after(LIMIT_S):
        while (await bus.administration._described(topic)).partitions != partitions:
            await waiting.a_moment()


async def consumed(subscription, wanted, noticed=lambda: True, *, before=()):
    """Poll until so many records are there and something was noticed; returns the records and the partitions that were assigned.

    Nothing is committed, so after a rebalance, which a busy machine can cause, records come again. Each counts once, and none of `before`.
    """
    known = {(each.partition, each.offset) for each in before}
    found: dict[tuple[int, int], Any] = {}
    assigned: set[Any] = set()
    with anyio.fail_after(LIMIT_S):
        while len(found) < wanted or not noticed():
            polled = await subscription.poll(500, 1.0)
            for each in polled.assigned:
                assigned.add(each.partition)
                await subscription.start(each)
            found |= {place: each for each in polled.records if (place := (each.partition, each.offset)) not in known}
    return list(found.values()), assigned


async def test_added_partitions_are_not_used_and_reported(where):
    """Running and at a start: keys stay where they are, each event is consumed once, the trouble says to leave the setting."""
    troubles = degradation.Troubles()
    async with KafkaBus.open(using(where, 2), troubles) as bus, bus.subscribe("g", topics.EVENTS) as subscription:
        before, _ = await consumed(subscription, 40)
        places = {each.key: each.partition for each in before}
        await grow(bus, where, topics.EVENTS, 4)
        subscription._client._client.force_metadata_update()
        await bus.publish(topics.EVENTS, [port.Message(key, b"{}") for key in places])
        after, assigned = await consumed(subscription, 40, troubles.current, before=before)
        assert {each.key: each.partition for each in after} == places
        assert assigned <= {0, 1}
        assert (await bus.topic(topics.EVENTS)).partitions == 2
        (trouble,) = troubles.current()
        assert trouble.name == added.trouble(topics.EVENTS)
        assert "Leave bus.partitions at 2" in trouble.reason
        assert set(await bus.ranges(topics.EVENTS)) == {0, 1}
        assert await bus.amend_topics(topics.specs(2), dry_run=True) == []
    again = degradation.Troubles()
    async with KafkaBus.open(using(where, 2), again) as bus:
        await topics.require(bus, 2)
        await evidence.require(bus, 2)
        assert again.has(added.trouble(topics.EVENTS))


async def test_a_setting_that_follows_the_added_partitions_is_refused(where):
    """It would move keys; the records show the number that is right, and the message says it."""
    async with KafkaBus.open(using(where, 4)) as bus:
        for name in (topics.EVENTS, topics.STATE, topics.CHECKPOINTS):
            await grow(bus, where, name, 4)
        await topics.require(bus, 4)  # the topics agree
        with pytest.raises(errors.Misconfigured, match=r"bus\.partitions is 4.*set bus\.partitions to 2 again"):
            await evidence.require(bus, 4)


async def test_added_partitions_with_records_are_refused(where):
    """A process has used the new number, or the setting is too low: nothing is folded until a person has decided."""
    async with KafkaBus.open(where) as bus:
        await grow(bus, where, topics.EVENTS, 3)
        await bus.topic(topics.EVENTS)
        await bus.publish(topics.EVENTS, [port.Message(b"stray", b"{}", partition=2)])
    async with KafkaBus.open(using(where, 2)) as bus:
        with pytest.raises(errors.Misconfigured, match="Partitions were added"):
            await topics.require(bus, 2)
        with pytest.raises(errors.Misconfigured, match=r"events/2"):
            await bus.amend_topics(topics.specs(2))


async def test_fewer_partitions_are_refused(where):
    """A setting above what the topic has is refused, with the number to set."""
    async with KafkaBus.open(using(where, 5)) as bus:
        with pytest.raises(errors.Misconfigured, match=r"has 2 partitions, wanted are 5.*set bus\.partitions to 2 again"):
            await topics.require(bus, 5)


@pytest.mark.parametrize(
    ("topic", "config"),
    [
        (topics.STATE, {"cleanup.policy": "compact,delete", "retention.ms": "3600000"}),
        (topics.EVENTS, {"retention.ms": "3600000"}),
        (topics.EVENTS, {"cleanup.policy": "compact"}),
    ],
    ids=["retention of states", "retention of events", "compaction of events"],
)
async def test_a_changed_configuration_is_a_trouble(where, topic, config):
    """Reported with what it is and what is needed while it can still be corrected; cleared when it was."""
    troubles, specs = degradation.Troubles(), topics.specs(2)
    async with KafkaBus.open(using(where, 2), troubles) as bus:
        known: dict[Any, Any] = {}
        await log_topics.check(bus, specs, known, troubles)
        assert troubles.current() == []
        await bus.administration._set(topic, config)
        with anyio.fail_after(LIMIT_S):
            while not troubles.has(log_topics.TROUBLE):
                await log_topics.check(bus, specs, known, troubles)
        (trouble,) = troubles.current()
        assert topic in trouble.reason
        assert "dyff migrate pre" in trouble.reason
        await bus.amend_topics(specs)
        with anyio.fail_after(LIMIT_S):
            while troubles.has(log_topics.TROUBLE):
                await log_topics.check(bus, specs, known, troubles)


@pytest.mark.parametrize("partitions", [1, 2, 3])
async def test_a_topic_that_was_created_again_is_another_log(where, partitions):
    """Its offsets begin again, so what is served would be wrong. Before it is there again, its absence is reported."""
    troubles, specs = degradation.Troubles(), topics.specs(2)
    async with KafkaBus.open(using(where, 2), troubles) as bus:
        known: dict[Any, Any] = {}
        await log_topics.check(bus, specs, known, troubles)
        admin = await bus.administration._admin.get()
        await admin.delete_topics([where.named(topics.EVENTS)])
        with anyio.fail_after(LIMIT_S):
            while not troubles.has(log_topics.TROUBLE):
                await log_topics.check(bus, specs, known, troubles)
        assert "is missing" in troubles.current()[0].reason
        async with KafkaBus.open(where) as other:
            await other.create_topics([port.TopicSpec(topics.EVENTS, partitions, compacted=False)])
        with pytest.raises(errors.LogDiverged, match="created again"):
            await log_topics.check(bus, specs, known, troubles)
