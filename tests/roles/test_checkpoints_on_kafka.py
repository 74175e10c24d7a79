"""The same on a real broker: owners of several processes, one after the other, with checkpoints all the time."""

from __future__ import annotations

import os
import uuid

import pytest

from dyff.bus import topics
from dyff.bus.kafka import Connection, KafkaBus
from dyff.consumers.aggregator import restoring
from tests.conftest import missing
from tests.narrowing import sure
from tests.roles import log
from tests.roles.aggregated import folded, running
from tests.roles.test_checkpoints import small

pytestmark = pytest.mark.engines


async def test_owners_go_on_from_each_others_checkpoints():
    """Each has its own connections, as a process has; what the state topic holds is what a fresh replay writes."""
    if "DYFF_TEST_KAFKA" not in os.environ:
        missing("no Kafka: DYFF_TEST_KAFKA is not set; run make test-engines")
    connection = Connection(bootstrap_servers=os.environ["DYFF_TEST_KAFKA"], prefix=f"{uuid.uuid4().hex}.", session_timeout_s=6.0)
    entities = [log.an_evaluation() for _ in range(20)]
    with small():
        async with KafkaBus.open(connection) as bus:
            await bus.create_topics(topics.specs(log.PARTITIONS))
            await log.publish(bus, *map(log.create, entities))
        for status in ("Admitted", "Complete", "Deleted"):
            async with KafkaBus.open(connection) as bus, running(bus):
                await log.publish(bus, *(log.status(each, status) for each in entities))
                await folded(bus)
        async with KafkaBus.open(connection) as bus:
            for partition in range(log.PARTITIONS):
                end = (await bus.ranges(topics.STATE))[partition].end
                states = await restoring.restore(bus, partition, end, (await bus.topic(topics.EVENTS)).epochs)
                assert states.checkpoint is not None
                assert states.since < len(entities)
                every = await states.newest([each["id"].encode() for each in entities])
                assert {sure(states.decoded(each).entity)["status"] for each in every.values()} == {"Deleted"}
