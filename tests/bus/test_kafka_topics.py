"""How topics are kept on a broker: what somebody set otherwise is set right, and what is of no matter to us is left."""

from __future__ import annotations

import os
import uuid

import pytest

from dyff.bus import topics
from dyff.bus.kafka import Connection, KafkaBus
from dyff.bus.kafka.administration import amiss
from tests.conftest import missing

DAY_MS = str(24 * 3600 * 1000)


@pytest.mark.parametrize(
    ("found", "wanted", "wrong"),
    [
        ({"retention.ms": "604800000"}, {"retention.ms": "-1"}, {"retention.ms": "-1"}),
        ({"retention.ms": "-1"}, {"retention.ms": "-1"}, {}),
        ({}, {"min.compaction.lag.ms": DAY_MS}, {}),
        ({"min.compaction.lag.ms": "0"}, {"min.compaction.lag.ms": DAY_MS}, {"min.compaction.lag.ms": DAY_MS}),
        ({"min.compaction.lag.ms": DAY_MS + "0"}, {"min.compaction.lag.ms": DAY_MS}, {}),
        ({"max.message.bytes": "1048588"}, {"max.message.bytes": "16842752"}, {"max.message.bytes": "16842752"}),
        ({"cleanup.policy": "compact,delete"}, {"cleanup.policy": "compact"}, {"cleanup.policy": "compact"}),
        ({"segment.bytes": "1"}, {"retention.ms": "-1"}, {}),
    ],
)
def test_what_is_to_be_set(found, wanted, wrong):
    """Whatever differs, but not a longer lag or a larger limit, nor what the broker does not know."""
    assert amiss(found, wanted) == wrong


@pytest.mark.engines
async def test_what_somebody_set_otherwise_is_set_right(tmp_path):
    """Retention, policy and lag are; what an operator chose besides stays. Done again there is nothing to tell."""
    if "DYFF_TEST_KAFKA" not in os.environ:
        missing("no Kafka: DYFF_TEST_KAFKA is not set; run make test-engines")
    connection = Connection(bootstrap_servers=os.environ["DYFF_TEST_KAFKA"], prefix=f"{uuid.uuid4().hex}.")
    async with KafkaBus.open(connection) as bus:
        specs = topics.specs(2)
        await bus.create_topics(specs)
        assert await bus.amend_topics(specs, dry_run=True) == []
        await bus.administration.alter(topics.EVENTS, {"retention.ms": "1000000", "cleanup.policy": "compact", "segment.bytes": "20971520"})
        await bus.administration.alter(topics.STATE, {"cleanup.policy": "compact,delete", "min.compaction.lag.ms": str(2 * int(DAY_MS))})
        reported = await bus.amend_topics(specs, dry_run=True)
        assert f"topic {topics.EVENTS}: retention.ms is 1000000, needed is -1" in reported
        assert f"topic {topics.EVENTS}: cleanup.policy is compact, needed is delete" in reported
        assert f"topic {topics.STATE}: cleanup.policy is compact,delete, needed is compact" in reported
        assert await bus.amend_topics(specs) == reported
        assert await bus.amend_topics(specs) == []
        kept = await bus.administration._configs(topics.EVENTS)
        assert (kept["retention.ms"], kept["cleanup.policy"], kept["segment.bytes"]) == ("-1", "delete", "20971520")
        assert (await bus.administration._configs(topics.STATE))["min.compaction.lag.ms"] == str(2 * int(DAY_MS))
