"""The embedded log as another process reads it."""

from __future__ import annotations

import anyio
import pytest

from dyff.bus.embedded import EmbeddedBus, EmbeddedHistory
from dyff.kernel import errors
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from tests.bus.logs import message, opened


def texts(records):
    return [each.value.decode() for each in records]


async def everything(history, topic="t", partition=0):
    """All records of a partition."""
    held = (await history.ranges(topic))[partition]
    found = []
    async with history.read(topic, partition, held.first) as reader:
        while reader.position < held.end:
            found += await reader.poll(7, 1.0)
    return found


async def test_it_sees_what_the_server_sees_during_and_after_its_run(tmp_path):
    """Topics, offsets and records are the same, whether the bus is open or not."""
    path = tmp_path / "log.db"
    async with opened(path) as bus, EmbeddedHistory.open(path) as history:
        await bus.publish("t", [message(f"{number}") for number in range(30)])
        await bus.truncate("t", 0, 5)
        assert await history.topic("t") == await bus.topic("t")
        assert await history.ranges("t") == await bus.ranges("t")
        meanwhile = await everything(history)
    async with EmbeddedHistory.open(path) as history:
        assert await everything(history) == meanwhile
    assert texts(meanwhile) == [f"{number}" for number in range(5, 30)]


async def test_it_waits_for_more(tmp_path):
    """A poll returns what comes within its time, and nothing after it; at the end of it nothing is lost."""
    path = tmp_path / "log.db"
    async with opened(path) as bus, EmbeddedHistory.open(path) as history, history.read("t", 0, 0) as reader:
        assert await reader.poll(10, 0.1) == ()
        assert await reader.poll(10, 0) == ()
        async with anyio.create_task_group() as group:
            group.start_soon(bus.publish, "t", [message("a")])
            assert texts(await reader.poll(10, 20)) == ["a"]
        assert reader.position == 1


async def test_what_is_not_there_is_reported(tmp_path):
    """Topic, partition and offset by the port's errors; a missing file makes none."""
    path = tmp_path / "log.db"
    with pytest.raises(errors.Misconfigured, match="there is no log"):
        async with EmbeddedHistory.open(path):
            pass
    assert list(tmp_path.iterdir()) == []
    async with opened(path), EmbeddedHistory.open(path) as history:
        with pytest.raises(errors.NotFound):
            await history.topic("u")
        with pytest.raises(errors.NotFound):
            await history.ranges("u")
        with pytest.raises(errors.NotFound):
            async with history.read("t", 9, 0):
                pass
        async with history.read("t", 0, 1) as reader:
            with pytest.raises(errors.OffsetOutOfRange):
                await reader.poll(1, 0)


async def test_a_log_that_lost_its_end_is_refused(tmp_path):
    """The evidence next to the file counts here, too."""
    path = tmp_path / "log.db"
    async with opened(path) as bus:
        await bus.publish("t", [message("a")])
    evidence = path.with_name("log.db.mark").read_bytes()
    path.unlink()
    async with EmbeddedBus.open(tmp_path / "other.db", clock=SystemClock(), ids=RandomIds()):
        pass
    (tmp_path / "other.db.mark").write_bytes(evidence)
    with pytest.raises(errors.LogDiverged, match="lost its end"):
        async with EmbeddedHistory.open(tmp_path / "other.db"):
            pass
