"""Checkpoints: a restart reads what came after the latest one, and knows exactly what it would know if it had read all."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import checkpoints, partitions, restoring
from dyff.consumers.aggregator import role as aggregator
from dyff.entities import folding
from dyff.kernel import errors
from dyff.kernel.positions import Epochs, Position
from tests.roles import log
from tests.roles.aggregated import failure, folded, running

ENTITIES = range(8)


def key(entity):
    return f"{entity:032x}"


class Partition:
    """A partition of the states, written by hand."""

    def __init__(self, bus, epoch):
        self.bus, self.epoch, self.source = bus, epoch, 0

    def state(self, entity, source):
        at = Position(self.epoch, 0, source)
        return envelope.state_message(folding.State("Evaluation", {"id": key(entity), "at": source}, at, f"e{source}", at, {}), key(entity))

    async def write(self, entity, behind=0):
        """The next state of an entity; `behind`: as a zombie would write it, of an earlier event."""
        self.source += 1
        await self.bus.publish(topics.STATE, [self.state(entity, max(0, self.source - behind))])

    async def progress(self):
        self.source += 1
        await self.bus.publish(topics.STATE, [envelope.progress_message(Position(self.epoch, 0, self.source), "e")])

    async def garbage(self, entity):
        await self.bus.publish(topics.STATE, [port.Message(key(entity).encode(), b"garbage", (), 0)])

    async def restored(self):
        return await restoring.restore(self.bus, 0, (await self.bus.ranges(topics.STATE))[0].end, Epochs(self.epoch))

    async def restored_from_all(self):
        async def none(*_):
            return None

        with mock.patch.object(checkpoints, "read", none):
            return await self.restored()

    async def own(self, spoil=None):
        """What an owner does before it folds. `spoil`: so many of its appends of checkpoints succeed, the next ones crash."""
        left = spoil

        async def act(append, topic, messages, commit):
            nonlocal left
            if topic == topics.CHECKPOINTS and left is not None:
                if left == 0:
                    raise log.CrashError
                left -= 1
            return await append(topic, messages, commit)

        bus = log.Around(self.bus, act)
        async with bus.own(aggregator.owner_name(0)) as owner:
            states = await self.restored()
            owned = partitions.OwnedPartition(bus, owner, states, (await bus.ranges(topics.STATE))[0].end)
            await owned.republish(states.stale)
            try:
                await owned.checkpoint()
            except log.CrashError:
                assert spoil is not None


def small():
    """Checkpoints after few records, in several parts and appends, of bases as of changes."""
    stack = ExitStack()
    for name, value in (("EVERY", 1), ("SMALLEST_BASE", 20), ("PART_BYTES", 16_000), ("_AT_ONCE", 2)):
        stack.enter_context(mock.patch.object(checkpoints, name, value))
    return stack


@asynccontextmanager
async def a_partition():
    with tempfile.TemporaryDirectory() as folder:
        async with log.opened(Path(folder) / "log.db", partitions=1) as bus:
            yield Partition(bus, (await bus.topic(topics.EVENTS)).epoch)


async def seen(states):
    """All that an owner goes by."""
    messages = await states.newest([key(each).encode() for each in ENTITIES])
    highest = states.highest and (states.highest.source, states.highest.event_id)
    return {each: states.index.get(key(each).encode()) for each in ENTITIES}, messages, highest, set(states.stale), len(states.index)


STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(ENTITIES)),
    st.tuples(st.just("write"), st.sampled_from(ENTITIES), st.integers(1, 9)),
    st.tuples(st.just("progress")),
    st.tuples(st.just("garbage"), st.sampled_from(ENTITIES)),
    st.tuples(st.just("own")),
    st.tuples(st.just("own"), st.integers(0, 4)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
async def test_a_checkpoint_and_its_tail_give_what_all_records_give(steps):
    """Whatever was written, by whomever, and wherever an owner or its checkpoint crashed: both ways know the same."""
    with small():
        async with a_partition() as partition:
            for name, *arguments in steps:
                await getattr(partition, name)(*arguments)
            assert await seen(await partition.restored()) == await seen(await partition.restored_from_all())


async def test_a_restart_reads_what_came_after_the_checkpoint():
    """Neither the length of the history nor the number of entities is read again, but for the index."""
    with small():
        async with a_partition() as partition:
            for entity in [*ENTITIES] * 5:
                await partition.write(entity)
            await partition.own()
            assert (await partition.restored()).since == 0
            await partition.write(3)
            await partition.write(4)
            states = await partition.restored()
            assert (states.since, len(states.index)) == (2, len(ENTITIES))
            await partition.own()
            states = await partition.restored()
            assert (states.since, states.checkpoint.steps, states.checkpoint.changes) == (0, 1, 2)


async def test_many_changes_become_a_new_base():
    """What is read in addition to the tail stays in proportion to the entities."""
    with small():
        async with a_partition() as partition:
            steps = []
            for number in range(60):
                await partition.write(number % len(ENTITIES))
                await partition.own()
                steps.append((await partition.restored()).checkpoint.steps)
            assert max(steps) == 20 // checkpoints.BASE_SHARE
            assert steps.count(0) >= 8


async def test_compaction_leaves_the_checkpoint_usable():
    """Records that it was made of go away, as long as their successors are there."""
    with small():
        async with a_partition() as partition:
            for entity in [*ENTITIES] * 3:
                await partition.write(entity)
            await partition.own()
            for entity in [0, 1, 2]:
                await partition.write(entity)
            await partition.bus.compact(topics.STATE, lag=timedelta(seconds=-1))
            await partition.bus.compact(topics.CHECKPOINTS, lag=timedelta(seconds=-1))
            states = await partition.restored()
            assert states.since == 3
            assert await seen(states) == await seen(await partition.restored_from_all())


async def test_compaction_removes_what_a_new_base_replaces():
    """Old bases and their changes do not pile up."""
    with small():
        async with a_partition() as partition:
            ends = []
            for number in range(60):
                await partition.write(number % len(ENTITIES))
                await partition.own()
                await partition.bus.compact(topics.CHECKPOINTS, lag=timedelta(seconds=-1))
                async with partition.bus.read(topics.CHECKPOINTS, 0, (await partition.bus.ranges(topics.CHECKPOINTS))[0].first) as reader:
                    ends.append(len(await reader.poll(1000, 0.0)))
            assert max(ends[30:]) <= max(ends[:30])
            assert await seen(await partition.restored()) == await seen(await partition.restored_from_all())


def _of_other_events(known):
    return msgspec.structs.replace(known, events="0" * 32)


def _of_other_states(known):
    return msgspec.structs.replace(known, states="0" * 32)


def _beyond_the_end(known):
    return msgspec.structs.replace(known, upto=known.upto + 100)


def _of_other_records(known):
    anchors = tuple(msgspec.structs.replace(each, source=each.source + 1) for each in known.anchors)
    return msgspec.structs.replace(known, anchors=anchors)


def _of_no_records(known):
    return msgspec.structs.replace(known, anchors=())


@pytest.mark.parametrize("spoiled", [_of_other_events, _of_other_states, _beyond_the_end, _of_other_records, _of_no_records])
async def test_a_checkpoint_of_something_else_is_left_aside(spoiled):
    """Another log, a log that lost its tail, or one that has other records now: then all is read, and a new base is written."""
    with small():
        async with a_partition() as partition:
            for entity in ENTITIES:
                await partition.write(entity)
            known = restoring.States.known
            with mock.patch.object(restoring.States, "known", lambda *given: spoiled(known(*given))):
                await partition.own()
            states = await partition.restored()
            assert states.checkpoint is None
            assert await seen(states) == await seen(await partition.restored_from_all())
            await partition.own()
            assert (await partition.restored()).since == 0


@pytest.mark.parametrize("change", [lambda value: b"", lambda value: b"x" + value, lambda value: value[:-1] + bytes([value[-1] ^ 1])])
async def test_a_damaged_part_is_left_aside(change):
    """Bytes that changed on their way never become part of an index; the changes that follow on them are of no use either."""
    with small():
        async with a_partition() as partition:
            for entity in ENTITIES:
                await partition.write(entity)
            await partition.own()

            async def damage(append, topic, messages, commit):
                if topic == topics.CHECKPOINTS:
                    messages = [msgspec.structs.replace(each, value=change(each.value)) for each in messages]
                return await append(topic, messages, commit)

            await partition.write(1)
            real, partition.bus = partition.bus, log.Around(partition.bus, damage)
            await partition.own()
            partition.bus = real
            states = await partition.restored()
            assert states.since == 1
            assert await seen(states) == await seen(await partition.restored_from_all())
            await partition.own()
            assert await seen(await partition.restored()) == await seen(await partition.restored_from_all())


async def test_who_was_fenced_writes_no_checkpoint():
    """A paused owner that wakes cannot put what it knew over what its successor knows."""
    with small():
        async with a_partition() as partition:
            await partition.write(1)
            async with partition.bus.own(aggregator.owner_name(0)) as zombie:
                states = await partition.restored()
                owned = partitions.OwnedPartition(partition.bus, zombie, states, (await partition.bus.ranges(topics.STATE))[0].end)
                await partition.write(2)
                await partition.own()
                with pytest.raises(errors.Fenced):
                    await owned.checkpoint()
            states = await partition.restored()
            assert (states.since, len(states.index)) == (0, 2)


async def test_the_role_goes_on_from_a_checkpoint(bus):
    """A crash in the middle of one, a restart from one, and a takeover by another process fold as if there were none."""
    entities = [log.an_evaluation() for _ in range(20)]

    async def crash(append, topic, messages, commit):
        if topic == topics.CHECKPOINTS:
            raise log.CrashError
        return await append(topic, messages, commit)

    with small():
        await log.publish(bus, *map(log.create, entities))
        assert isinstance(await failure(log.Around(bus, crash)), log.CrashError)
        for status in ("Admitted", "Complete", "Deleted"):
            async with running(bus):
                await log.publish(bus, *(log.status(each, status) for each in entities))
                await folded(bus)
            for partition in range(log.PARTITIONS):
                end = (await bus.ranges(topics.STATE))[partition].end
                states = await restoring.restore(bus, partition, end, (await bus.topic(topics.EVENTS)).epochs)
                assert states.checkpoint is not None
                assert states.since < len(entities)


async def test_a_state_that_is_not_what_the_index_says_stops_loudly():
    """Whatever a checkpoint says, a state is believed only if its key and its source are those of the index."""
    async with a_partition() as partition:
        await partition.write(1)
        await partition.write(2)
        states = await partition.restored()
        states.index.put(key(1).encode(), 99, 1)
        with pytest.raises(errors.LogDiverged, match=key(1)):
            await states.newest([key(1).encode()])
        states.index.put(key(2).encode(), 99, 7)
        with pytest.raises(errors.LogDiverged, match=key(2)):
            await states.newest([key(2).encode()])
