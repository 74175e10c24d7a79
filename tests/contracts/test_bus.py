"""The contract of the bus: the same for every adapter."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from dyff.bus import port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.kernel import errors
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

PLAIN = port.TopicSpec("plain", 3, compacted=False)
COMPACTED = port.TopicSpec("compacted", 1, compacted=True)
LIMIT_BYTES = 2**20
DEADLINE_S = 30.0


class EmbeddedServer:
    """How the suite gets an embedded bus, and does to it what only an administrator does."""

    def __init__(self, folder):
        self._path = folder / "log.db"

    @asynccontextmanager
    async def connect(self):
        async with EmbeddedBus.open(self._path, clock=SystemClock(), ids=RandomIds(), max_message_bytes=LIMIT_BYTES) as bus:
            yield bus

    async def compact(self, bus, topic):
        await bus.compact(topic, lag=timedelta(seconds=-1), tombstone_lag=timedelta(seconds=-1))

    async def truncate(self, bus, topic, partition, below):
        await bus.truncate(topic, partition, below)


SERVERS = {"bus:embedded": EmbeddedServer}


@pytest.fixture(params=sorted(SERVERS))
def server(request, tmp_path):
    return SERVERS[request.param](tmp_path)


@pytest.fixture
async def bus(server):
    async with server.connect() as connected:
        await connected.create_topics([PLAIN, COMPACTED])
        yield connected


def message(value, key="k", partition=0):
    return port.Message(key.encode(), value.encode(), (), partition)


async def publish(bus, *values, key="k", partition=0, topic="plain"):
    return await bus.publish(topic, [message(value, key, partition) for value in values])


async def values_of(bus, topic="plain", partition=0, offset=None):
    """All values from `offset` on (None: from the first) to the end as of now."""
    held = (await bus.ranges(topic))[partition]
    found = []
    async with bus.read(topic, partition, held.first if offset is None else offset) as reader:
        while reader.position < held.end:
            found += await reader.poll(100, 1.0)
    return [record.value.decode() if record.value is not None else None for record in found]


class Consumer:
    """A member that starts what it is given where the group left off, and remembers everything."""

    def __init__(self, subscription, start=True):
        self.subscription = subscription
        self.held = {}
        self.revoked = []
        self.seen = defaultdict(list)
        self._start = start

    async def turn(self):
        polled = await self.subscription.poll(100, 0.05)
        for assignment in polled.revoked:
            self.held.pop(assignment.partition)
            self.revoked.append(assignment)
        for assignment in polled.assigned:
            self.held[assignment.partition] = assignment
            if self._start:
                await self.subscription.start(assignment)
        for record in polled.records:
            self.seen[record.partition].append(record.value.decode())
        return polled


async def until(condition, *consumers):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the group did not get there in time"
        for consumer in consumers:
            await consumer.turn()


# -- topics


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


# -- publishing and reading


async def test_records_come_back_whole_and_in_order(bus):
    """A record has the key, value, headers and position of its message, and the time of its appending."""
    before = time.time() * 1000
    messages = [
        port.Message(b"a", b"first", (("h", b"1"), ("h", b"2"), ("empty", b"")), 1),
        port.Message(b"b", None, (), 1),
        port.Message(b"", b"", (("z", b"\x00\xff"),), 1),
    ]
    positions = await bus.publish("plain", messages)
    async with bus.read("plain", 1, 0) as reader:
        records = await reader.poll(10, 5.0)
    assert [(r.key, r.value, r.headers, r.partition) for r in records] == [(m.key, m.value, m.headers, 1) for m in messages]
    assert [r.offset for r in records] == [p.offset for p in positions]
    assert {(p.epoch, p.partition) for p in positions} == {((await bus.topic("plain")).epoch, 1)}
    assert all(r.topic == "plain" and before - 5000 <= r.timestamp_ms <= time.time() * 1000 + 5000 for r in records)


async def test_the_key_decides_the_partition(bus):
    """Without a partition the shared partitioner decides, so that one key always has one order."""
    keys = [f"entity-{number}".encode() for number in range(50)]
    positions = await bus.publish("plain", [port.Message(key, b"v") for key in keys])
    assert [position.partition for position in positions] == [topics.partition_of(key, 3) for key in keys]
    assert {position.partition for position in positions} == {0, 1, 2}


async def test_offsets_only_grow(bus):
    """Later records of a partition have higher offsets, whoever publishes them at the same time."""
    found = []

    async def one(number):
        found.extend(await publish(bus, *(f"{number}-{each}" for each in range(5))))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    assert len({position.offset for position in found}) == 100
    values = await values_of(bus)
    assert len(values) == 100
    for number in range(20):
        assert [value for value in values if value.startswith(f"{number}-")] == [f"{number}-{each}" for each in range(5)]


async def test_publishing_nothing_is_nothing(bus):
    """An empty publish gives no positions and appends nothing."""
    assert await bus.publish("plain", []) == []
    assert await values_of(bus) == []


async def test_a_partition_that_is_not_there_is_refused(bus):
    """A message for a partition that the topic does not have fails, and nothing of the call is appended."""
    with pytest.raises(errors.NotFound):
        await bus.publish("plain", [message("x"), message("y", partition=7)])
    assert await values_of(bus) == []


async def test_too_large_a_message_is_refused(bus):
    """A message over the limit is `TooLarge`, and nothing of the call is appended."""
    with pytest.raises(errors.TooLarge, match=str(LIMIT_BYTES)):
        await bus.publish("plain", [message("small"), message("x" * LIMIT_BYTES)])
    assert await values_of(bus) == []
    await publish(bus, "x" * (LIMIT_BYTES // 2))


async def test_ranges_tell_what_is_held(bus):
    """`end` is after the last record of each partition."""
    await publish(bus, "a", "b", partition=2)
    held = await bus.ranges("plain")
    assert set(held) == {0, 1, 2}
    assert held[0].first == held[0].end
    assert len(await values_of(bus, partition=2)) == 2
    assert held[2].end > held[2].first


async def test_a_cancelled_publish_happened_or_did_not(bus):
    """After a cancellation the message is there once or not at all, and the next one follows."""
    for number in range(30):
        with anyio.move_on_after(0.0005 * (number % 4)):
            await publish(bus, f"maybe-{number}")
    await publish(bus, "last")
    values = await values_of(bus)
    assert values[-1] == "last"
    assert len(values) == len(set(values))


async def test_a_reader_waits_for_what_comes(bus):
    """`poll` returns as soon as there is a record, long before its time is up."""
    seen = []

    async def read():
        async with bus.read("plain", 0, 0) as reader:
            seen.extend(await reader.poll(10, DEADLINE_S))

    started = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.sleep(0.05)
        await publish(bus, "news")
    assert [record.value for record in seen] == [b"news"]
    assert time.monotonic() - started < DEADLINE_S / 2


async def test_a_reader_waits_no_longer_than_asked(bus):
    """Without news `poll` returns nothing when its time is up."""
    async with bus.read("plain", 0, 0) as reader:
        assert await reader.poll(10, 0.02) == ()
        assert await reader.poll(10, 0.0) == ()


async def test_a_reader_gets_at_most_what_it_asks_for(bus):
    """`max_records` bounds a poll, and `position` says where the next goes on."""
    await publish(bus, *map(str, range(10)))
    async with bus.read("plain", 0, 0) as reader:
        first = await reader.poll(4, 5.0)
        assert 1 <= len(first) <= 4
        assert reader.position == first[-1].offset + 1
    assert await values_of(bus, offset=reader.position) == list(map(str, range(len(first), 10)))


async def test_cancelling_a_poll_loses_nothing(bus):
    """A reader whose polls are cancelled at any moment still sees every record once."""
    seen = []
    async with anyio.create_task_group() as group, bus.read("plain", 0, 0) as reader:

        async def fill():
            for number in range(100):
                await publish(bus, str(number))

        group.start_soon(fill)
        deadline = time.monotonic() + DEADLINE_S
        while len(seen) < 100 and time.monotonic() < deadline:
            with anyio.move_on_after(0.002):
                seen.extend(await reader.poll(3, 1.0))
    assert [record.value.decode() for record in seen] == list(map(str, range(100)))


@pytest.mark.parametrize("offset", [-1, 4])
async def test_an_offset_outside_the_log_is_told(bus, offset):
    """Reading below the first or above the end is `OffsetOutOfRange`, with what the log holds."""
    await publish(bus, "a", "b", "c")
    with pytest.raises(errors.OffsetOutOfRange) as caught:
        async with bus.read("plain", 0, offset) as reader:
            await reader.poll(1, 0.1)
    assert (caught.value.offset, caught.value.first, caught.value.end) == (offset, 0, 3)


async def test_truncated_records_are_gone(server, bus):
    """After a truncation the log begins there, and reading below it is an error, never a silent jump."""
    await publish(bus, "a", "b", "c")
    await server.truncate(bus, "plain", 0, 2)
    assert (await bus.ranges("plain"))[0].first == 2
    assert await values_of(bus) == ["c"]
    with pytest.raises(errors.OffsetOutOfRange):
        async with bus.read("plain", 0, 1) as reader:
            await reader.poll(1, 0.1)


# -- durability


async def test_everything_is_there_after_a_reopening(server):
    """Records, offsets, log identities and committed offsets survive; the next offset goes on."""
    async with server.connect() as bus:
        await bus.create_topics([PLAIN])
        before = await publish(bus, "a", "b")
        async with bus.own("o") as owner:
            await owner.append("plain", [message("c")], port.Commit("g", "plain", 0, 2))
    async with server.connect() as bus:
        assert await values_of(bus) == ["a", "b", "c"]
        assert await bus.committed("g", "plain") == {0: 2}
        after = await publish(bus, "d")
        assert after[0].epoch == before[0].epoch
        assert after[0].offset > before[-1].offset + 1
        assert await values_of(bus) == ["a", "b", "c", "d"]


async def test_offsets_go_on_after_everything_was_truncated(server):
    """An offset is never given twice, even if nothing is left of the log when it is opened again."""
    async with server.connect() as bus:
        await bus.create_topics([PLAIN])
        await publish(bus, "a", "b")
        await server.truncate(bus, "plain", 0, 2)
    async with server.connect() as bus:
        assert (await bus.ranges("plain"))[0] == port.Range(2, 2)
        assert [position.offset for position in await publish(bus, "c")] == [2]


# -- groups


async def test_a_single_member_gets_everything(bus):
    """One member gets all partitions, and all records of each in order."""
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription)
        for partition in range(3):
            await publish(bus, "a", "b", partition=partition)
        await until(lambda: all(len(consumer.seen[each]) == 2 for each in range(3)), consumer)
    assert consumer.seen == {0: ["a", "b"], 1: ["a", "b"], 2: ["a", "b"]}


async def test_an_assignment_is_silent_until_it_is_started(bus):
    """Nothing is delivered of a partition before `start`, and `position` is None."""
    await publish(bus, "a")
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        for _ in range(3):
            await consumer.turn()
        assert not consumer.seen
        assert subscription.position(consumer.held[0]) is None
        await subscription.start(consumer.held[0], 0)
        assert subscription.position(consumer.held[0]) == 0
        await until(lambda: consumer.seen[0] == ["a"], consumer)
        assert subscription.position(consumer.held[0]) == 1


async def test_uncommitted_records_are_delivered_again(bus):
    """A member that leaves without a commit leaves its records to the next; what was committed is not repeated."""
    await publish(bus, "a", "b", "c")
    for want, commit in ((["a", "b", "c"], None), (["a", "b", "c"], 2), (["c"], 3), ([], None)):
        async with bus.subscribe("g", "plain") as subscription:
            consumer = Consumer(subscription)
            await until(lambda consumer=consumer: len(consumer.held) == 3, consumer)
            await until(lambda consumer=consumer, want=want: consumer.seen[0] == want, consumer)
            await consumer.turn()
            assert consumer.seen[0] == want
            if commit is not None:
                await subscription.commit({consumer.held[0]: commit})
    assert await bus.committed("g", "plain") == {0: 3}


async def test_groups_do_not_know_each_other(bus):
    """Each group gets every record and has offsets of its own."""
    await publish(bus, "a")
    async with bus.subscribe("one", "plain") as first, bus.subscribe("two", "plain") as second:
        consumers = Consumer(first), Consumer(second)
        await until(lambda: all(each.seen[0] == ["a"] for each in consumers), *consumers)
        await first.commit({consumers[0].held[0]: 1})
    assert await bus.committed("one", "plain") == {0: 1}
    assert await bus.committed("two", "plain") == {}


async def test_members_share_the_partitions(bus):
    """Two members have all partitions between them, none twice; when one leaves, the other gets all."""
    async with bus.subscribe("g", "plain") as stays:
        first = Consumer(stays)
        await until(lambda: len(first.held) == 3, first)
        async with bus.subscribe("g", "plain") as leaves:
            second = Consumer(leaves)
            await until(lambda: len(first.held) + len(second.held) == 3 and second.held, first, second)
            assert first.held
            assert not set(first.held) & set(second.held)
            for partition in range(3):
                await publish(bus, "shared", partition=partition)
            await until(lambda: sum(len(each.seen[p]) for each in (first, second) for p in range(3)) >= 3, first, second)
            assert all("shared" in first.seen[p] + second.seen[p] for p in range(3))
        await until(lambda: len(first.held) == 3, first)


async def test_more_members_than_partitions(bus):
    """A member may have nothing, and takes over when another leaves."""
    async with bus.subscribe("g", "compacted") as one:
        first = Consumer(one)
        await until(lambda: len(first.held) == 1, first)
        async with bus.subscribe("g", "compacted") as other:
            second = Consumer(other)
            await until(lambda: len(first.held) + len(second.held) == 1, first, second)
            idle, busy = (first, second) if not first.held else (second, first)
            assert busy.held
            assert not idle.held
    async with bus.subscribe("g", "compacted") as one:
        third = Consumer(one)
        await until(lambda: len(third.held) == 1, third)


async def test_a_partition_that_moved_has_a_new_generation(bus):
    """What the former holder still commits or starts is ignored; the new one goes on from the group's offset."""
    await publish(bus, "a", "b", key="k", partition=0)
    async with bus.subscribe("g", "compacted") as one:
        first = Consumer(one)
        await publish(bus, "a", "b", topic="compacted")
        await until(lambda: first.seen[0] == ["a", "b"], first)
        stale = first.held[0]
        await one.commit({stale: 1})
    async with bus.subscribe("g", "compacted") as other:
        second = Consumer(other)
        await until(lambda: second.seen[0] == ["b"], second)
        assert second.held[0].generation != stale.generation or second.held[0] == stale
        await other.commit({second.held[0]: 2})
        await one.commit({stale: 1})
        await one.start(stale, 0)
        assert await bus.committed("g", "compacted") == {0: 2}


