"""The contract of `dyff.accounts.port.Accounts`, for every adapter."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from dyff.accounts import embedded, grants, port
from dyff.accounts.mongo import MongoAccounts
from dyff.kernel import clock, errors, ids
from tests.contracts import mongodb

START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
GRANTS = (grants.Grant(("datasets",), ("get", "query"), ("a",)), grants.Grant(("*",), ("*",), (), ("e",)))


@pytest.fixture(params=["accounts:embedded", *mongodb.params("accounts")])
async def opened(request, tmp_path):
    """Makes openings of the same database, as different processes would have them."""
    async with contextlib.AsyncExitStack() as stack:
        connection = None
        if request.param != "accounts:embedded":
            connection = await stack.enter_async_context(mongodb.database(request.param))

        async def open_it():
            if connection is not None:
                return await stack.enter_async_context(MongoAccounts.open(connection))
            return await stack.enter_async_context(embedded.EmbeddedAccounts.open(tmp_path / "accounts.sqlite"))

        yield open_it


@pytest.fixture
async def accounts(opened):
    return await opened()


def account(name: str = "alice", **given) -> port.Account:
    return port.Account(**{"id": ids.derived(name), "name": name, "created": START, **given})


def key(owner: port.Account, name: str = "key", **given) -> port.Key:
    given = {"created": START, "expires": START + timedelta(days=1), "secret_hash": b"$2b$04$hash\x00\xff", **given}
    return port.Key(id=ids.derived(name), account=owner.id, grants=GRANTS, **given)


async def test_an_account_comes_back_as_it_was_created(accounts):
    """All fields, to the microsecond."""
    first = account(reason="because", permissions=GRANTS, permissions_version="v1")
    await accounts.create(first)
    assert await accounts.get(first.id) == first
    assert await accounts.revision(first.id) == first.revision


async def test_something_unknown_is_none(accounts):
    """Reading what is not there is no error."""
    assert await accounts.get("0" * 32) is None
    assert await accounts.revision("0" * 32) is None
    assert await accounts.get_key("0" * 32) is None
    assert await accounts.keys("0" * 32) == []
    assert await accounts.find() == []
    assert await accounts.outbox(10) == []
    assert not await accounts.revoke_key("0" * 32, "1" * 32)


@pytest.mark.parametrize("second", [account(id="f" * 32), account(id=account().id, name="bob")], ids=["name", "id"])
async def test_names_and_ids_are_unique(accounts, second):
    """The second account of that name or ID is refused and leaves no trace."""
    await accounts.create(account())
    before = await accounts.outbox(10)
    with pytest.raises(errors.AlreadyExists, match="taken"):
        await accounts.create(second)
    assert await accounts.find() == [account()]
    assert await accounts.outbox(10) == before


async def test_find_is_in_order_of_creation(accounts):
    """Oldest first, up to the limit; by name only that one."""
    made = [account(name, created=START + timedelta(seconds=-number)) for number, name in enumerate("abc")]
    for each in made:
        await accounts.create(each)
    assert await accounts.find() == made[::-1]
    assert await accounts.find(limit=2) == [made[2], made[1]]
    assert await accounts.find(name="b") == [made[1]]
    assert await accounts.find(name="B' OR '1'='1") == []


async def test_permissions_are_replaced_as_a_whole(accounts):
    """The new ones are what is there, with their version."""
    first = account(permissions=GRANTS)
    await accounts.create(first)
    await accounts.set_permissions(first.id, GRANTS[:1], "v2")
    now = await accounts.get(first.id)
    assert (now.permissions, now.permissions_version) == (GRANTS[:1], "v2")


async def test_suspending_and_reactivating(accounts):
    """The status and its reason are what was set last; the rest stays."""
    first = account(permissions=GRANTS)
    await accounts.create(first)
    await accounts.set_status(first.id, port.SUSPENDED, "SuspendCommand")
    now = await accounts.get(first.id)
    assert (now.status, now.reason, now.permissions) == (port.SUSPENDED, "SuspendCommand", GRANTS)
    await accounts.set_status(first.id, port.ACTIVE, None)
    now = await accounts.get(first.id)
    assert (now.status, now.reason) == (port.ACTIVE, None)


async def test_every_change_that_a_check_rests_on_moves_the_revision(accounts):
    """Permissions, status and revocation move it, of that account only; a new signing secret moves all; a new key none."""
    first, other = account(), account("bob")
    await accounts.create(first)
    await accounts.create(other)

    async def moved(change) -> tuple[bool, bool]:
        before = await accounts.revision(first.id), await accounts.revision(other.id)
        await change
        after = await accounts.revision(first.id), await accounts.revision(other.id)
        assert (await accounts.get(first.id)).revision == after[0]
        return after[0] > before[0], after[1] > before[1]

    assert await moved(accounts.set_permissions(first.id, GRANTS, "v")) == (True, False)
    assert await moved(accounts.set_status(first.id, port.SUSPENDED, None)) == (True, False)
    assert await moved(accounts.add_key(key(first))) == (False, False)
    assert await moved(accounts.revoke_key(first.id, key(first).id)) == (True, False)
    assert await moved(accounts.revoke_key(first.id, key(first).id)) == (False, False)
    assert await moved(accounts.rotate_signing_secret()) == (True, True)


async def test_a_change_of_an_unknown_account_is_not_found(accounts):
    """Nothing is made by changing it."""
    for change in (
        accounts.set_permissions("0" * 32, GRANTS, "v"),
        accounts.set_status("0" * 32, port.SUSPENDED, None),
        accounts.add_key(key(account())),
    ):
        with pytest.raises(errors.NotFound, match="no account"):
            await change
    assert await accounts.find() == []
    assert await accounts.outbox(10) == []


async def test_a_key_comes_back_as_it_was_added(accounts):
    """All fields, and the hash byte for byte."""
    await accounts.create(account())
    added = key(account(), owners={"e" * 32: "alice"})
    await accounts.add_key(added)
    assert await accounts.get_key(added.id) == added


async def test_keys_are_listed_oldest_first(accounts):
    """Only the account's own, without the revoked ones."""
    await accounts.create(account())
    await accounts.create(account("bob"))
    young, old, revoked = (key(account(), name, created=START + timedelta(hours=hours)) for name, hours in [("y", 2), ("o", 1), ("r", 0)])
    for each in (young, old, revoked, key(account("bob"), "b")):
        await accounts.add_key(each)
    assert await accounts.revoke_key(account().id, revoked.id)
    assert await accounts.keys(account().id) == [old, young]


