"""Who may do what: tokens, grants, and what the answer is to those who may not."""

from __future__ import annotations

import contextlib
import io
from datetime import timedelta

import pytest

from dyff.accounts import grants, tokens
from dyff.accounts.grants import Grant
from dyff.kernel import logs
from tests.entities import bodies


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic eA==", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer \xff"])
async def test_without_a_valid_token_nothing_is_answered(world, header):
    """401 with WWW-Authenticate, on reads and on the fast lane of creates alike."""
    async with world.client("") as client:
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        for response in (
            await client.get("/v0/datasets", headers=headers),
            await client.post("/v0/datasets", content="{", headers=headers),
        ):
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            assert isinstance(response.json()["detail"], str)
    assert await world.events() == []


async def test_a_token_that_another_key_signed_is_refused(world):
    """The signature decides, whatever the token says."""
    now = world.services.clock.now()
    forged = tokens.sign(tokens.Claims("x", f"Account/{world.account}", now, now + timedelta(hours=1), grants.ADMIN), b"another" * 8)
    async with world.client(forged) as client:
        assert (await client.get("/v0/datasets")).status_code == 401


async def test_create_needs_a_grant_on_the_account_of_the_request(world):
    """A grant for one account does not create for another."""
    token = await world.token(Grant(("datasets",), ("create",), ("mine",)))
    async with world.client(token) as client:
        assert (await client.post("/v0/datasets", json={**bodies.DATASET, "account": "mine"})).status_code == 201
        refused = await client.post("/v0/datasets", json={**bodies.DATASET, "account": "yours"})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (403, "Bearer")
        assert "'yours'" in refused.json()["detail"]
        assert (await client.post("/v0/models", json=bodies.MODEL_MOCK)).status_code == 403


async def test_an_entity_that_is_used_in_another_needs_consume(world):
    """`create` on evaluations is not enough: every referenced entity must be granted too."""
    body = {**await world.evaluation_body(), "account": "mine"}
    create = Grant(("evaluations",), ("create",), ("mine",))
    datasets, services = Grant(("datasets",), ("consume",), ("test",)), Grant(("inferenceservices",), ("consume",), ("test",))
    for granted, want in [((create,), 403), ((create, datasets), 403), ((create, services), 403), ((create, datasets, services), 201)]:
        async with world.client(await world.token(*granted)) as client:
            assert (await client.post("/v0/evaluations", json=body)).status_code == want, granted


async def test_what_may_not_be_seen_is_refused_or_left_out(world):
    """Reading a stranger's entity is 403; a query shows what is owned or named by a grant, and nothing else."""
    mine, yours = await world.dataset(account="mine"), await world.dataset(account="yours")
    token = await world.token(Grant(("datasets",), ("get", "query"), ("mine",)))
    async with world.client(token) as client:
        assert (await client.get(f"/v0/datasets/{mine}")).status_code == 200
        assert (await client.get(f"/v0/datasets/{yours}")).status_code == 403
        await world.services.query.wait({}, 1)
        assert [each["id"] for each in (await client.get("/v0/datasets")).json()] == [mine]
        assert (await client.get("/v0/models")).status_code == 403
        assert (await client.put(f"/v0/datasets/{mine}/delete")).status_code == 403
    named = await world.token(Grant(("datasets",), ("query",), (), (yours,)))
    async with world.client(named) as client:
        assert [each["id"] for each in (await client.get("/v0/datasets")).json()] == [yours]


async def test_a_token_never_reaches_the_log(world, api, monkeypatch):
    """Neither an unforeseen error nor a refusal writes a token."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    logs.configure("debug", written)

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(f"broken with {world.admin}")

    import msgspec

    from dyff.api import app

    world.app = app.build(msgspec.structs.replace(world.services, query=Broken()))
    async with world.client() as client:
        response = await client.get(f"/v0/datasets/{'0' * 32}")
        assert response.status_code == 500
        number = response.json()["detail"].split()[-1]
    assert number in written.getvalue()
    assert "RuntimeError" in written.getvalue()
    assert world.admin not in written.getvalue() + response.text
    with contextlib.suppress(ValueError):
        logs.configure("info")
