"""The contract of the bus: topics."""

from __future__ import annotations

import pytest

from dyff.bus import port
from dyff.kernel import errors
from tests.contracts.bus.records import COMPACTED, PLAIN, publish, values_of


async def test_creating_topics_again_is_harmless(bus):
    """Repeating `create_topics` keeps the topics, their logs' identity and their records."""
    before = await bus.topic("plain")
    await publish(bus, "kept")
    await bus.create_topics([PLAIN, COMPACTED])
    assert await bus.topic("plain") == before
    assert await values_of(bus) == ["kept"]


@pytest.mark.parametrize("spec", [port.TopicSpec("plain", 4, compacted=False), port.TopicSpec("plain", 3, compacted=True)])
async def test_a_topic_is_never_changed_by_creating_it(bus, spec):
    """Other partitions or another clean-up policy are refused, and nothing else of the call happens."""
    with pytest.raises(errors.Misconfigured, match="plain"):
        await bus.create_topics([port.TopicSpec("other", 1, compacted=False), spec])
    assert (await bus.topic("plain")).partitions == 3
    with pytest.raises(errors.NotFound):
        await bus.topic("other")


async def test_each_topic_is_a_log_of_its_own(bus):
    """Two topics have different epochs."""
    assert (await bus.topic("plain")).epoch != (await bus.topic("compacted")).epoch


async def test_an_unknown_topic_is_not_found(bus):
    """Every way to use a topic that does not exist says so."""
    for call in (bus.topic("absent"), bus.ranges("absent"), bus.committed("g", "absent"), publish(bus, "x", topic="absent")):
        with pytest.raises(errors.NotFound, match="absent"):
            await call
    for context in (bus.subscribe("g", "absent"), bus.read("absent", 0, 0), bus.read("plain", 3, 0)):
        with pytest.raises(errors.NotFound):
            async with context:
                pass
