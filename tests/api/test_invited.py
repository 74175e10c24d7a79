"""The record of each use of an invitation, when it cannot be written at once."""

from __future__ import annotations

import anyio
import pytest

from dyff.api import invited
from dyff.kernel import errors
from tests.api.test_invitations import known as known


class Database:
    """`use_key` of the accounts database, which fails, waits or works as a test says."""

    def __init__(self, accounts, monkeypatch):
        self._write = accounts.use_key
        self.error: Exception | None = None
        self.began, self.go_on = anyio.Event(), anyio.Event()
        self.waits = False
        monkeypatch.setattr(accounts, "use_key", self.use_key)

    async def use_key(self, *arguments):
        if self.waits:
            self.began.set()
            await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return await self._write(*arguments)


@pytest.fixture
def database(known, monkeypatch):
    """Uses are written with each request."""
    monkeypatch.setattr(invited, "WRITE_S", 0.0)
    return Database(known.world.services.accounts, monkeypatch)


async def history(known):
    """How often each thing was done, as it is stored."""
    key = await known.world.services.accounts.get_key(known.invitation["id"])
    return {each.action: each.count for each in key.invitation.uses}


@pytest.mark.parametrize("error", [errors.Unavailable("the database does not answer"), errors.Damaged("the row cannot be read")])
async def test_uses_that_could_not_be_written_are_written_with_the_next_one(known, database, error):
    """Nothing is opened meanwhile, neither by the code nor by the link. Afterwards the history has each try, and each once."""
    path = f"/v0/safetycases/{known.case}"
    async with known.guest() as guest, known.world.client("") as browser:
        assert (await guest.get(path)).status_code == 200
        database.error = error
        refused = [await guest.get(path), await guest.get(f"{path}/scores"), await browser.get(f"/invitations/{known.invitation['code']}")]
        assert all(each.status_code >= 500 for each in refused), refused
        assert "set-cookie" not in refused[-1].headers
        assert await history(known) == {"safetycases.get": 1}
        database.error = None
        assert (await guest.get(path)).status_code == 200
    assert await history(known) == {"safetycases.get": 3, "safetycases.scores": 1, "invitations.open": 1}


async def test_a_request_that_is_given_up_leaves_its_use(known, database):
    """A client that goes away while its use is being written does not erase it, nor those that were waiting with it."""
    opened = await known.world.services.authority.invitations.opened(known.invitation["code"])
    uses = invited.Invited(known.world.services)
    database.waits = True
    async with anyio.create_task_group() as group:
        group.start_soon(uses.record, opened, "safetycases.get", known.case)
        await database.began.wait()
        group.cancel_scope.cancel()
    database.waits = False
    await uses.flush()
    assert await history(known) == {"safetycases.get": 1}


async def test_a_stop_writes_what_is_left_and_never_fails(known, database, monkeypatch):
    """What is not written yet is written; a database that does not answer does not hold up the stop."""
    monkeypatch.setattr(invited, "WRITE_S", 1e9)
    opened = await known.world.services.authority.invitations.opened(known.invitation["code"])
    uses = invited.Invited(known.world.services)
    for _ in range(3):
        await uses.record(opened, "safetycases.get", known.case)
    assert await history(known) == {"safetycases.get": 1}
    database.error = errors.Unavailable("the database does not answer")
    await uses.end()
    database.error = None
    await uses.end()
    assert await history(known) == {"safetycases.get": 3}


async def test_the_link_of_an_account_that_may_not_read_its_case_any_more_opens_nothing(known):
    """It is answered as any link that opens nothing, and sets no cookie."""
    await known.world.services.accounts.set_permissions(known.world.account, (), "v")
    async with known.world.client("") as browser:
        answer = await browser.get(f"/invitations/{known.invitation['code']}")
        unknown = await browser.get("/invitations/x")
    assert (answer.status_code, answer.text) == (404, unknown.text)
    assert "set-cookie" not in answer.headers
