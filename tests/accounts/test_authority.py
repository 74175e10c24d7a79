"""Who a request comes from: what is checked, in which order, and how soon a change counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import bcrypt
import pytest

from dyff.accounts import authority, embedded, grants, port, tokens
from dyff.kernel import errors, ids
from tests.narrowing import sure

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRANT = grants.Grant(("datasets",), ("get", "query"), ("a",))
CHECKPW = bcrypt.checkpw


class FakeClock:
    def __init__(self):
        self.time, self.seconds = START, 1000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


class Counting:
    """An accounts database that counts what is asked of it."""

    def __init__(self, accounts):
        self.accounts, self.calls = accounts, []

    def __getattr__(self, name):
        self.calls.append(name)
        return getattr(self.accounts, name)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def accounts(tmp_path):
    async with embedded.EmbeddedAccounts.open(tmp_path / "accounts.sqlite") as opened:
        await opened.create(port.Account(id="1" * 32, name="alice", created=START, permissions=grants.ADMIN))
        yield Counting(opened)


@pytest.fixture
def checks(monkeypatch):
    """The hashes that bcrypt was asked about."""
    seen = []

    def check(secret, hashed):
        seen.append(hashed)
        return CHECKPW(secret, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    return seen


@pytest.fixture
def guard(accounts, clock):
    return authority.Authority(accounts, clock, ids.RandomIds(), cost=4)


def issue(guard, *given: grants.Grant, hours: float = 1.0):
    return guard.issue("1" * 32, given or (GRANT,), START + timedelta(hours=hours))


async def signed(accounts, subject: str, name: str = "7") -> str:
    """A token without a record, as sessions have."""
    claims = tokens.Claims(name * 32, subject, START, START + timedelta(hours=1), (GRANT,))
    return tokens.sign(claims, await accounts.signing_secret())


async def test_an_issued_token_says_who_and_what(guard, accounts):
    """The principal has the token's claims without its secret, the account, and the grants."""
    principal = await guard.verify(await issue(guard))
    assert principal.account == await accounts.get("1" * 32)
    assert principal.grants == principal.claims.grants == (GRANT,)
    assert principal.claims.subject == "Account/" + "1" * 32
    assert principal.claims.secret is None
    (key,) = await accounts.keys("1" * 32)
    assert (key.id, key.grants, key.expires) == (principal.claims.id, (GRANT,), START + timedelta(hours=1))


async def test_the_record_has_a_hash_and_not_the_secret(guard, accounts):
    """Who reads the database learns no token."""
    claims = tokens.verify(await issue(guard), await accounts.signing_secret(), START)
    key = await accounts.get_key(claims.id)
    assert bcrypt.checkpw(sure(claims.secret).encode(), key.secret_hash)
    assert sure(claims.secret).encode() not in key.secret_hash
    assert len(sure(claims.secret)) >= 32


async def test_issuing_needs_an_active_account(guard, accounts):
    """An unknown account is not found, a suspended one is refused."""
    with pytest.raises(errors.NotFound):
        await guard.issue("2" * 32, (GRANT,), START + timedelta(hours=1))
    await accounts.set_status("1" * 32, port.SUSPENDED, None)
    with pytest.raises(errors.Forbidden, match="suspended"):
        await issue(guard)
    assert await accounts.keys("1" * 32) == []


async def test_a_token_grants_no_more_than_its_account_has(guard, accounts):
    """The refusal names the grant that is too much."""
    await accounts.set_permissions("1" * 32, (GRANT,), "v")
    await issue(guard, grants.Grant(("datasets",), ("get",), ("a",)))
    with pytest.raises(errors.Forbidden, match='"models"'):
        await issue(guard, GRANT, grants.Grant(("models",), ("get",), ("a",)))


@pytest.mark.parametrize("hours", [0.0, -1.0])
async def test_a_token_must_expire_later_than_now(guard, hours):
    """A moment that has passed is an error of the field."""
    with pytest.raises(errors.InvalidFields, match="future"):
        await issue(guard, hours=hours)


