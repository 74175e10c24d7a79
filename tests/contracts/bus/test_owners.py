"""The contract of the bus: fenced owners."""

from __future__ import annotations

import pytest

from dyff.bus import port
from dyff.kernel import errors
from tests.contracts.bus.records import LIMIT_BYTES, PLAIN, message, values_of


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


async def test_an_owner_alone_leaves_no_more_room_than_it_says(bus):
    """Between and behind its appends lie at most `spacing` offsets, so that more of them are a sign of somebody else."""
    async with bus.own("o") as owner:
        following = (await bus.ranges("plain"))[0].end
        for size in (1, 700, 1):
            positions = await owner.append("plain", [message("x" * 3000) for _ in range(size)], port.Commit("g", "plain", 0, 1))
            assert positions[0].offset - following <= owner.spacing
            following = positions[-1].offset + 1
            assert following - positions[0].offset == size
        assert (await bus.ranges("plain"))[0].end - following <= owner.spacing
        before = following
        await bus.publish("plain", [message("somebody else")])
        assert (await bus.ranges("plain"))[0].end - before > owner.spacing
        (position,) = await owner.append("plain", [message("x")])
        assert position.offset - before > owner.spacing
