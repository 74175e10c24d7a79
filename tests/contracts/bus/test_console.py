"""What the api reads of the log for those who look, on every adapter: the tail of states, and the history of an entity."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import anyio

from dyff.api import history
from dyff.api.changes import tail
from dyff.api.positions import Positions
from dyff.bus import envelope, topics
from dyff.entities import commands, folding
from dyff.kernel.clock import SystemClock, iso
from dyff.kernel.ids import RandomIds
from dyff.kernel.positions import Position
from tests.contracts.bus.records import DEADLINE_S

ENTITY = {"kind": "Evaluation", "account": "me", "status": "Created"}


async def until(found: tail.Tail, end: int) -> None:
    """Wait until the tail has so many changes."""
    with anyio.fail_after(DEADLINE_S):
        while found.end < end:
            await found.moved.wait()


async def test_a_tail_has_what_was_there_and_what_comes(bus):
    """A second one, as after a restart of the server, begins with the last records, so that a position is found again."""
    await bus.create_topics(topics.specs(2))
    epoch = (await bus.topic(topics.EVENTS)).epoch

    async def publish(number: int) -> None:
        entity_id = f"{number:032x}"
        at = Position(epoch, topics.partition_of(entity_id.encode(), 2), number)
        state = folding.State("Evaluation", {**ENTITY, "id": entity_id}, at, "x", at, {}, fold_version=2)
        await bus.publish(topics.STATE, [envelope.state_message(state, entity_id)])

    for number in range(5):
        await publish(number)
    first, second = tail.Tail(bus), tail.Tail(bus)
    async with first.open():
        await first.ready()
        await until(first, 5)
        position = first.position(first.reached)
        await publish(5)
        await until(first, 6)
        assert {each.id for each in first.after(0)} == {f"{number:032x}" for number in range(6)}
    async with second.open():
        await second.ready()
        await until(second, 6)
        ends = second.begin(position)
        assert [each.id for each in second.after(second.first) if each.offset >= ends[each.partition]] == [f"{5:032x}"]


async def test_a_history_is_found_by_time_and_continued(bus, monkeypatch):
    """Among the events of others; each page goes on where the last one ended."""
    monkeypatch.setattr(history, "BATCH", 3)
    await bus.create_topics(topics.specs(1))
    clock, names = SystemClock(), RandomIds()
    entity_id = names.new()

    async def publish(command: commands.Command) -> None:
        await bus.publish(topics.EVENTS, [envelope.command_message(command)])

    async def others() -> None:
        for _ in range(7):
            await change(names.new(), "Ready")

    async def change(of: str, status: str) -> None:
        now = clock.now()
        attributes = {"status": status}
        await publish(
            commands.edit(names.new(), commands.UPDATE_STATUS, "Evaluation", of, attributes, time=now, expires=now + timedelta(hours=1))
        )

    await others()
    now = clock.now()
    entity: dict[str, Any] = {**ENTITY, "id": entity_id, "creationTime": iso(now)}
    await publish(commands.create(names.new(), entity, time=now, expires=now + timedelta(hours=1), principal="Account/me"))
    for status in ("Schedulable", "Admitted", "Complete"):
        await others()
        await change(entity_id, status)
    services: Any = SimpleNamespace(bus=bus)
    histories, found, after = history.Histories(services, Positions(services)), list[str](), None
    with anyio.fail_after(DEADLINE_S):
        while True:
            page = await histories.page({**entity, "status": "Complete"}, after, 1)
            found += [each.transition.status for each in page.entries]
            if page.next is None:
                break
            after = history.Cursor.parse(page.next.text())
    assert found == ["Created", "Schedulable", "Admitted", "Complete"]