async def test_a_repeated_check_reads_the_revision_only(guard, accounts, checks):
    """One look-up, no bcrypt: the hot path."""
    token = await issue(guard)
    first = await guard.verify(token)
    accounts.calls.clear()
    assert await guard.verify(token) is first
    assert accounts.calls == ["revision"]
    assert len(checks) == 1


async def test_forged_tokens_do_not_reach_the_database(guard, accounts, clock):
    """The signature comes first; a new signing secret is looked for once a second at most."""
    token = await issue(guard)
    await guard.verify(token)
    forged = [
        tokens.sign(tokens.Claims(f"{number}", "Account/" + "1" * 32, START, START + timedelta(1)), b"x" * 64) for number in range(20)
    ]
    accounts.calls.clear()
    for each in forged:
        with pytest.raises(errors.Unauthenticated):
            await guard.verify(each)
    assert accounts.calls == []
    clock.advance(2)
    for each in forged:
        with pytest.raises(errors.Unauthenticated):
            await guard.verify(each)
    assert accounts.calls == ["signing_secret"]


async def test_revocation_counts_at_once(guard, accounts):
    """Also for a token that was checked a moment ago, and by whomever it was revoked; other tokens stay."""
    revoked, other = await issue(guard), await issue(guard)
    principal = await guard.verify(revoked)
    await guard.verify(other)
    await guard.revoke("1" * 32, principal.claims.id)
    with pytest.raises(errors.Unauthenticated, match="revoked"):
        await guard.verify(revoked)
    with pytest.raises(errors.Unauthenticated, match="revoked"):
        await guard.verify(revoked)
    assert (await guard.verify(other)).grants == (GRANT,)


async def test_revoking_what_is_not_there_is_not_found(guard):
    """A token of another account is not there."""
    principal = await guard.verify(await issue(guard))
    with pytest.raises(errors.NotFound):
        await guard.revoke("2" * 32, principal.claims.id)
    await guard.revoke("1" * 32, principal.claims.id)
    with pytest.raises(errors.NotFound):
        await guard.revoke("1" * 32, principal.claims.id)


async def test_all_tokens_of_an_account_can_be_revoked(guard):
    """Returns how many there were."""
    held = [await issue(guard) for _ in range(3)]
    await guard.verify(held[0])
    assert await guard.revoke_all("1" * 32) == 3
    for token in held:
        with pytest.raises(errors.Unauthenticated):
            await guard.verify(token)
    assert await guard.revoke_all("1" * 32) == 0


async def test_suspension_counts_at_once_and_is_reversible(guard, accounts, checks):
    """All tokens of the account lose and regain their power; bcrypt is not needed again for what is known to fit."""
    token = await issue(guard)
    await guard.verify(token)
    await accounts.set_status("1" * 32, port.SUSPENDED, "SuspendCommand")
    with pytest.raises(errors.Unauthenticated, match="suspended"):
        await guard.verify(token)
    await accounts.set_status("1" * 32, port.ACTIVE, None)
    assert (await guard.verify(token)).account.status == port.ACTIVE


async def test_permissions_narrow_a_token_at_once(guard, accounts, checks):
    """The effective grants are what both the token and the account's present permissions allow."""
    token = await issue(guard, *grants.ADMIN)
    assert (await guard.verify(token)).grants == grants.ADMIN
    await accounts.set_permissions("1" * 32, (GRANT,), "v2")
    assert (await guard.verify(token)).grants == (GRANT,)
    await accounts.set_permissions("1" * 32, (), "v3")
    assert (await guard.verify(token)).grants == ()
    assert len(checks) == 1


async def test_a_checked_token_still_expires(guard, clock):
    """What is remembered does not outlive the token."""
    token = await issue(guard, hours=1)
    await guard.verify(token)
    clock.advance(3600)
    with pytest.raises(errors.Unauthenticated, match="expired"):
        await guard.verify(token)


@pytest.mark.parametrize("subject", ["Account/" + "1" * 32, "InferenceSession/" + "5" * 32])
async def test_a_new_signing_secret_ends_every_token_at_once(guard, accounts, subject):
    """Remembered or not, of an account or of a session."""
    remembered, unseen = await signed(accounts, subject, "1"), await signed(accounts, subject, "2")
    key = await issue(guard)
    await guard.verify(remembered)
    await guard.verify(key)
    await accounts.rotate_signing_secret()
    for token in (remembered, unseen, key):
        with pytest.raises(errors.Unauthenticated):
            await guard.verify(token)
    assert await guard.verify(await issue(guard))


