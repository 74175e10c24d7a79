"""Who may do what, as docs/permissions.md says: its table is the list of cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import pytest_asyncio

from dyff.accounts import grants, port
from dyff.kernel import errors
from dyff.serve import administration
from tests.entities import bodies

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text()
ROW = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (\S+)`[^|]*\| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)
COLUMNS = ("own account", "public", "another", "Admin")
NAMES = {"public": "public", "another": "another", "Admin": "another"}
"""The account of the entity, by column; in the first one it is the token's."""


async def an_account(world):
    """An account that `dyff account create` made."""
    made = port.Account(id=world.services.ids.new(), name=f"plain-{world.services.ids.new()}", created=world.services.clock.now())
    await world.services.accounts.create(made)
    return made.id


async def others(world):
    """Make the accounts of the columns."""
    for name in ("public", "another"):
        await world.services.accounts.create(port.Account(id=name, name=name, created=world.services.clock.now()))


@pytest.fixture
async def account(world):
    """An account in a world of the test's own."""
    await others(world)
    return await an_account(world)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowded_world(shared_world):
    """One world for all lines of the table, each with an account of its own."""
    await others(shared_world)
    return shared_world


async def a_token(world, account, role=None):
    """What `dyff token create` makes."""
    wanted = administration.grants_for(role, None)(account)
    await world.services.accounts.set_permissions(account, wanted, world.services.ids.new())
    return await world.token(*wanted, account=account)


async def answer(world, client, api, row, owner, account):
    """Make the request of a row on things of the account `owner`."""
    method, path = row[0], row[1]
    names = {"{account}": owner}
    if "{dataset}" in path or path == "/v0/evaluations":
        names["{dataset}"] = await world.dataset(account=owner)
    if "{session}" in path:
        body = {"account": owner, "inferenceService": await world.ready_service()}
        names["{session}"] = (await api.post("/v0/inferencesessions", json=body)).json()["inferencesession"]["id"]
    if "{case}" in path:
        made = await api.post("/v0/safetycases", json={**await world.analysis_body("SafetyCase", owner), "account": owner})
        names["{case}"] = made.json()["id"]
    if "{invitation}" in path:
        names["{invitation}"] = (await api.post(f"/v0/safetycases/{names['{case}']}/invitations")).json()["id"]
    for name, value in names.items():
        path = path.replace(name, value)
    body = await a_body(world, method, path, owner, account, names)
    return await client.request(method, path, json=body)


async def a_body(world, method, path, owner, account, names):
    if path == "/v0/datasets":
        return {**bodies.DATASET, "account": owner}
    if path == "/v0/inferencesessions":
        return {"account": owner, "inferenceService": await world.ready_service(account=owner)}
    if path == "/v0/evaluations":
        service = await world.ready_service(account="public")
        return {"account": account, "dataset": names["{dataset}"], "inferenceSession": {"inferenceService": service}}
    if path == "/v0/accounts":
        return {"name": f"new-{world.services.ids.new()}"}
    few = {"resources": ["datasets"], "functions": ["get"], "accounts": [owner], "entities": []}
    if path.endswith("/permissions"):
        return {"permissions": [few]}
    if path.startswith("/v0/accounts") and method == "POST":
        return {"grants": [few], "expires": "2099-01-01T00:00:00Z"}
    if method == "PATCH":
        return {} if path.endswith("labels") else {"documentation": {"title": "new"}}
    return None if method in ("GET", "DELETE") or path.endswith(("/token", "/finalize", "/delete", "/terminate")) else {}


def test_the_table_is_read():
    """The page has a table, and each line of it is a case. That of invitations has a test of its own (test_invitation_permissions.py)."""
    lines = PAGE.partition("### What an invitation can do")[0].splitlines()
    assert len(ROWS) == len([line for line in lines if re.match(r"\| `[A-Z]+ /(v0|metrics)", line)]) - 1 > 20


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_token_can_do(crowded_world, shared_api, row, column):
    """The answer is 403 where the table says no, and neither 401 nor 403 where it says yes."""
    world, account = crowded_world, await an_account(crowded_world)
    token = await a_token(world, account, "Admin" if column == "Admin" else None)
    owner = NAMES.get(column, account)
    if column != "own account" and row[1] != "/v0/evaluations":
        await world.services.accounts.set_permissions(owner, grants.ADMIN, world.services.ids.new())
    async with world.client(token) as client:
        found = await answer(world, client, shared_api, row, owner, account)
    allowed = row[2 + COLUMNS.index(column)] == "yes"
    assert (found.status_code not in (401, 403)) == allowed, (found.status_code, found.text)
    if allowed:
        assert found.status_code not in (404, 405, 422), found.text