async def test_a_key_id_is_taken_once(accounts):
    """A second key of the same ID is refused, for every owner."""
    await accounts.create(account())
    await accounts.create(account("bob"))
    await accounts.add_key(key(account()))
    with pytest.raises(errors.AlreadyExists, match="taken"):
        await accounts.add_key(key(account("bob")))
    assert await accounts.keys(account("bob").id) == []


async def test_a_key_is_revoked_by_its_own_account_only(accounts):
    """Another account's ID does not revoke it, and it is gone when the call returns."""
    await accounts.create(account())
    await accounts.create(account("bob"))
    await accounts.add_key(key(account()))
    assert not await accounts.revoke_key(account("bob").id, key(account()).id)
    assert await accounts.get_key(key(account()).id) is not None
    assert await accounts.revoke_key(account().id, key(account()).id)
    assert await accounts.get_key(key(account()).id) is None


async def test_the_outbox_reports_each_change_in_order_and_no_secret(accounts):
    """What happened to whom, as JSON; neither a hash nor the signing secret is in it."""
    secret = await accounts.signing_secret()
    first = account(permissions=GRANTS)
    await accounts.create(first)
    await accounts.add_key(key(first))
    await accounts.set_permissions(first.id, (), "v")
    await accounts.set_status(first.id, port.SUSPENDED, "SuspendCommand")
    await accounts.revoke_key(first.id, key(first).id)
    await accounts.rotate_signing_secret()
    changes = await accounts.outbox(100)
    reported = [json.loads(change.body)["change"] for change in changes]
    assert reported == [
        "CreateAccount",
        "AddAccountKey",
        "SetAccountPermissions",
        "SetAccountStatus",
        "RevokeAccountKey",
        "RotateSigningSecret",
    ]
    assert [change.account for change in changes] == [first.id] * 5 + [""]
    everything = b"".join(change.body for change in changes)
    assert b"secret_hash" not in everything
    assert b"$2b$" not in everything
    assert secret not in everything
    assert await accounts.signing_secret() not in everything


async def test_the_outbox_is_emptied_by_acknowledging(accounts):
    """Up to and with the sequence number; the numbers rise and are never used again."""
    for name in "abc":
        await accounts.create(account(name))
    first, second, third = await accounts.outbox(100)
    assert first.sequence < second.sequence < third.sequence
    assert await accounts.outbox(2) == [first, second]
    await accounts.acknowledge(second.sequence)
    assert await accounts.outbox(100) == [third]
    await accounts.acknowledge(third.sequence)
    await accounts.create(account("d"))
    (fourth,) = await accounts.outbox(100)
    assert fourth.sequence > third.sequence