async def test_a_revoked_assignment_commits_nothing(bus):
    """As soon as a partition is another member's, a commit with the old assignment is ignored."""
    for partition in range(3):
        await publish(bus, "a", "b", partition=partition)
    async with bus.subscribe("g", "plain") as one:
        first = Consumer(one)
        await until(lambda: len(first.held) == 3 and all(len(first.seen[p]) == 2 for p in range(3)), first)
        async with bus.subscribe("g", "plain") as other:
            second = Consumer(other)
            await until(lambda: second.held and len(first.held) + len(second.held) == 3, first, second)
            assert first.revoked
            await one.commit(dict.fromkeys(first.revoked, 2))
            assert await bus.committed("g", "plain") == {}
            kept = next(iter(first.held.values()))
            await one.commit({kept: 2, **dict.fromkeys(first.revoked, 2)})
            assert await bus.committed("g", "plain") == {kept.partition: 2}


async def test_a_start_offset_is_obeyed(bus):
    """`start` at an offset delivers from there, whatever is committed; at the end it waits for what comes."""
    await publish(bus, "a", "b", "c")
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        await subscription.commit({consumer.held[0]: 3})
        await subscription.start(consumer.held[0], 1)
        await until(lambda: consumer.seen[0] == ["b", "c"], consumer)
        await subscription.start(consumer.held[1], 0)
        await publish(bus, "later", partition=1)
        await until(lambda: consumer.seen[1] == ["later"], consumer)


