"""Permissions and tokens of accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dyff.schema import platform

from dyff.accounts import port
from dyff.accounts.grants import Grant

READ = {"resources": ["datasets"], "functions": ["get", "query"], "accounts": ["lab"], "entities": []}
WRITE = {**READ, "functions": ["create"]}
EVERYTHING = {"resources": ["*"], "functions": ["*"], "accounts": ["*"], "entities": ["*"]}


def later(hours=1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@pytest.fixture
async def lab(world) -> str:
    """An account that may read what `lab` owns."""
    account = port.Account(id=world.services.ids.new(), name="lab", created=world.services.clock.now())
    await world.services.accounts.create(account)
    await world.services.accounts.set_permissions(account.id, (Grant(("datasets",), ("get", "query", "create"), ("lab",)),), "1")
    return account.id


async def test_permissions_are_replaced_as_a_whole_and_at_once(world, api, lab):
    """What is set is what is read, and what a token was granted beyond it ends at the next request."""
    token = await world.token(Grant(("datasets",), ("query",), ("lab",)), account=lab)
    async with world.client(token) as client:
        assert (await client.get("/v0/datasets")).status_code == 200
        response = await api.put(f"/v0/accounts/{lab}/permissions", json={"permissions": [WRITE]})
        assert (response.status_code, response.json()) == (200, [WRITE])
        assert (await client.get("/v0/datasets")).status_code == 403
        assert (await api.get(f"/v0/accounts/{lab}/permissions")).json() == [WRITE]
        assert (await client.put(f"/v0/accounts/{lab}/permissions", json={"permissions": [EVERYTHING]})).status_code == 403


async def test_a_token_grants_no_more_than_its_account(api, world, lab):
    """More is 403 and says which grant; within it the token works, and is shown nowhere again."""
    for grants in ([EVERYTHING], [READ, {**READ, "accounts": ["other"]}], [{**READ, "entities": ["x"]}]):
        response = await api.post(f"/v0/accounts/{lab}/tokens", json={"grants": grants, "expires": later()})
        assert response.status_code == 403, grants
    response = await api.post(f"/v0/accounts/{lab}/tokens", json={"grants": [READ], "expires": later()})
    assert response.status_code == 201
    token = response.json()
    async with world.client(token) as client:
        assert (await client.get("/v0/datasets")).json() == []
    (listed,) = (await api.get(f"/v0/accounts/{lab}/tokens")).json()
    key = platform.APIKey.model_validate(listed)
    assert (key.subject, key.secret) == (f"Account/{lab}", None)
    assert (await api.get(f"/v0/accounts/{lab}/tokens/{key.id}")).json() == listed
    assert token.split(".")[1] not in str(listed)


async def test_a_revoked_token_is_refused_at_once(api, world, lab):
    """One by its ID, or all; what is not there is 404."""
    tokens = [(await api.post(f"/v0/accounts/{lab}/tokens", json={"grants": [READ], "expires": later()})).json() for _ in range(3)]
    keys = [each["id"] for each in (await api.get(f"/v0/accounts/{lab}/tokens")).json()]
    assert (await api.delete(f"/v0/accounts/{lab}/tokens/{keys[0]}")).status_code == 200
    works = []
    for token in tokens:
        async with world.client(token) as client:
            works.append((await client.get("/v0/datasets")).status_code)
    assert sorted(works) == [200, 200, 401]
    assert (await api.delete(f"/v0/accounts/{lab}/tokens/{keys[0]}")).status_code == 404
    assert (await api.get(f"/v0/accounts/{lab}/tokens/{keys[0]}")).status_code == 404
    assert (await api.get(f"/v0/accounts/{world.account}/tokens/{keys[1]}")).status_code == 404
    assert (await api.delete(f"/v0/accounts/{lab}/tokens")).status_code == 200
    assert (await api.get(f"/v0/accounts/{lab}/tokens")).json() == []


async def test_an_account_makes_tokens_for_itself_but_not_stronger_ones(world, lab):
    """A token that may only read cannot make one that may write, though the account may."""
    weak = await world.token(Grant(("datasets",), ("get", "query"), ("lab",)), account=lab)
    async with world.client(weak) as client:
        assert (await client.post(f"/v0/accounts/{lab}/tokens", json={"grants": [WRITE], "expires": later()})).status_code == 403
        assert (await client.post(f"/v0/accounts/{lab}/tokens", json={"grants": [READ], "expires": later()})).status_code == 201
        assert (await client.get(f"/v0/accounts/{lab}/permissions")).status_code == 200
        assert (await client.get(f"/v0/accounts/{world.account}/permissions")).status_code == 403


async def test_nobody_hands_out_what_they_do_not_have(world, lab):
    """A manager of accounts cannot make an account stronger than the manager is."""
    manager = await world.token(Grant(("accounts",), ("*",), ("*",)), Grant(("datasets",), ("*",), ("lab",)))
    async with world.client(manager) as client:
        assert (await client.put(f"/v0/accounts/{lab}/permissions", json={"permissions": [READ]})).status_code == 200
        assert (await client.put(f"/v0/accounts/{lab}/permissions", json={"permissions": [EVERYTHING]})).status_code == 403


async def test_a_token_ends_in_the_future(api, lab):
    """A time in the past is refused, and the error names the field."""
    response = await api.post(f"/v0/accounts/{lab}/tokens", json={"grants": [READ], "expires": later(-1)})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "expires"]


async def test_a_token_revokes_no_stronger_ones(world, api, lab):
    """A token that may only read cannot end one that may write, nor end all; itself and its equals it can."""
    strong = await world.token(Grant(("datasets",), ("get", "query", "create"), ("lab",)), account=lab)
    weak = await world.token(Grant(("datasets",), ("query",), ("lab",)), account=lab)
    by_functions = {len(each["grants"][0]["functions"]): each["id"] for each in (await api.get(f"/v0/accounts/{lab}/tokens")).json()}
    async with world.client(weak) as client:
        refused = await client.delete(f"/v0/accounts/{lab}/tokens/{by_functions[3]}")
        assert (refused.status_code, "may do more than the token that you use" in refused.text) == (403, True)
        assert (await client.delete(f"/v0/accounts/{lab}/tokens")).status_code == 403
        assert (await client.delete(f"/v0/accounts/{lab}/tokens/{by_functions[1]}")).status_code == 200
        assert (await client.get("/v0/datasets")).status_code == 401
    async with world.client(strong) as client:
        assert (await client.get("/v0/datasets")).status_code == 200
        assert (await client.delete(f"/v0/accounts/{lab}/tokens")).status_code == 200
        assert (await client.get("/v0/datasets")).status_code == 401


async def test_an_account_makes_tokens_for_its_own_entities(api, world, lab):
    """A grant on an entity is covered by permissions on its owner; such a token does that, with that one, and no more."""
    own, second, others = [await world.dataset(account=account) for account in ("lab", "lab", "other")]
    token = await world.token(Grant(("datasets",), ("get", "query", "create"), ("lab",)), account=lab)

    def asking(*entities, **more):
        grant = {"resources": ["datasets"], "functions": ["get"], "entities": list(entities), **more}
        return {"grants": [grant], "expires": later()}

    path = f"/v0/accounts/{lab}/tokens"
    async with world.client(token) as client:
        more = [asking(own, functions=["delete"]), asking(own, resources=["models"])]
        for refused in (asking(others), asking(own, others), asking("0" * 32), asking("*"), *more):
            response = await client.post(path, json=refused)
            assert (response.status_code, "grant 0 is more than" in response.text) == (403, True)
        made = (await client.post(path, json=asking(own))).json()
    async with world.client(made) as client:
        answers = [(await client.get(f"/v0/datasets/{each}")).status_code for each in (own, second, others)]
        assert answers == [200, 403, 403]
        assert (await client.post(path, json=asking(own))).status_code == 201
        assert (await client.post(path, json=asking(second))).status_code == 403
        assert (
            await api.put(f"/v0/accounts/{lab}/permissions", json={"permissions": [{**READ, "accounts": ["other"]}]})
        ).status_code == 200
        assert (await client.get(f"/v0/datasets/{own}")).status_code == 403


async def test_the_entities_of_a_token_are_of_a_bounded_number(api, lab):
    """Each is looked up, so a request that names too many is refused, and the error names the field."""
    grant = {"resources": ["*"], "functions": ["get"], "entities": [f"{n:032x}" for n in range(201)]}
    response = await api.post(f"/v0/accounts/{lab}/tokens", json={"grants": [grant], "expires": later()})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body", "grants"])
