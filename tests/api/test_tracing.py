"""Each answer names the trace of its request, whatever the request was."""

from __future__ import annotations

import json
import re

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from dyff.kernel.telemetry import names
from tests.api.test_role import serving
from tests.entities import bodies
from tests.telemetry.scraped import scrape

THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{THEIRS}-00f067aa0ba902b7-01"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v0/datasets", 200),
        ("GET", "/v0/datasets/0123", 404),
        ("GET", "/v0/nonsense", 404),
        ("GET", "/%zz", 404),
        ("BREW", "/v0/datasets", 405),
        ("OPTIONS", "/v0/datasets", 204),
        ("HEAD", "/v0/datasets", 200),
        ("GET", "/health", 200),
    ],
)
async def test_every_answer_names_a_trace(world, api, method, path, status):
    """The client's if it has one, otherwise a new one; also where there is no route."""
    answer = await api.request(method, path)
    assert answer.status_code == status
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["dyff-trace"])
    assert (await api.request(method, path, headers=PARENT)).headers["dyff-trace"] == THEIRS
    assert (await api.request(method, path, headers={"traceparent": "nonsense"})).headers["dyff-trace"] != THEIRS


async def test_an_opened_websocket_names_its_trace_and_so_does_one_that_is_refused(world, api):
    """The answer to the upgrade has the header like any other."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    async with serving(world) as url:
        address = f"{url.replace('http', 'ws')}/v0/evaluations/{evaluation}/logs/workflow/stream"
        async with connect(address, additional_headers={**PARENT, "Authorization": f"Bearer {world.admin}"}) as socket:
            assert socket.response is not None
            assert socket.response.headers["dyff-trace"] == THEIRS
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(address, additional_headers=PARENT)
        assert (refused.value.response.status_code, refused.value.response.headers["dyff-trace"]) == (401, THEIRS)


@pytest.mark.parametrize("path", ["/v0/nonsense/stream", "/v0/datasets"])
async def test_a_websocket_where_there_is_none_is_answered_and_counted_like_any_request(world, path):
    """With a 404 in the usual form, under `other`: neither the path nor a route is a label."""
    async with serving(world) as url:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(f"{url.replace('http', 'ws')}{path}", additional_headers=PARENT)
        answer = refused.value.response
        assert (answer.status_code, answer.headers["dyff-trace"]) == (404, THEIRS)
        assert "WebSocket" in json.loads(answer.body)["detail"]
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {world.admin}"}) as client:
            assert (await client.post("/v0/datasets", json=bodies.DATASET)).status_code == 201
        found = await scrape(world.services.metrics)
        assert found.value(names.HTTP_REQUESTS, method="GET", route="other", status="404") == 1
        assert found.total(names.HTTP_REQUESTS) == 2