@pytest.mark.parametrize("offset", [0, 9])
async def test_a_start_outside_the_log_is_told(server, bus, offset):
    """`start` below the first or above the end is `OffsetOutOfRange`: a group must never jump silently."""
    await publish(bus, "a", "b", "c")
    await server.truncate(bus, "plain", 0, 1)
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        with pytest.raises(errors.OffsetOutOfRange):
            await subscription.start(consumer.held[0], offset)


async def test_a_committed_offset_outside_the_log_is_told(server, bus):
    """A group whose committed offset was truncated away is not moved to what is left."""
    await publish(bus, "a", "b", "c")
    async with bus.own("o") as owner:
        await owner.append("plain", [message("d")], port.Commit("g", "plain", 0, 1))
    await server.truncate(bus, "plain", 0, 3)
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription, start=False)
        await until(lambda: len(consumer.held) == 3, consumer)
        with pytest.raises(errors.OffsetOutOfRange):
            await subscription.start(consumer.held[0])


async def test_a_waiting_member_is_woken(bus):
    """A poll that waits returns as soon as a record comes."""
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription)
        await until(lambda: len(consumer.held) == 3, consumer)
        got = []

        async def wait():
            while not got:
                got.extend((await subscription.poll(10, DEADLINE_S)).records)

        started = time.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(0.05)
            await publish(bus, "news", partition=2)
        assert [record.value for record in got] == [b"news"]
        assert time.monotonic() - started < DEADLINE_S / 2


