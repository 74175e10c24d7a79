"""Invitations in the accounts: what a code opens, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dyff.accounts import authority, embedded, grants, inviting, port
from dyff.kernel import errors, ids
from tests.accounts.test_authority import START, FakeClock

ACCOUNT = port.Account(id="a" * 32, name="a", created=START, permissions=(grants.Grant(("*",), ("*",), ("a" * 32,)),))
WANTED = [grants.Grant(("datasets",), ("get",), (), ("d1", "d2"))]
OWNERS = {"d1": "a" * 32, "d2": "b" * 32}


@pytest.fixture
async def known(tmp_path):
    """An account's invitations, the clock, and the database."""
    async with embedded.EmbeddedAccounts.open(tmp_path / "accounts.sqlite") as accounts:
        await accounts.create(ACCOUNT)
        clock = FakeClock()
        yield inviting.Inviting(accounts, clock, ids.RandomIds()), clock, accounts


async def issued(known, **days):
    invitations, clock, _ = known
    return await invitations.issue(ACCOUNT.id, "c" * 32, "note", WANTED, clock.now() + timedelta(days=1), OWNERS)


async def test_it_grants_what_the_account_may_and_no_more(known):
    """Of the wanted entities only those of the account; its code is stored nowhere."""
    invitations, _, accounts = known
    key, code = await issued(known)
    assert key.grants == (grants.Grant(("datasets",), ("get",), (), ("d1",)),)
    assert (await invitations.opened(code)).grants == key.grants
    assert code.rpartition("-")[2].encode() not in (await accounts.get_key(key.id)).secret_hash
    await accounts.set_permissions(ACCOUNT.id, (), "v")
    assert (await invitations.opened(code)).grants == ()


async def test_it_ends_at_its_time(known):
    """Also if it was just used, and remembered."""
    invitations, clock, _ = known
    _, code = await issued(known)
    await invitations.opened(code)
    assert invitations.remembers(code)
    clock.advance(86_401)
    with pytest.raises(errors.Unauthenticated, match=inviting.REFUSED[:30]):
        await invitations.opened(code)


@pytest.mark.parametrize("change", ["revoked", "suspended", "secret", "deleted"])
async def test_it_ends_with_what_it_rests_on(known, change):
    """With the next use, although it is remembered."""
    invitations, _, accounts = known
    key, code = await issued(known)
    await invitations.opened(code)
    await {
        "revoked": lambda: accounts.revoke_key(ACCOUNT.id, key.id),
        "suspended": lambda: accounts.set_status(ACCOUNT.id, port.SUSPENDED, None),
        "deleted": lambda: accounts.set_status(ACCOUNT.id, port.DELETED, None),
        "secret": accounts.rotate_signing_secret,
    }[change]()
    with pytest.raises(errors.Unauthenticated, match=inviting.REFUSED[:30]):
        await invitations.opened(code)
    assert not invitations.remembers(code)


async def test_an_account_that_cannot_invite(known):
    """One that is suspended, and one that does not exist."""
    invitations, clock, accounts = known
    with pytest.raises(errors.NotFound, match="belongs to the account of its safety case"):
        await invitations.issue("b" * 32, "c" * 32, "", WANTED, clock.now(), OWNERS)
    await accounts.set_status(ACCOUNT.id, port.SUSPENDED, None)
    with pytest.raises(errors.Forbidden, match="suspended"):
        await issued(known)


async def test_a_token_opens_no_case_and_a_code_is_no_token(known):
    """Neither is accepted in the place of the other, nor a code with the ID of a token."""
    invitations, clock, accounts = known
    tokens = authority.Authority(accounts, clock, ids.RandomIds(), cost=4)
    token = await tokens.issue(ACCOUNT.id, [], clock.now() + timedelta(days=1))
    (stored,) = await accounts.keys(ACCOUNT.id)
    _, code = await issued(known)
    with pytest.raises(errors.Unauthenticated):
        await tokens.verify(code)
    for wrong in (
        token,
        "",
        f"{inviting.PREFIX}{stored.id}-{code.rpartition('-')[2]:a>43}"[:-1],
        f"{inviting.PREFIX}{stored.id}-{'a' * 43}",
    ):
        with pytest.raises(errors.Unauthenticated, match=inviting.REFUSED[:30]):
            await invitations.opened(wrong)


def test_the_history_has_a_bound():
    """What is new beyond it is counted together; what is known is still added up."""
    uses = [port.Use(action=f"a{n}", entity=None, first=START, last=START) for n in range(port.MAX_USES + 5)]
    found = port.Invitation("c").used(uses).used(uses[:1]).uses
    assert len(found) == port.MAX_USES + 1
    assert (found[0].count, found[-1].action, found[-1].count) == (2, port.OTHER, 5)
