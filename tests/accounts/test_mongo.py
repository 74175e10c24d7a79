"""What is special about accounts on MongoDB: how changes get from the accounts' documents into the outbox, whatever is killed."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from dyff.accounts import grants, port
from dyff.accounts.mongo import MongoAccounts, outbox
from dyff.kernel import clock, errors, ids
from tests.contracts import mongodb

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=mongodb.params("authorization"))
async def opened(request):
    """Makes openings of the same database."""
    async with contextlib.AsyncExitStack() as stack:
        connection = await stack.enter_async_context(mongodb.database(request.param))

        async def open_it():
            return await stack.enter_async_context(MongoAccounts.open(connection))

        yield open_it


def account(name: str = "alice") -> port.Account:
    return port.Account(id=ids.derived(name), name=name, created=START)


def key(owner: port.Account, name: str) -> port.Key:
    return port.Key(
        id=ids.derived(name),
        account=owner.id,
        grants=(grants.Grant(("*",), ("*",)),),
        created=START,
        expires=START + timedelta(days=1),
        secret_hash=b"x",
    )


def reported(changes: list[port.Change]) -> list[tuple[str, str | None]]:
    return [(change["change"], change["data"].get("reason")) for change in (json.loads(each.body) for each in changes)]


async def test_a_change_is_brought_once_even_if_a_relay_is_killed(opened, monkeypatch):
    """Between being brought and being taken out of its account a change is in both places; it gets one number."""
    first, second = await opened(), await opened()
    await first.create(account())
    await first.set_status(account().id, port.SUSPENDED, "one")

    async def crash(last: dict[str, int]) -> None:
        raise errors.Unavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(first._outbox, "_take_out", crash)
        with pytest.raises(errors.Unavailable):
            await first.outbox(10)
    changes = await second.outbox(10)
    assert reported(changes) == [("CreateAccount", None), ("SetAccountStatus", "one")]
    assert await first.outbox(10) == changes
    await second.acknowledge(changes[0].sequence)
    assert await first.outbox(10) == changes[1:]
    await first.acknowledge(changes[1].sequence)
    assert await second.outbox(10) == []
    assert not await second.wait_outbox(0)


async def test_acknowledged_is_acknowledged_although_the_one_who_brought_it_was_killed(opened, monkeypatch):
    """What is forgotten leaves its account first, so nothing is reported again."""
    first, second = await opened(), await opened()
    await first.create(account())

    async def crash(last: dict[str, int]) -> None:
        raise errors.Unavailable("killed")

    monkeypatch.setattr(first._outbox, "_take_out", crash)
    with pytest.raises(errors.Unavailable):
        await first.outbox(10)
    shelf = await second._outbox._shelf()
    await second.acknowledge(shelf["entries"][0]["sequence"])
    assert await second.outbox(10) == []


async def test_relays_at_once_report_each_change_once_and_in_order(opened):
    """However many bring changes while others make them."""
    openings = [await opened() for _ in range(3)]
    for name in "ab":
        await openings[0].create(account(name))
    seen: dict[int, bytes] = {}
    done = anyio.Event()

    async def relay(accounts: MongoAccounts) -> None:
        while not done.is_set() or await accounts.outbox(1):
            changes = await accounts.outbox(3)
            for each in changes:
                assert seen.setdefault(each.sequence, each.body) == each.body
            if changes:
                await accounts.acknowledge(changes[-1].sequence)

    async def write(accounts: MongoAccounts, name: str) -> None:
        for number in range(10):
            await accounts.set_status(account(name).id, port.ACTIVE, f"{number}")

    async with anyio.create_task_group() as group:
        group.start_soon(relay, openings[0])
        group.start_soon(relay, openings[1])
        async with anyio.create_task_group() as writers:
            for name in "ab":
                writers.start_soon(write, openings[2], name)
        done.set()
    bodies = [json.loads(seen[sequence]) for sequence in sorted(seen)]
    for name in "ab":
        of_one = [body["data"]["reason"] for body in bodies if body["account"] == account(name).id]
        assert of_one == [None, *(f"{number}" for number in range(10))]
    assert len(bodies) == 22


async def test_a_clock_that_goes_back_does_not_turn_the_order_round(opened, monkeypatch):
    """The changes of an account are reported in the order in which they were made, whatever time each has."""
    accounts = await opened()
    await accounts.create(account())
    times = iter([START - timedelta(hours=number) for number in range(5)])
    monkeypatch.setattr(clock.SystemClock, "now", lambda _: next(times))
    for number in range(5):
        await accounts.set_status(account().id, port.ACTIVE, f"{number}")
    assert [reason for _, reason in reported(await accounts.outbox(10))] == [None, "0", "1", "2", "3", "4"]


async def test_large_changes_wait_their_turn(opened, monkeypatch):
    """The outbox is one document, so it holds only so much; the rest stays in the accounts and loses neither order nor number."""
    monkeypatch.setattr(outbox, "_MAX_BYTES", 2000)
    accounts = await opened()
    await accounts.create(account())
    for number in range(10):
        await accounts.set_status(account().id, port.ACTIVE, f"{number}" * 500)
    seen: list[port.Change] = []
    while changes := await accounts.outbox(100):
        assert len(changes) < 5
        seen += changes
        await accounts.acknowledge(changes[-1].sequence)
    assert [reason for _, reason in reported(seen)] == [None, *(f"{number}" * 500 for number in range(10))]
    assert [each.sequence for each in seen] == list(range(1, 12))


async def test_a_revision_goes_on_rising_through_new_secrets(opened):
    """Also for an account that was created after some: it comes back with the revision that it was given."""
    accounts = await opened()
    await accounts.create(account("old"))
    for _ in range(3):
        await accounts.rotate_signing_secret()
    await accounts.create(account("new"))
    assert await accounts.get(account("new").id) == account("new")
    assert await accounts.revision(account("old").id) == 3
    await accounts.set_status(account("new").id, port.ACTIVE, None)
    await accounts.rotate_signing_secret()
    assert await accounts.revision(account("new").id) == 2
    assert [each.revision for each in await accounts.find()] == [2, 4]


async def test_what_is_about_all_accounts_is_none(opened):
    """The document with the empty ID cannot be read or changed as an account."""
    accounts = await opened()
    await accounts.signing_secret()
    assert await accounts.get("") is None
    assert await accounts.revision("") is None
    assert await accounts.find() == []
    assert await accounts.keys("") == []
    with pytest.raises(errors.NotFound):
        await accounts.set_status("", port.SUSPENDED, None)


async def test_too_many_tokens_are_reported(opened):
    """An account is one document of at most 16 MiB: the one who asks for the token learns what to do, and no token is there."""
    accounts = await opened()
    await accounts.create(account())
    large = "x" * (15 * 2**20)
    await accounts._accounts.update({"_id": account().id}, {"$push": {"keys": {"id": "large", "created": "", "body": large}}})
    added = key(account(), "one more")
    added = port.Key(**{name: getattr(added, name) for name in added.__struct_fields__} | {"owners": {"e": "y" * 2**20}})
    with pytest.raises(errors.TooLarge, match="revoke"):
        await accounts.add_key(added)
    assert await accounts.get_key(added.id) is None