async def test_no_partition_starves(bus):
    """A partition with much to deliver does not keep the others waiting."""
    await publish(bus, *map(str, range(50)), partition=0)
    await publish(bus, "few", partition=1)
    async with bus.subscribe("g", "plain") as subscription:
        consumer = Consumer(subscription)
        await until(lambda: len(consumer.held) == 3, consumer)
        polls = itertools.takewhile(lambda _: not consumer.seen[1], itertools.count())
        for number in polls:
            assert number < 10
            for record in (await subscription.poll(5, 1.0)).records:
                consumer.seen[record.partition].append(record.value.decode())


# -- owners


async def test_an_older_owner_is_fenced_for_good(bus):
    """Opening an owner fences the previous one of that name, and only of that name, even after the new one is gone."""
    async with bus.own("o") as zombie, bus.own("other") as unrelated:
        await zombie.append("plain", [message("before")])
        async with bus.own("o") as owner:
            with pytest.raises(errors.Fenced):
                await zombie.append("plain", [message("zombie")], port.Commit("g", "plain", 0, 9))
            await owner.append("plain", [message("owner")])
        with pytest.raises(errors.Fenced):
            await zombie.append("plain", [message("zombie")])
        await unrelated.append("plain", [message("unrelated")])
    assert await values_of(bus) == ["before", "owner", "unrelated"]
    assert await bus.committed("g", "plain") == {}