async def test_a_new_signing_secret_is_found_by_another_authority(guard, accounts, clock):
    """A token that another process signed with the new secret is accepted after a second at most."""
    await guard.verify(await issue(guard))
    await accounts.rotate_signing_secret()
    clock.advance(1)
    other = authority.Authority(accounts, clock, ids.RandomIds(), cost=4)
    assert await guard.verify(await issue(other))


async def test_a_session_token_needs_no_account(guard, accounts):
    """A session's token has no record, and its grants are its own."""
    token = await signed(accounts, "InferenceSession/" + "5" * 32)
    accounts.calls.clear()
    principal = await guard.verify(token)
    assert (principal.account, principal.grants) == (None, (GRANT,))
    assert set(accounts.calls) == {"signing_secret"}


async def test_a_token_of_no_account_is_refused(guard, accounts):
    """Signed, but for an account that does not exist."""
    token = await signed(accounts, "Account/" + "9" * 32)
    with pytest.raises(errors.Unauthenticated, match="does not exist"):
        await guard.verify(token)


async def test_the_secret_must_fit_the_record(guard, accounts):
    """A signed token with another secret, or of another account's record, is refused."""
    claims = tokens.verify(await issue(guard), await accounts.signing_secret(), START)
    wrong = tokens.Claims(claims.id, claims.subject, claims.issued, claims.expires, claims.grants, "guess")
    with pytest.raises(errors.Unauthenticated, match="wrong"):
        await guard.verify(tokens.sign(wrong, await accounts.signing_secret()))
    await accounts.create(port.Account(id="2" * 32, name="bob", created=START, permissions=grants.ADMIN))
    other = tokens.Claims(claims.id, "Account/" + "2" * 32, claims.issued, claims.expires, claims.grants, claims.secret)
    with pytest.raises(errors.Unauthenticated, match="revoked"):
        await guard.verify(tokens.sign(other, await accounts.signing_secret()))


async def test_many_requests_with_a_new_token_cost_one_bcrypt(guard, checks):
    """They wait for the first check and share its result."""
    token = await issue(guard)
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(guard.verify, token)
    assert len(checks) == 1


async def test_what_is_remembered_is_bounded_and_holds_no_token(accounts, clock, checks):
    """The least recently used goes; neither tokens nor their secrets are kept."""
    guard = authority.Authority(accounts, clock, ids.RandomIds(), cost=4, remembered=2)
    first, second, third = [await issue(guard) for _ in range(3)]
    secret = sure(tokens.verify(first, await accounts.signing_secret(), START).secret)
    for token in (first, second, first, third):
        await guard.verify(token)
    assert len(checks) == 3
    await guard.verify(first)
    assert len(checks) == 3
    await guard.verify(second)
    assert len(checks) == 4
    kept = repr(vars(guard))
    assert first not in kept
    assert secret not in kept


@pytest.mark.parametrize("token", ["", "x.y.z", "\ud800", "Bearer x", "a" * 100_000])
async def test_nonsense_is_unauthenticated(guard, token):
    """Whatever the text: 401."""
    with pytest.raises(errors.Unauthenticated):
        await guard.verify(token)


async def test_the_leeway_is_that_of_the_authority(guard, accounts, clock):
    """A token from a clock that is a second ahead is refused without a leeway, and accepted with one."""
    ahead = tokens.Claims("8" * 32, "Account/" + "1" * 32, START + timedelta(seconds=2), START + timedelta(hours=1), (GRANT,))
    token = tokens.sign(ahead, await accounts.signing_secret())
    with pytest.raises(errors.Unauthenticated, match="not valid yet"):
        await guard.verify(token)
    lenient = authority.Authority(accounts, clock, ids.RandomIds(), cost=4, leeway_s=30)
    assert (await lenient.verify(token)).claims.id == "8" * 32
