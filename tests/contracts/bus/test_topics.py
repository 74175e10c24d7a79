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


async def test_amending_makes_what_is_missing_and_reports_it(bus):
    """Looked at only, nothing is made; then it is, once; what is there keeps its records."""
    other = port.TopicSpec("other", 2, compacted=True)
    await publish(bus, "kept")
    before = await bus.topic("plain")
    assert await bus.amend_topics([PLAIN, other], dry_run=True) == ["topic other is missing"]
    with pytest.raises(errors.NotFound):
        await bus.topic("other")
    assert await bus.amend_topics([PLAIN, other]) == ["topic other is missing"]
    assert ((await bus.topic("other")).partitions, (await bus.topic("other")).compacted) == (2, True)
    assert await bus.amend_topics([PLAIN, other]) == []
    assert await bus.topic("plain") == before
    assert await values_of(bus) == ["kept"]


@pytest.mark.parametrize("partitions", [2, 4])
async def test_the_number_of_partitions_is_never_changed(bus, partitions):
    """More or fewer are refused, saying why and what to set, and nothing else of the call happens; fewer also where all have records."""
    await bus.publish("plain", [port.Message(b"key", b"value", partition=2)])
    specs = [port.TopicSpec("other", 1, compacted=False), port.TopicSpec("plain", partitions, compacted=False)]
    for call in (bus.amend_topics, bus.create_topics):
        with pytest.raises(errors.Misconfigured, match=r"plain has 3 partitions.*two partitions.*set bus\.partitions to 3"):
            await call(specs)
    assert (await bus.topic("plain")).partitions == 3
    with pytest.raises(errors.NotFound):
        await bus.topic("other")
