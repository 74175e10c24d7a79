"""The relay of the accounts' changes, on an embedded log and an embedded accounts database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from dyff.accounts import embedded, grants, port
from dyff.bus import topics
from dyff.consumers import relay
from dyff.kernel import errors, ids
from tests.roles import log
from tests.roles.instead import Instead

NOW = datetime(2026, 11, 3, tzinfo=UTC)
GRANTS = (grants.Grant(("*",), ("*",), (), ("e",)),)
HASH = b"$2b$04$the-hash"


@pytest.fixture
async def bus(tmp_path):
    async with log.opened(tmp_path / "bus.sqlite") as opened:
        yield opened


@pytest.fixture
async def accounts(tmp_path):
    async with embedded.EmbeddedAccounts.open(tmp_path / "accounts.sqlite") as opened:
        yield opened


def account(name):
    return port.Account(id=ids.derived(name), name=name, created=NOW)


async def reported(bus):
    """Name of the change, account and ID of each record, in order."""
    return [
        (json.loads(each.value)["change"], each.key.decode(), dict(each.headers)["dyff-id"])
        for each in await log.records(bus, topics.ACCOUNTS)
    ]


async def is_reported(bus, count):
    return len(await reported(bus)) >= count


async def test_changes_reach_the_log_in_order_and_leave_the_outbox(bus, accounts):
    """What was there before the start, and what comes later, also by another opener of the file."""
    first = account("alice")
    await accounts.create(first)
    async with log.running(relay.run, bus, accounts):
        await log.until(lambda: is_reported(bus, 1))
        await accounts.set_status(first.id, port.SUSPENDED, "SuspendCommand")
        await log.until(lambda: is_reported(bus, 2))
        await accounts.create(account("bob"))
        await log.until(lambda: _is_empty(accounts))
    assert [each[:2] for each in await reported(bus)] == [
        ("CreateAccount", first.id),
        ("SetAccountStatus", first.id),
        ("CreateAccount", account("bob").id),
    ]


async def _is_empty(accounts):
    return not await accounts.outbox(1)


async def test_what_the_command_line_does_is_relayed(bus, accounts, tmp_path):
    """Another process that has only the accounts file open needs nobody to tell it."""
    async with log.running(relay.run, bus, accounts), embedded.EmbeddedAccounts.open(tmp_path / "accounts.sqlite") as other:
        await other.create(account("alice"))
        await log.until(lambda: is_reported(bus, 1))


async def test_no_secret_and_no_hash_reaches_the_log(bus, accounts):
    """Of a token only its record is reported, of the signing secret only that it is new."""
    first, secret = account("alice"), await accounts.signing_secret()
    await accounts.create(first)
    expires = NOW + timedelta(days=1)
    await accounts.add_key(port.Key(id=ids.derived("key"), account=first.id, grants=GRANTS, created=NOW, expires=expires, secret_hash=HASH))
    await accounts.revoke_key(first.id, ids.derived("key"))
    await accounts.rotate_signing_secret()
    assert await relay.relay(bus, accounts) == 4
    written = b"".join(each.value + b"".join(value for _, value in each.headers) for each in await log.records(bus, topics.ACCOUNTS))
    assert b"AddAccountKey" in written
    for hidden in (HASH, b"hash", secret, await accounts.signing_secret()):
        assert hidden not in written


async def test_a_crash_before_the_acknowledgement_repeats_under_the_same_id(bus, accounts):
    """Killed between publishing and acknowledging, the next relay says the same again; by its ID everyone knows it."""

    async def crash(sequence):
        raise log.CrashError

    await accounts.create(account("alice"))
    await accounts.create(account("bob"))
    with pytest.raises(log.CrashError):
        await relay.relay(bus, Instead(accounts, acknowledge=crash))
    await relay.relay(bus, accounts)
    await accounts.create(account("carol"))
    await relay.relay(bus, accounts)
    found = await reported(bus)
    assert found[:2] == found[2:4]
    assert [each[1] for each in dict.fromkeys(found)] == [account(name).id for name in ("alice", "bob", "carol")]
    assert await accounts.outbox(1) == []


async def test_nothing_leaves_the_outbox_before_it_is_durable(bus, accounts):
    """While the log refuses, or does not say what became of it, the changes stay and are tried again."""
    refusals = [errors.Unavailable(), errors.OutcomeUnknown()]

    async def publish(topic, messages):
        assert len(await accounts.outbox(10)) == 1
        if refusals:
            raise refusals.pop()
        return await bus.publish(topic, messages)

    await accounts.create(account("alice"))
    async with log.running(relay.run, Instead(bus, publish=publish), accounts):
        await log.until(lambda: _is_empty(accounts))
    assert not refusals
    assert [each[0] for each in await reported(bus)] == ["CreateAccount"]


async def test_more_than_a_batch_is_relayed_at_once(bus, accounts, monkeypatch):
    """A full outbox is worked through without a pause."""
    monkeypatch.setattr(relay, "BATCH", 3)
    for number in range(10):
        await accounts.create(account(f"{number}"))
    async with log.running(relay.run, bus, accounts):
        await log.until(lambda: _is_empty(accounts))
    assert [each[1] for each in await reported(bus)] == [account(f"{number}").id for number in range(10)]


async def test_accounts_that_are_gone_are_not_begun_anew_unnoticed(bus, accounts, tmp_path):
    """If the log knows of accounts and the database of none, the role does not start: all tokens would be refused without a reason."""
    await accounts.rotate_signing_secret()
    await accounts.create(account("alice"))
    async with log.running(relay.run, bus, accounts):
        await log.until(lambda: is_reported(bus, 2))
    async with embedded.EmbeddedAccounts.open(tmp_path / "new.sqlite") as empty:
        with pytest.raises(errors.Damaged, match=r"no account, but the log .* restore a backup"):
            with anyio.fail_after(10):
                await relay.run(bus, empty)
        await empty.create(account("bob"))  # the way out that the message names
        async with log.running(relay.run, bus, empty):
            await log.until(lambda: is_reported(bus, 3))


async def test_without_accounts_there_is_nothing_to_miss(bus, accounts):
    """A new installation whose secret was changed before its first account starts again."""
    await accounts.rotate_signing_secret()
    for _ in range(2):
        async with log.running(relay.run, bus, accounts):
            await log.until(lambda: is_reported(bus, 1))


async def test_an_idle_relay_does_not_poll_hard(bus, accounts):
    """Without a change the outbox is looked at about once a second."""
    looks = []

    async def outbox(limit):
        looks.append(limit)
        return await embedded.EmbeddedAccounts.outbox(accounts, limit)

    accounts.outbox = outbox
    async with log.running(relay.run, bus, accounts):
        # real time: the looks at a store in a thread are counted over a time
        await anyio.sleep(2.5)
    assert len(looks) <= 6