async def test_an_owner_of_an_earlier_process_is_fenced(server):
    """Fencing is durable: who was an owner before a restart is none after it, if a new one was opened."""
    async with server.connect() as bus:
        await bus.create_topics([PLAIN])
        async with bus.own("o") as owner:
            await owner.append("plain", [message("first")])
    async with server.connect() as bus, bus.own("o") as owner:
        await owner.append("plain", [message("second")])
        async with bus.own("o"):
            pass
        with pytest.raises(errors.Fenced):
            await owner.append("plain", [message("third")])
        assert await values_of(bus) == ["first", "second"]


async def test_an_append_and_its_commit_come_together(bus):
    """With a commit, the records are visible and the group's offset is moved; the positions are those of the records."""
    async with bus.own("o") as owner:
        positions = await owner.append("compacted", [message("s1"), message("s2")], port.Commit("g", "plain", 1, 7))
        assert [position.offset for position in positions] == sorted({position.offset for position in positions})
        assert await bus.committed("g", "plain") == {1: 7}
        assert await values_of(bus, "compacted") == ["s1", "s2"]
        assert await owner.append("compacted", [], port.Commit("g", "plain", 1, 8)) == []
        assert await bus.committed("g", "plain") == {1: 8}


async def test_a_refused_append_commits_nothing(bus):
    """If the records cannot be appended the offset stays."""
    async with bus.own("o") as owner:
        with pytest.raises(errors.TooLarge):
            await owner.append("plain", [message("x" * LIMIT_BYTES)], port.Commit("g", "plain", 0, 5))
        with pytest.raises(errors.NotFound):
            await owner.append("absent", [message("x")], port.Commit("g", "plain", 0, 5))
    assert await bus.committed("g", "plain") == {}


