"""From folding to writing: one transaction on its way, and the next one, which grows meanwhile."""

from __future__ import annotations

import anyio
import pytest

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import partitions
from dyff.kernel.positions import Position
from tests.narrowing import sure
from tests.roles import log
from tests.roles.aggregated import failure, folded, running


def message(key, value=b"{}"):
    return port.Message(key, value)


def one(number, key=b"k", value=b"{}"):
    """What one event, with this offset, comes to."""
    source, state = Position("e", 0, number), message(key, value)
    return partitions.Transaction(
        number + 1,
        [state],
        [envelope.Heading(source, f"id{number}", "Evaluation")],
        len(value),
        {key: state},
        applied=1,
        seen=port.Record(topics.EVENTS, 0, number, 0, key, b"{}"),
        recorded=source,
    )


async def taken(taking):
    with anyio.fail_after(5):
        return await anext(taking)


async def test_what_is_folded_during_a_write_goes_together_into_the_next():
    """In its order, and at the position after the last."""
    subject = partitions.PendingWrites()
    taking = subject.take()
    await subject.put(one(0, b"a"))
    assert (await taken(taking)).position == 1
    for number, key in enumerate((b"b", b"c", b"b"), 1):
        await subject.put(one(number, key, b"%d" % number))
    later = await taken(taking)
    assert [each.value for each in later.messages] == [b"1", b"2", b"3"]
    assert [each.source.offset for each in later.headings] == [1, 2, 3]
    assert later.newest == {b"b": message(b"b", b"3"), b"c": message(b"c", b"2")}
    assert (later.position, later.seen.offset, later.recorded.offset, later.applied, later.size) == (4, 3, 3, 3, 3)


async def test_what_left_nothing_does_not_hide_what_did():
    """A passed hole moves the position only; who saw the last record, and the last that left a state, stay known."""
    subject = partitions.PendingWrites()
    await subject.put(one(0))
    await subject.put(partitions.Transaction(9))
    done = await taken(subject.take())
    assert (done.position, done.seen.offset, done.recorded.offset) == (9, 0, 0)


async def test_the_newest_is_found_until_it_is_written():
    """First in what waits, then in what is on its way; who asks for the next transaction has written the one before."""
    subject = partitions.PendingWrites()
    taking = subject.take()
    await subject.put(one(0, b"k", b"old"))
    await taken(taking)
    assert sure(subject.newest(b"k")).value == b"old"
    await subject.put(one(1, b"k", b"new"))
    assert sure(subject.newest(b"k")).value == b"new"
    await taken(taking)
    assert sure(subject.newest(b"k")).value == b"new"
    await subject.put(one(2, b"other"))
    await taken(taking)
    assert subject.newest(b"k") is None


@pytest.mark.parametrize("bound", ["MAX_MESSAGES", "MAX_BYTES"])
async def test_folding_waits_while_the_next_transaction_is_full(monkeypatch, bound):
    """So memory is bounded, whatever the broker does; it goes on as soon as that is on its way."""
    monkeypatch.setattr(partitions, bound, 2 if bound == "MAX_MESSAGES" else 4)
    subject = partitions.PendingWrites()
    taking = subject.take()
    await subject.put(one(0))
    await taken(taking)
    await subject.put(one(1))
    went_on = anyio.Event()

    async def fill():
        await subject.put(one(2))
        went_on.set()

    async with anyio.create_task_group() as group:
        group.start_soon(fill)
        await anyio.wait_all_tasks_blocked()
        assert not went_on.is_set()
        assert len((await taken(taking)).messages) == 2
        with anyio.fail_after(5):
            await went_on.wait()


async def test_a_slow_broker_gets_larger_transactions(bus):
    """What comes during a write is folded on top of it and written at once, to the bytes of a replay."""
    sizes, writing, proceed = [], anyio.Event(), anyio.Event()

    async def slow(append, topic, messages, commit):
        if topic == topics.STATE:
            sizes.append(len(messages))
            if len(sizes) == 1:
                writing.set()
                await proceed.wait()
        return await append(topic, messages, commit)

    entity = log.an_evaluation()
    async with running(log.Around(bus, slow)):
        await log.publish(bus, log.create(entity))
        await writing.wait()
        for status in ("Admitted", "Ready", "Complete"):
            await log.publish(bus, log.status(entity, status))
            # real time: the role gathers events for a while, and what comes later is a batch of its own
            await anyio.sleep(0.3)
        proceed.set()
        await folded(bus)
    assert sizes == [1, 3]


async def test_nothing_that_was_folded_on_top_of_a_failed_write_is_written(bus):
    """The next owner folds it again, on what is really there."""
    entity, failing = log.an_evaluation(), anyio.Event()
    written = []

    async def fail_late(append, topic, messages, commit):
        if topic == topics.STATE:
            written.append(len(messages))
            failing.set()
            # real time: a write is under way for that long before it fails
            await anyio.sleep(1)
            raise log.CrashError
        return await append(topic, messages, commit)

    async def change():
        await failing.wait()
        await log.publish(bus, log.status(entity, "Admitted"))

    await log.publish(bus, log.create(entity))
    async with anyio.create_task_group() as group:
        group.start_soon(change)
        assert isinstance(await failure(log.Around(bus, fail_late)), log.CrashError)
    assert written == [1]
    assert await bus.committed(partitions.GROUP, topics.EVENTS) == {}
    async with running(bus):
        await folded(bus)
