"""The stream of changes: what is in it, where it goes on, and what ends it."""

from __future__ import annotations

import itertools
import json
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from dyff.accounts import grants
from dyff.accounts import port as accounts
from dyff.api.changes import stream, tail
from dyff.bus import envelope, port, topics
from dyff.entities import folding
from dyff.kernel.positions import Position
from tests.api.conftest import opened

OFFSETS = itertools.count(1)
ENTITY = {"kind": "Evaluation", "account": "me", "status": "Created", "creationTime": "2026-01-31T12:00:00Z"}


async def publish(world, entity_id: str, **fields: Any) -> None:
    """A folded state, as the aggregator writes it."""
    topic = await world.services.bus.topic(topics.EVENTS)
    partition = topics.partition_of(entity_id.encode(), topic.partitions)
    at = Position(topic.epoch, partition, next(OFFSETS))
    entity = {**ENTITY, "id": entity_id, **fields}
    state = folding.State(entity["kind"], entity, at, "x", at, {}, fold_version=2)
    await world.services.bus.publish(topics.STATE, [envelope.state_message(state, entity_id)])


class Events:
    """The events of one stream, as a browser reads them."""

    def __init__(self, body: Any) -> None:
        self._body, self._waiting = body, list[dict[str, Any]]()
        self.last = ""

    async def next(self) -> dict[str, Any]:
        with anyio.fail_after(10):
            while not self._waiting:
                for block in (await anext(self._body)).decode().split("\n\n")[:-1]:
                    fields = dict(line.split(": ", 1) for line in block.split("\n"))
                    self._waiting.append({"event": fields["event"], "id": fields.get("id"), **json.loads(fields["data"])})
        found = self._waiting.pop(0)
        self.last = found["id"] or self.last
        return found

    async def ids(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            each = await self.next()
            if each["event"] == "change":
                found.append(each["id"])
        return found


async def answer(world, token: str | None = None, method: str = "GET", **parameters: str):
    """The answer of the route, whose body is a stream."""
    route = next(each for each in world.app.described if each.path == "/v0/changes")
    from urllib.parse import urlencode

    headers = [(b"authorization", f"Bearer {world.admin if token is None else token}".encode())]
    scope = {"type": "http", "method": method, "path": route.path, "query_string": urlencode(parameters).encode(), "headers": headers}

    async def receive():
        await anyio.sleep_forever()

    return await world.app.lane.answer(route, scope, receive, {})


@asynccontextmanager
async def reading(world, token: str | None = None, **parameters: str):
    reply = await answer(world, token, **parameters)
    assert (reply.status, reply.media_type) == (200, "text/event-stream"), reply.body
    async with aclosing(reply.body) as body:
        events = Events(body)
        assert (await events.next())["event"] == "open"
        yield events


@pytest.fixture
def quick(monkeypatch):
    """Heartbeats at once."""
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(stream, "PAUSE_S", 0.0)


def names(world, count: int) -> list[str]:
    return [world.services.ids.new() for _ in range(count)]


async def test_a_change_comes_with_the_state_and_where_to_read_it(world):
    """Status, reason and time of the entity, the position for a read that sees it, and where a later stream goes on."""
    (one,) = names(world, 1)
    async with reading(world) as events:
        await publish(world, one, status="Failed", reason="Interrupted", lastTransitionTime="2026-01-31T13:00:00Z")
        found = await events.next()
    topic = await world.services.bus.topic(topics.STATE)
    assert found.pop("position").split(";")[0] == (await world.services.bus.topic(topics.EVENTS)).epoch
    assert found["id"] == one
    assert {key: found[key] for key in ("event", "plural", "status", "reason", "account", "time", "name")} == {
        "event": "change", "plural": "evaluations", "status": "Failed", "reason": "Interrupted", "account": "me",
        "time": "2026-01-31T13:00:00Z", "name": None,
    }  # fmt: skip
    assert topic.epoch


async def test_a_stream_goes_on_where_another_one_ended(world, quick):
    """Whatever came in between is there, once; what came before is not."""
    before, between, later = names(world, 3)
    await publish(world, before)
    async with reading(world) as events:
        heartbeat = await events.next()
        assert heartbeat["event"] == "heartbeat"
    since = position_of(heartbeat)
    await publish(world, between)
    async with reading(world, since=since) as events:
        assert await events.ids(1) == [between]
        await publish(world, later)
        assert await events.ids(1) == [later]


def position_of(event: dict[str, Any]) -> str:
    return str(event["id"])


async def test_only_what_is_wanted_and_allowed_is_there(world, quick):
    """By kind, account and ID; and never what the token may not see."""
    one, two, three, other = names(world, 4)
    reader = await world.token(grants.Grant(("evaluations",), ("get",), ("me",)))
    async with (
        reading(world, kind="datasets") as by_kind,
        reading(world, account="you,me") as by_account,
        reading(world, id=f"{three},{one}") as by_id,
        reading(world, reader) as by_token,
    ):
        await publish(world, one)
        await publish(world, two, kind="Dataset")
        await publish(world, three, account="you")
        await publish(world, other, account="them")
        await publish(world, three, account="you", status="Complete")
        assert await by_kind.ids(1) == [two]
        assert set(await by_account.ids(3)) == {one, two, three}
        assert set(await by_id.ids(2)) == {one, three}
        assert await by_token.ids(1) == [one]
        assert (await by_token.next())["event"] == "heartbeat"


async def test_a_revoked_token_ends_the_stream(world, quick):
    """Before anything else is sent, the token is checked again; the reason is the last event."""
    token = await world.token(*grants.ADMIN)
    (one,) = names(world, 1)
    async with reading(world, token) as events:
        await world.services.authority.revoke_all(world.account)
        await publish(world, one)
        last = await events.next()
        while last["event"] == "heartbeat":
            last = await events.next()
        assert (last["event"], last["why"]) == ("end", "token")
        with pytest.raises(StopAsyncIteration):
            await events.next()


async def test_other_permissions_end_the_stream(world, quick):
    """The reader must reload: what it shows may not be what it may see now."""
    account = world.services.ids.new()
    everything = (grants.Grant(("*",), ("*",), ("me", "you")),)
    await world.services.accounts.create(
        accounts.Account(id=account, name="reader", created=world.services.clock.now(), permissions=everything)
    )
    token = await world.token(*everything, account=account)
    async with reading(world, token) as events:
        await world.services.accounts.set_permissions(account, (grants.Grant(("*",), ("*",), ("me",)),), "2")
        last = await events.next()
        while last["event"] == "heartbeat":
            last = await events.next()
        assert (last["event"], last["why"]) == ("end", "permissions")


async def test_a_reader_that_is_too_slow_is_told_so(world, quick, monkeypatch):
    """The tail keeps only the last changes, however slow a reader is; it never waits, and the reader has to reload."""
    monkeypatch.setattr(tail, "MAX_CHANGES", 3)
    async with reading(world) as events:
        for each in names(world, 10):
            await publish(world, each)
        with anyio.fail_after(10):
            while world.app.changes.first < 7:
                await world.app.changes.moved.wait()
        last = await events.next()
        while last["event"] in ("heartbeat", "change"):
            last = await events.next()
        assert (last["event"], last["why"]) == ("end", "slow")


async def test_a_position_that_is_too_old_is_gone(world, quick, monkeypatch):
    """Or of another log, or of a later one; the answer says to reload. One that is none is named."""
    async with reading(world) as events:
        old = position_of(await events.next())
    monkeypatch.setattr(tail, "MAX_CHANGES", 3)
    for each in names(world, 10):
        await publish(world, each)
    with anyio.fail_after(10):
        while world.app.changes.first < 7:
            await world.app.changes.moved.wait()
    future = old.split(";")[0] + ";0=999999,1=999999"
    for since in (old, "another;0=0,1=0", future, old.split(";")[0] + ";0=0"):
        reply = await answer(world, since=since)
        assert (reply.status, b"reload" in reply.body) == (410, True)
    reply = await answer(world, since="x")
    assert reply.status == 422


@pytest.mark.parametrize(
    ("parameters", "names_"),
    [({"kind": "evaluation"}, b"evaluations"), ({"id": ",".join(map(str, range(101)))}, b"id"), ({"colour": "red"}, b"colour")],
)
async def test_what_is_wrong_is_named(world, parameters, names_):
    """An unknown kind, too many IDs, an unknown parameter."""
    reply = await answer(world, **parameters)
    assert (reply.status, names_ in reply.body) == (422, True)


async def test_without_a_token_there_is_no_stream(world):
    """It is a 401, and a HEAD has no body."""
    assert (await answer(world, "nothing")).status == 401
    assert (await answer(world, method="HEAD")).body == b""


async def test_streams_are_bounded(world, monkeypatch):
    """One more than an account may have is a 503, until one ends."""
    from dyff.api.routes import changes

    monkeypatch.setattr(changes, "MAX_STREAMS_OF_ACCOUNT", 1)
    async with reading(world):
        assert (await answer(world)).status == 503
    async with reading(world):
        pass


async def test_a_stop_ends_all_streams(tmp_path, quick):
    """A stream never ends by itself, so its last event says that the server stops; the next one is a 503."""
    async with opened(tmp_path) as world, reading(world) as events:
        world.app.changes.stop()
        last = await events.next()
        while last["event"] == "heartbeat":
            last = await events.next()
        assert (last["event"], last["why"]) == ("end", "stopping")
        assert (await answer(world)).status == 503


async def test_a_state_that_cannot_be_read_is_passed_over(world, quick):
    """Records of no kind that is known, and bytes that are no state, end nothing."""
    (one,) = names(world, 1)
    async with reading(world) as events:
        await world.services.bus.publish(
            topics.STATE, [port.Message(b"x", b"nonsense"), port.Message(b"y", b"\xff", (("dyff-source", b"?"),))]
        )
        await publish(world, one, kind="Evaluation")
        assert await events.ids(1) == [one]


async def test_many_changes_of_one_entity_are_one_event(world, monkeypatch):
    """If they follow each other closely: the last state counts."""
    (one,) = names(world, 1)
    monkeypatch.setattr(stream, "PAUSE_S", 0.0)
    async with reading(world) as events:
        for status in ("Created", "Schedulable", "Admitted", "Complete"):
            await publish(world, one, status=status)
        with anyio.fail_after(10):
            while world.app.changes.end - world.app.changes.first < 4:
                await world.app.changes.moved.wait()
        assert (await events.next())["status"] == "Complete"
