"""The aggregator: a partition has one owner, who repairs what the previous one left behind."""

from __future__ import annotations

import anyio
import pytest

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import partitions
from dyff.consumers.aggregator import role as aggregator
from dyff.kernel import errors
from tests.narrowing import sure
from tests.roles import log
from tests.roles.aggregated import folded, running
from tests.roles.instead import Instead


async def test_two_share_the_work_and_one_takes_over(bus):
    """Two owners at the same time fold disjoint partitions; when one ends the other takes its partitions over, with no gap."""
    entities = [log.an_evaluation() for _ in range(40)]

    async def work(new):
        for each in entities:
            await log.publish(bus, log.create(each) if new == "Created" else log.status(each, new))

    async with running(bus):
        async with running(bus), anyio.create_task_group() as group:
            group.start_soon(work, "Created")
            # real time: the other owner comes at some moment of this one's work
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
            async with bus.own(aggregator.owner_name(partition)):
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
    assert sure(envelope.state((await log.records(bus, topics.STATE))[-1])).entity == entity


async def test_an_idle_owner_survives_a_broker_that_does_not_answer(bus, monkeypatch):
    """It only looks whether somebody else wrote; what it cannot see now it sees later."""
    monkeypatch.setattr(partitions, "LOOK_S", 0.01)
    entity, looks = log.an_evaluation(), []

    async def ranges(topic):
        if topic == topics.STATE:
            looks.append(topic)
            if len(looks) > 10:
                raise errors.Unavailable
        return await bus.ranges(topic)

    async with running(Instead(bus, ranges=ranges)):
        await log.until(lambda: _more_than(looks, 20))
        await log.publish(bus, log.create(entity))
        await folded(bus)


async def _more_than(seen, number):
    return len(seen) > number
