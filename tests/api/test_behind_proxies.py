"""The API behind proxies, over real sockets: whose address is logged, under which URL files are offered, and paths with a prefix."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from dyff.api import problems
from dyff.kernel import errors
from dyff.kernel.telemetry import log_fields
from tests.api.test_role import serving
from tests.entities import bodies
from tests.narrowing import sure

SAID = {"X-Forwarded-For": "6.6.6.6, 203.0.113.5", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "Dyff.Example"}


class Log:
    """Stands in for the logger of problems: remembers the clients that its lines have, as the first processor would add them."""

    def __init__(self):
        self.clients = []

    def warning(self, event, **_):
        self.clients.append(sure(log_fields.current()).client)


@asynccontextmanager
async def server(world, **changes):
    """A client of a server with these settings, as the admin."""
    chosen = msgspec.structs.replace(world.services.settings, **changes)
    async with serving(world, settings=chosen) as url, httpx.AsyncClient(base_url=url) as client:
        client.headers["Authorization"] = f"Bearer {world.admin}"
        yield client


async def upload_url(world, client):
    """The signed URL of a dataset's file."""
    created = await client.post("/v0/datasets", json={**bodies.DATASET, "account": world.account}, headers=SAID)
    assert created.status_code == 201, created.text
    path = created.json()["artifacts"][0]["path"]
    answer = await client.get(f"/v0/datasets/{created.json()['id']}/upload/{path}", headers=SAID)
    assert answer.status_code == 200, answer.text
    return answer.json()["url"]


@pytest.mark.parametrize(("trusted", "want"), [(("127.0.0.0/8",), "203.0.113.5"), (("10.0.0.0/8",), "127.0.0.1"), ((), "127.0.0.1")])
@pytest.mark.parametrize("express", [True, False])
async def test_the_log_has_the_client_that_a_trusted_proxy_names(world, monkeypatch, trusted, want, express):
    """From anyone else the headers count for nothing; the same on the express lane and next to it."""

    async def unavailable(*_):
        raise errors.Unavailable("no accounts today")

    async with server(world, trusted_proxies=trusted) as client:
        monkeypatch.setattr(world.services.authority, "verify", unavailable)
        monkeypatch.setattr(problems, "log", logged := Log())
        answer = await client.post("/v0/datasets" if express else "/v0/datasets?x=1", json=bodies.DATASET, headers=SAID)
    assert answer.status_code == 503
    assert logged.clients == [want]


@pytest.mark.parametrize(
    ("trusted", "public_url", "want"),
    [
        (("127.0.0.1",), None, "https://dyff.example/objects/"),
        (("127.0.0.1",), "https://public.example/", "http://dyff.test/objects/"),
        ((), None, "http://dyff.test/objects/"),
    ],
)
async def test_files_are_offered_under_the_url_that_the_client_used(world, trusted, public_url, want):
    """As a trusted proxy reports it; a public URL in the settings comes first, and anyone else is not believed."""
    async with server(world, trusted_proxies=trusted, public_url=public_url) as client:
        assert (await upload_url(world, client)).startswith(want)


@pytest.mark.parametrize("prefix", ["", "/dyff", "/a b/ü"])
@pytest.mark.parametrize("kept", [True, False])
async def test_a_proxy_may_remove_the_prefix_or_keep_it(world, prefix, kept):
    """Every route is there both ways: express or not, files, the description, and what is not there."""
    async with server(world, public_url=f"https://host{prefix}") as client:
        root = prefix if kept else ""
        created = await client.post(f"{root}/v0/datasets", json={**bodies.DATASET, "account": world.account})
        assert created.status_code == 201, created.text
        assert (await client.get(f"{root}/v0/datasets/{created.json()['id']}")).status_code == 200
        assert (await client.get(f"{root}/objects/x?signature=y")).status_code == 403
        assert (await client.get(f"{root}/health")).status_code == 200
        assert "text/html" in (await client.get(f"{root}/v0/docs")).headers["content-type"]
        document = (await client.get(f"{root}/v0/openapi.json")).json()
        assert document["servers"] == [{"url": httpx.URL(f"https://host{prefix}/").raw_path.decode().rstrip("/") or "/"}]
        assert (await client.get(f"{root}/nothing")).status_code == 404
        assert (await client.get(f"{root}x/health")).status_code == 404


async def test_a_socket_is_found_below_a_prefix(world):
    """The upgrade gets as far as the route, which asks for a token."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        "Sec-WebSocket-Version": "13",
    }
    async with server(world, public_url="https://host/dyff") as client:
        del client.headers["Authorization"]
        for root in ("", "/dyff"):
            answer = await client.get(f"{root}/v0/evaluations/{'0' * 32}/logs/workflow/stream", headers=headers)
            assert (answer.status_code, "Authorization" in answer.text) == (401, True)