async def test_a_change_says_when_and_has_an_id_of_its_own(accounts):
    """The entry is a versioned JSON object with the time; its ID is the same however often it is read, and no other entry has it."""
    await accounts.create(account())
    await accounts.set_status(account().id, port.SUSPENDED, None)
    await accounts.set_status(account().id, port.SUSPENDED, None)
    changes = await accounts.outbox(10)
    for change in changes:
        body = json.loads(change.body)
        assert set(body) == {"schemaVersion", "change", "time", "account", "data"}
        assert body["account"] == change.account
        assert abs(clock.parse_iso(body["time"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert [change.id for change in changes] == [change.id for change in await accounts.outbox(10)]
    assert len({change.id for change in changes}) == 3


@pytest.mark.parametrize("by", ["the same opener", "another opener"])
async def test_waiting_for_the_outbox_ends_with_a_change(opened, by):
    """A write by anyone ends the wait; until it is acknowledged there is nothing to wait for."""
    server = await opened()
    writer = server if by == "the same opener" else await opened()
    assert not await server.wait_outbox(0.05)
    found = []

    async def wait() -> None:
        found.append(await server.wait_outbox(20))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert found == []
        await writer.create(account())
    assert found == [True]
    assert await server.wait_outbox(0)
    await server.acknowledge((await server.outbox(1))[0].sequence)
    assert not await server.wait_outbox(0)


async def test_the_signing_secret_is_made_once(accounts):
    """64 alphanumerics, the same at every call, another one after a rotation."""
    secret = await accounts.signing_secret()
    assert len(secret) == 64
    assert secret.decode().isalnum()
    assert await accounts.signing_secret() == secret
    await accounts.rotate_signing_secret()
    rotated = await accounts.signing_secret()
    assert rotated != secret
    assert await accounts.signing_secret() == rotated


async def test_a_change_by_another_opener_is_seen_at_once(opened):
    """The command line changes what the server reads next: accounts, keys, revisions, the signing secret, the outbox."""
    server, other = await opened(), await opened()
    assert await server.signing_secret() == await other.signing_secret()
    first = account()
    assert await server.get(first.id) is None
    await other.create(first)
    assert await server.get(first.id) == first
    await other.add_key(key(first))
    assert await server.get_key(key(first).id) == key(first)
    before = await server.revision(first.id)
    await other.revoke_key(first.id, key(first).id)
    assert await server.get_key(key(first).id) is None
    assert await server.revision(first.id) > before
    await other.rotate_signing_secret()
    assert await server.signing_secret() == await other.signing_secret()
    assert len(await server.outbox(100)) == 4


async def test_openers_that_write_at_once_lose_nothing(opened):
    """All changes are there, and each moved the revision by itself."""
    openings = [await opened() for _ in range(3)]
    first = account()
    await openings[0].create(first)

    async def write(number: int) -> None:
        mine = openings[number % 3]
        await mine.add_key(key(first, f"{number}"))
        await mine.set_status(first.id, port.ACTIVE, f"{number}")

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(write, number)
    assert len(await openings[1].keys(first.id)) == 30
    assert await openings[2].revision(first.id) == first.revision + 30
    assert len(await openings[0].outbox(1000)) == 61


async def test_only_one_of_two_wins_a_name(opened):
    """Uniqueness holds across openers."""
    openings = [await opened(), await opened()]
    refused = []

    async def create(number: int) -> None:
        try:
            await openings[number % 2].create(account(id=ids.derived(f"{number}")))
        except errors.AlreadyExists:
            refused.append(number)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(create, number)
    assert len(refused) == 7
    assert len(await openings[0].find()) == 1


async def test_openers_that_ask_at_once_agree_on_the_signing_secret(opened):
    """No matter who makes it, all get the same, and it is the one that stays."""
    openings, answers = [await opened(), await opened()], set()

    async def ask(number: int) -> None:
        answers.add(await openings[number].signing_secret())

    async with anyio.create_task_group() as group:
        group.start_soon(ask, 0)
        group.start_soon(ask, 1)
    assert answers == {await openings[0].signing_secret()}


def use(action: str, second: int, entity: str | None = None, count: int = 1) -> port.Use:
    at = START + timedelta(seconds=second)
    return port.Use(action=action, entity=entity, first=at, last=at, count=count)


async def test_uses_of_an_invitation_are_added_up(accounts):
    """In its record, and as a change without its hash. A token, and what is not there, have no uses. The revision stays."""
    first = account()
    await accounts.create(first)
    invitation = key(first, invitation=port.Invitation("c" * 32, "for whom"))
    for each in (key(first, "token"), invitation):
        await accounts.add_key(each)
    before = await accounts.revision(first.id)
    assert await accounts.use_key(first.id, invitation.id, [use("open", 1), use("get", 2, "e")])
    assert await accounts.use_key(first.id, invitation.id, [use("get", 5, "e", 2)])
    found = (await accounts.get_key(invitation.id)).invitation
    got = port.Use(action="get", entity="e", first=START + timedelta(seconds=2), last=START + timedelta(seconds=5), count=3)
    assert found == port.Invitation("c" * 32, "for whom", (use("open", 1), got))
    assert await accounts.revision(first.id) == before
    last = json.loads((await accounts.outbox(100))[-1].body)
    assert (last["change"], last["data"]["id"], last["data"]["uses"][0]["count"]) == ("UseInvitation", invitation.id, 2)
    for owner, name in ((first.id, ids.derived("token")), (first.id, "0" * 32), ("0" * 32, invitation.id)):
        assert not await accounts.use_key(owner, name, [use("open", 1)])
    assert sum(each.invitation is not None for each in await accounts.keys(first.id)) == 1
