"""The contract of the bus: what outlives a process."""

from __future__ import annotations

from dyff.bus import port
from tests.contracts.bus.records import PLAIN, message, publish, values_of


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
