"""Two accounts: whatever route there is, a stranger gets nothing of another's things out of it, and does nothing to them."""

from __future__ import annotations

import json

import pytest

from dyff.accounts.grants import ANY, Grant
from dyff.entities import registry
from tests.entities import bodies

OPEN = {
    "/health",
    "/ready",
    "/metrics",
    "/objects/{key}",
    "/v0/docs",
    "/v0/kinds",
    "/v0/openapi.json",
    "/v0/schema/dyff.json",
    "/v0/sign-in",
}
"""Routes that need no token, and tell nothing of anybody."""


async def entity_of(world, kind, account):
    """A new entity of the account."""
    plural, refers = registry.BY_KIND[kind].plural, kind in ("InferenceSession", "Evaluation")
    if kind == "Report":
        await world.put({**bodies.REPORT, "account": account})
        return bodies.REPORT["id"]
    if kind in ("Measurement", "SafetyCase"):
        body = await world.analysis_body(kind, account)
    elif not refers:
        body = bodies.CREATE[kind][-1]
        body = bodies.SERVICE if kind == "InferenceService" else body
    else:
        service, dataset = await world.ready_service(account=account), await world.dataset(account=account)
        body = {"inferenceService": service} if kind == "InferenceSession" else {
            "dataset": dataset, "inferenceSession": {"inferenceService": service},
        }  # fmt: skip
    async with world.client() as client:
        response = await client.post(f"/v0/{plural}", json={**body, "account": account})
    assert response.status_code == 201, response.text
    return response.json().get("inferencesession", response.json())["id"]


def own(account):
    """What `dyff token create` gives: everything on what the account owns."""
    return Grant((ANY,), (ANY,), (account,))


@pytest.mark.parametrize("kind", [row.name for row in registry.ROWS])
async def test_no_route_lets_a_stranger_at_an_entity(world, kind):
    """Every method on every path below an entity's is refused with 403, tells nothing of the entity, and leaves no command."""
    entity_id = await entity_of(world, kind, "mine")
    row = registry.BY_KIND[kind]
    async with world.client(await world.token(own("yours"))) as stranger:
        routes = (await stranger.get("/v0/openapi.json")).json()["paths"]
        below = [(method, path) for path, found in routes.items() if path.startswith(f"/v0/{row.plural}/{{id}}") for method in found]
        assert len(below) >= 6
        before = len(await world.events())
        for method, path in below:
            target = (
                path.replace("{id}", entity_id).replace("{path}", "a.parquet").replace("{endpoint}", "generate").replace("{index}", "0")
            )
            query = {"part": "item", "column": "text"} if path.endswith("/{index}/value") else None
            answer = await stranger.request(method.upper(), target, params=query, content=_body(path))
            hidden = path.endswith("/dossier")  # it does not even tell whether there is one (tests/pages)
            assert answer.status_code == (404 if hidden else 403), (method, path, answer.text)
            assert "mine" not in answer.text, (method, path, answer.text)
        assert (await stranger.get(f"/v0/{row.plural}")).json() == []
        assert len(await world.events()) == before


def _body(path):
    parts = {"labels": {"labels": {"a": "b"}}, "documentation": {"documentation": {"title": "mine now"}}, "members": {"members": {}}}
    return json.dumps(parts.get(path.rpartition("/")[2]))


async def test_no_stranger_uses_what_is_not_granted(world):
    """References to another's dataset, service or session are refused at creation, and nothing is created."""
    service, dataset = await world.ready_service(account="mine"), await world.dataset(account="mine")
    session = await entity_of(world, "InferenceSession", "mine")
    my_dataset, my_service = await world.dataset(account="yours"), await world.ready_service(account="yours")
    before = len(await world.events())
    async with world.client(await world.token(own("yours"))) as stranger:
        for plural, body in (
            ("evaluations", {"dataset": dataset, "inferenceSession": {"inferenceService": my_service}}),
            ("evaluations", {"dataset": my_dataset, "inferenceSession": {"inferenceService": service}}),
            ("evaluations", {"dataset": my_dataset, "inferenceSessionReference": session}),
            ("inferencesessions", {"inferenceService": service}),
        ):
            answer = await stranger.post(f"/v0/{plural}", json={"account": "yours", **body})
            assert answer.status_code == 403, answer.text
            assert (await stranger.post(f"/v0/{plural}", json={"account": "mine", **body})).status_code == 403
    assert len(await world.events()) == before


async def test_every_route_that_is_not_open_needs_a_token(world):
    """Without a token every documented route is a 401, whatever its path and body; one that some may read without is a 404."""
    async with world.client("") as nobody:
        routes = (await nobody.get("/v0/openapi.json")).json()["paths"]
        asked = 0
        for path, found in routes.items():
            for method in found if path not in OPEN else ():
                target = path.replace("{id}", "0" * 32).replace("{path}", "a").replace("{endpoint}", "generate")
                answer = await nobody.request(method.upper(), target, content=b"{")
                wanted = 404 if {} in found[method]["security"] else 401
                assert answer.status_code == wanted, (method, path, answer.status_code)
                asked += 1
        assert asked > 30