# -- compaction


async def test_compaction_keeps_the_last_of_each_key(server, bus):
    """What is left of each key is its last record, at its old offset and in the old order."""
    for number in range(30):
        await publish(bus, str(number), key=f"key-{number % 7}", topic="compacted")
    end = (await bus.ranges("compacted"))[0].end
    await server.compact(bus, "compacted")
    assert await values_of(bus, "compacted") == list(map(str, range(23, 30)))
    assert (await bus.ranges("compacted"))[0].end == end
    await publish(bus, "new", key="key-0", topic="compacted")
    await server.compact(bus, "compacted")
    assert await values_of(bus, "compacted") == [*map(str, range(23, 28)), "29", "new"]


async def test_a_tombstone_removes_its_key(server, bus):
    """After compaction nothing is left of a key whose last record has no value, in the end not even that."""
    await publish(bus, "secret", key="gone", topic="compacted")
    await publish(bus, "kept", key="kept", topic="compacted")
    await bus.publish("compacted", [port.Message(b"gone", None, (), 0)])
    await publish(bus, "last", key="other", topic="compacted")
    await server.compact(bus, "compacted")
    await server.compact(bus, "compacted")
    assert await values_of(bus, "compacted") == ["kept", "last"]


async def test_a_reader_passes_the_holes_of_compaction(server, bus):
    """A reader in the middle of a compacted log goes on behind the holes and reaches the end."""
    for number in range(20):
        await publish(bus, str(number), key=f"key-{number % 2}", topic="compacted")
    async with bus.read("compacted", 0, 0) as reader:
        assert len(await reader.poll(1, 5.0)) == 1
        await server.compact(bus, "compacted")
        seen = []
        while reader.position < (await bus.ranges("compacted"))[0].end:
            seen += await reader.poll(5, 1.0)
    assert {record.key: record.value for record in seen} == {b"key-0": b"18", b"key-1": b"19"}


async def test_other_topics_are_never_compacted(server, bus):
    """A topic that is not compacted keeps every record of a key."""
    await publish(bus, "a", "b", "c")
    await publish(bus, "x", topic="compacted")
    await server.compact(bus, "compacted")
    assert await values_of(bus) == ["a", "b", "c"]