async def test_an_account_cannot_raise_itself(world, account):
    """Neither new permissions nor a new token is more than the token of the request has."""
    everything = {"resources": ["*"], "functions": ["*"], "accounts": ["*"], "entities": ["*"]}
    async with world.client(await a_token(world, account)) as client:
        raised = await client.put(f"/v0/accounts/{account}/permissions", json={"permissions": [everything]})
        made = await client.post(f"/v0/accounts/{account}/tokens", json={"grants": [everything], "expires": "2099-01-01T00:00:00Z"})
    assert (raised.status_code, made.status_code) == (403, 403)


async def test_lists_have_what_a_token_may_read(world, account):
    """Entities of the own account and of `public`, and of no other."""
    mine, public, _ = [await world.dataset(account=owner) for owner in (account, "public", "another")]
    async with world.client(await a_token(world, account)) as client:
        assert {each["id"] for each in (await client.get("/v0/datasets")).json()} == {mine, public}


async def test_a_suspended_account_has_no_tokens(world, account):
    """Its tokens are refused with the next request, and it gets no new ones; reactivated, the same token works again."""
    token = await a_token(world, account)
    async with world.client(token) as client:
        assert (await client.get("/v0/datasets")).status_code == 200
        await world.services.accounts.set_status(account, port.SUSPENDED, "SuspendCommand")
        for path in ("/v0/datasets", f"/v0/accounts/{account}", f"/v0/accounts/{account}/tokens"):
            assert (await client.get(path)).status_code == 401
        assert (await client.post("/v0/datasets", json={**bodies.DATASET, "account": account})).status_code == 401
        with pytest.raises(errors.Forbidden, match="suspended"):
            await world.token(grants.Grant(("datasets",), ("get",), (account,)), account=account)
        await world.services.accounts.set_status(account, port.ACTIVE, None)
        assert (await client.get("/v0/datasets")).status_code == 200


async def test_the_session_of_a_suspended_account_can_be_read_and_ended_but_not_used(world, api, account):
    """A session's own token is refused for inference while the owner is suspended; it may still end what costs money."""
    body = {"account": account, "inferenceService": await world.ready_service()}
    created = (await api.post("/v0/inferencesessions", json=body)).json()
    path = f"/v0/inferencesessions/{created['inferencesession']['id']}"
    await world.services.accounts.set_status(account, port.SUSPENDED, "SuspendCommand")
    async with world.client(created["token"]) as client:
        assert (await client.post(f"{path}/infer/generate", json={})).status_code == 401
        assert (await client.get(path)).status_code == 200
        assert (await client.put(f"{path}/terminate")).json()["status"] == "Terminated"


async def test_a_download_url_outlives_a_suspension(world, api, account):
    """A signed URL is a permission of its own, until it expires."""
    await world.services.objects.put("datasets/x/y", b"bytes")
    url = await world.services.objects.sign("GET", "datasets/x/y", expires_s=60)
    await world.services.accounts.set_status(account, port.SUSPENDED, "SuspendCommand")
    assert (await api.get(url.url, headers={"Authorization": ""})).content == b"bytes"


@pytest.mark.parametrize(("owner", "status"), [("own account", 200), ("public", 403)])
async def test_a_sessions_token_is_at_most_what_its_maker_may(world, api, account, owner, status):
    """Anyone who may use a session gets a token for it; it terminates the session only if its maker may do that."""
    body = {"account": NAMES.get(owner, account), "inferenceService": await world.ready_service()}
    session = (await api.post("/v0/inferencesessions", json=body)).json()["inferencesession"]["id"]
    async with world.client(await a_token(world, account)) as client:
        made = [(await client.request(method, f"/v0/inferencesessions/{session}/token")).json() for method in ("GET", "POST")]
    for token in made:
        async with world.client(token) as client:
            assert (await client.get(f"/v0/inferencesessions/{session}")).status_code == 200
            assert (await client.put(f"/v0/inferencesessions/{session}/terminate")).status_code == status
