"""Accounts as such: created, read, found, deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dyff.client._apigroups import _validate_response as read
from dyff.schema import platform

from dyff.accounts import port
from dyff.accounts.grants import Grant

ME = Grant(("datasets",), ("*",), ("lab",))


@pytest.fixture
async def lab(world) -> str:
    """An account with permissions and a token."""
    account = port.Account(id=world.services.ids.new(), name="The Lab", created=world.services.clock.now(), permissions=(ME,))
    await world.services.accounts.create(account)
    return account.id


async def test_an_account_is_created_without_permissions(api, world):
    """The published Account; it is active and may do nothing; the name is taken from then on."""
    body = {"name": "auditor-2", "identity": {"github": "octocat"}}
    response = await api.post("/v0/accounts", json=body)
    assert response.status_code == 201
    account = read(platform.Account, response.json())
    assert (account.name, account.status, account.identity.github, account.auth.permissions, account.apiKeys) == (
        "auditor-2", "Active", "octocat", [], []
    )  # fmt: skip
    assert (await api.get(f"/v0/accounts/{account.id}")).json() == response.json()
    assert (await api.post("/v0/accounts", json=body)).status_code == 409
    assert (await api.post("/v0/accounts", json={"name": "  "})).json()["detail"][0]["loc"] == ["body", "name"]
    assert (await api.post("/v0/accounts", json={"name": "x", "identity": {"gitlub": "y"}})).status_code == 422


async def test_an_account_sees_itself_and_no_other(api, world, lab):
    """Its own record with its tokens but without secrets; others are 403, and it can create none."""
    token = await world.token(ME, account=lab)
    async with world.client(token) as client:
        own = await client.get(f"/v0/accounts/{lab}")
        account = read(platform.Account, own.json())
        assert [grant.resources for grant in account.auth.permissions] == [["datasets"]]
        assert [key.secret for key in account.apiKeys] == [None]
        assert "secret" not in own.text
        assert (await client.get(f"/v0/accounts/{world.account}")).status_code == 403
        assert (await client.post("/v0/accounts", json={"name": "friend"})).status_code == 403
        assert (await client.put(f"/v0/accounts/{lab}/delete")).status_code == 403
        assert [each["id"] for each in (await client.get("/v0/accounts")).json()] == [lab]
    assert (await api.get(f"/v0/accounts/{'0' * 32}")).status_code == 404


async def test_accounts_are_found_by_name_identity_and_tokens(api, world, lab):
    """Parts of names in whatever case; tokens that have expired do not count; the limit comes last."""
    await api.post("/v0/accounts", json={"name": "second", "identity": {"google": "Labrador"}})
    for words, want in (("lab", ["The Lab", "second"]), ("THE LAB", ["The Lab"]), ("nobody", [])):
        found = (await api.get("/v0/accounts", params={"query": words})).json()
        assert [read(platform.AccountSummary, each).name for each in found] == want
    now = world.services.clock.now()
    old = port.Key(id="k", account=lab, grants=(), created=now, expires=now - timedelta(seconds=1), secret_hash=b"")
    await world.services.accounts.add_key(old)
    assert [each["name"] for each in (await api.get("/v0/accounts?hasAPIKey=true")).json()] == ["auditor"]
    assert [each["name"] for each in (await api.get("/v0/accounts?hasAPIKey=false&limit=1")).json()] == ["The Lab"]
    for wrong in ("limit=0", "limit=201", "hasAPIKey=yes", "name=x"):
        assert (await api.get(f"/v0/accounts?{wrong}")).status_code == 422, wrong


async def test_a_deleted_account_can_do_nothing_any_more(api, world, lab):
    """Its tokens are refused at once and it gets no new ones; it stays visible; deleting again is no error."""
    token = await world.token(ME, account=lab)
    for _ in range(2):
        response = await api.put(f"/v0/accounts/{lab}/delete")
        assert (response.status_code, response.json()) == (200, {"status": "Deleted", "reason": "DeleteCommand"})
    async with world.client(token) as client:
        refused = await client.get("/v0/datasets")
        assert (refused.status_code, "deleted" in refused.json()["detail"]) == (401, True)
    grants = [{"resources": ["datasets"], "functions": ["get"], "accounts": ["lab"]}]
    asked = await api.post(f"/v0/accounts/{lab}/tokens", json={"grants": grants, "expires": "2090-01-01T00:00:00Z"})
    assert asked.status_code == 403
    assert (await api.get(f"/v0/accounts/{lab}")).json()["status"] == "Deleted"
