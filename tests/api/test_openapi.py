"""The OpenAPI document: valid, complete, and its examples work. That answers are as it says is checked in all tests of the API."""

from __future__ import annotations

import re

import openapi_spec_validator
import pytest
import pytest_asyncio

from dyff.api import components
from dyff.entities import registry, stored
from dyff.entities.identity import Part
from dyff.kernel import errors
from tests.narrowing import sure

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(shared_api):
    """The document."""
    return (await shared_api.get("/v0/openapi.json")).json()


def operations(document):
    """(path, method, operation) of each."""
    return [(path, method, each) for path, found in document["paths"].items() for method, each in found.items()]


async def test_it_is_valid(document):
    """OpenAPI 3.1, with references that lead somewhere, also those that a client does not follow."""
    openapi_spec_validator.validate(document)
    for reference in re.findall(r"'\$ref': '#([^']*)'", str(document)):
        place = document
        for step in reference.strip("/").split("/"):
            place = place[step]


async def test_every_success_has_a_schema(document):
    """Every success that has a body says of what type it is; JSON says of what form. Only a service's own answer may be anything.

    A route that only redirects has no success of its own.
    """
    for path, method, operation in operations(document):
        found = {status: each for status, each in operation["responses"].items() if status.startswith("2")}
        redirects = [each for status, each in operation["responses"].items() if status in ("303", "307")]
        assert found or (redirects and all("Location" in each["headers"] for each in redirects)), (method, path)
        for status, response in found.items():
            for media_type, content in response.get("content", {}).items():
                assert content.get("schema") or media_type == "*/*", (method, path, status)
            assert response.get("content") or path == "/objects/{key}", (method, path, status)


async def test_operations_have_the_published_names(document):
    """What generated clients call their functions."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for row in registry.ROWS:
        assert {f"{row.plural}_{each}" for each in ("get", "query", "label", "delete")} <= set(names)
        assert (f"{row.plural}_create" in names) == (row.creation is not None)
    by_name = {operation["operationId"]: operation for _, _, operation in operations(document)}
    created = by_name["evaluations_create"]["responses"]["201"]["content"]["application/json"]["schema"]
    assert created == {"$ref": "#/components/schemas/Evaluation"}


async def test_schemas_have_plain_names(document):
    """No module is in a name; of two parts with one name that of an answer says so."""
    names = set(document["components"]["schemas"])
    assert [name for name in names if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    assert {"Artifact", "ArtifactAnswer", "Volume", "VolumeAnswer", "AccessGrant", "AccessGrantAnswer", "Evaluation"} <= names


async def test_patterns_are_those_of_other_languages(document):
    """No pattern has what only Python needs, and each is one."""
    patterns = re.findall(r"'pattern': '((?:[^'\\]|\\.)*)'", str(document))
    assert len(patterns) > 20
    for pattern in patterns:
        assert "(?" not in pattern
        re.compile(pattern.encode().decode("unicode_escape"))


async def test_two_structs_never_share_a_name():
    """Names stay as they are when something is added: a clash is an error that names the structs, not another name."""

    class Digest(Part, frozen=True):
        """Of something else."""

    with pytest.raises(errors.Incomplete, match=r"Digest.*Digest"):
        components.Components([Digest, sure(registry.BY_KIND["Dataset"].creation).request])

    class Volume(stored.Part, frozen=True):
        """Of something else, too."""

    with pytest.raises(errors.Incomplete, match="Volume"):
        components.Components([Volume, stored.Volume])


REFERS = {f"{group}_create" for group in ("evaluations", "inferencesessions", "measurements", "methods", "safetycases")}
"""Operations whose examples refer to what does not exist."""


async def test_every_body_has_an_example_that_works(document, shared_world, shared_api):
    """Sent as it is, it is accepted, or what it refers to does not exist."""
    session_body = {"account": "test", "inferenceService": await shared_world.ready_service(), "expires": "2199-01-01T00:00:00Z"}
    session = (await shared_api.post("/v0/inferencesessions", json=session_body)).json()["inferencesession"]["id"]
    account = (await shared_api.post("/v0/accounts", json={"name": "lab"})).json()["id"]
    known = {"datasets": await shared_world.dataset(), "inferencesessions": session, "accounts": account}
    tried = set()
    for path, method, operation in operations(document):
        name, group = operation["operationId"], operation["tags"][0]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "{path}" in path or not content or ("{id}" in path and group not in known):
            continue
        if name == "accounts_create_token":  # the account needs the permissions that the other example gives it
            permissions = document["paths"]["/v0/accounts/{id}/permissions"]["put"]["requestBody"]["content"]["application/json"]
            assert (await shared_api.put(f"/v0/accounts/{account}/permissions", json=permissions["example"])).status_code == 200
        answer = await shared_api.request(method, path.replace("{id}", known.get(group, "")), json=content["example"])
        wanted = (404,) if name in REFERS else (401,) if name == "server_sign_in" else (200, 201)  # a code is good once
        assert answer.status_code in wanted, (path, answer.text)
        tried.add(name)
    created = {f"{row.plural}_create" for row in registry.ROWS if row.creation is not None}
    assert created | {"accounts_create", "inferencesessions_token", "datasets_label"} <= tried


async def test_every_path_says_which_methods_it_has(document, shared_world):
    """OPTIONS and 405 have the complete header Allow, with and without a token; HEAD works wherever GET does, without a body."""
    async with shared_world.client("") as client:
        for path, found in document["paths"].items():
            target = re.sub(r"\{\w+\}", "0" * 32, path)
            wanted = {method.upper() for method in found} | {"OPTIONS"} | ({"HEAD"} if "get" in found else set())
            options = await client.options(target)
            assert (options.status_code, options.content) == (204, b""), path
            assert set(options.headers["allow"].split(", ")) == wanted, path
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - wanted:
                refused = await client.request(method, target)
                assert refused.status_code == 405, (method, path)
                assert set(refused.headers["allow"].split(", ")) == wanted, (method, path)
                assert list(refused.json()) == ["detail"], (method, path)
            if "get" in found:
                got, head = await client.get(target), await client.head(target)
                assert (head.status_code, head.content) == (got.status_code, b""), path
                assert head.headers["content-length"] == got.headers["content-length"], path


async def test_a_stream_allows_no_method_called_websocket(shared_world):
    """The path of a WebSocket, which is in no document, names methods of HTTP only."""
    async with shared_world.client("") as client:
        answer = await client.post(f"/v0/models/{'0' * 32}/logs/workflow/stream")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
