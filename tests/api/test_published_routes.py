"""Every call that the published client's methods can make has a route here."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from dyff.client import Client, _apigroups
from dyff.schema import requests

from tests.entities import bodies

ID = "0123456789ab4def8123456789abcdef"
GROUPS = (
    "accounts", "datasets", "evaluations", "families", "inferenceservices", "inferencesessions", "methods", "models", "modules", "usecases",
)  # fmt: skip
ABSENT = {
    ("PATCH", f"/v0/accounts/{ID}/labels"): "a published Account has no labels",
    ("POST", f"/v0/evaluations/{ID}/finalize"): "inherited by the client; an evaluation's outputs are made by its run",
}
GRANT: Any = {"resources": ["datasets"], "functions": ["get"], "accounts": ["test"]}
ARGUMENTS: dict[str, Any] = {
    "id": ID, "session_id": ID, "model_id": ID, "account_id": ID, "token_id": ID, "path": "a/b.bin", "token": "t", "endpoint": "generate",
    "labels": {"a": "1"}, "access": "public", "expires": None,
    "edit_request": requests.DocumentationEditRequest.model_validate({"documentation": {"title": "t"}}),
    "account": "test", "name": "n", "resources": {"storage": "1Mi"}, "tag": "v1",
    "members": {"v1": {"entity": {"kind": "Dataset", "id": ID}}},
}  # fmt: skip
LATER: Any = "2090-01-01T00:00:00Z"  # as text, which the published models take
REQUESTS: dict[str, dict[str, Any]] = {
    "create": {
        "accounts": {"name": "n"}, "datasets": bodies.DATASET, "models": bodies.MODEL_MOCK, "inferenceservices": bodies.SERVICE,
        "inferencesessions": {"account": "test", "inferenceService": ID},
        "evaluations": {"account": "test", "dataset": ID, "inferenceSession": {"inferenceService": ID}},
        "families": bodies.FAMILY, "methods": bodies.METHOD, "modules": bodies.MODULE, "usecases": bodies.CONCERN,
    },
    "create_token": {"accounts": requests.AccountTokenCreateRequest(grants=[GRANT], expires=LATER)},
    "set_permissions": {"accounts": requests.AccountPermissionsSetRequest(permissions=[GRANT])},
}  # fmt: skip


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """All calls, as (method, path), that the client makes when each of its public methods is called."""
    made: set[tuple[str, str]] = set()

    def answer(self, request):
        if request.url.host == "dyff.test":
            made.add((request.method, request.url.path))
        if "/upload/" in request.url.path:
            return httpx.Response(200, json={"url": "http://store.test/x", "method": "PUT", "headers": {}}, request=request)
        if request.url.path.endswith("/ready") and request.method == "GET":
            return httpx.Response(405, request=request)  # so that it tries the older way too
        if request.url.path.endswith("/token") and request.method == "POST":
            return httpx.Response(405, request=request)
        return httpx.Response(200, json={}, request=request)

    def upgrade(url, **_):
        made.add(("WS", urlsplit(url).path))
        raise ConnectionError

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setattr(_apigroups, "websocket_connect", upgrade)
    client = Client(api_token="t", endpoint="http://dyff.test/v0")
    with contextlib.closing(client._http):
        for group in GROUPS:
            for name, method in inspect.getmembers(getattr(client, group), callable):
                if not name.startswith("_"):
                    call(group, name, method, tmp_path)
        infer = client.inferencesessions.client(ID, "t", endpoint="openai/v1/completions")
        with contextlib.closing(infer._client):
            infer.infer({})
    return made


def call(group, name, method, tmp_path):
    """Call it with something for each parameter; what it makes of the empty answers is its own affair."""
    arguments = {each: ARGUMENTS[each] for each in inspect.signature(method).parameters if each in ARGUMENTS and name != "query"}
    if "request" in inspect.signature(method).parameters:
        arguments["request"] = REQUESTS[name][group]
    if "destination" in inspect.signature(method).parameters:
        arguments["destination"] = tmp_path / f"{group}-{name}"
    if name in ("create_arrow_dataset", "upload_arrow_dataset", "create_from_volume", "upload_volume", "create_package", "client"):
        return  # made of the others
    with contextlib.suppress(Exception):
        result = method(**arguments)
        if inspect.isasyncgen(result):
            asyncio.run(anext(result))
        elif inspect.isgenerator(result):
            next(result)


async def test_every_call_of_the_published_client_has_a_route(calls, world, api):
    """For accounts, datasets, models, services, sessions and evaluations; what is absent is absent for a reason."""
    assert len(calls) > 60
    lacking = set()
    for method, path in sorted(calls):
        response = await api.request("GET" if method == "WS" else method, path, content=b"")
        found = response.status_code != 405 and "no such route" not in response.text
        if not found:
            lacking.add((method, path))
    assert lacking == set(ABSENT)


async def test_the_calls_are_those_of_the_published_description(calls):
    """The list is not empty for any of the groups and has what only some methods do."""
    paths = {re.sub(ID, "ID", path) for _, path in calls}
    for path in (
        "accounts/ID/permissions", "accounts/ID/tokens/ID", "datasets/ID/downlinks", "models/ID/logs", "models/ID/upload/a/b.bin",
        "inferencesessions/ID/token", "inferencesessions/ID/infer/openai/v1/completions", "evaluations/ID/logs/workflow/stream",
    ):  # fmt: skip
        assert f"/v0/{path}" in paths, json.dumps(sorted(paths), indent=1)
