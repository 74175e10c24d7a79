"""Requests as entries of the audit log."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import anyio
import httpx
import msgspec
import pytest

from dyff.accounts import grants, tokens
from dyff.api import auditing, route
from dyff.kernel import audit, clock
from dyff.kernel.lines import Line
from tests.api.conftest import held, opened
from tests.api.test_role import serving
from tests.entities import bodies


class Audited:
    """A world of the API with the lines of its audit log."""

    def __init__(self, world, lines):
        self.world, self._lines = world, lines

    def entries(self, action: str | None = None) -> list[dict]:
        found = [json.loads(line) for line in self._made()]
        return [each for each in found if action in (None, each["action"])]

    def _made(self) -> list[bytes]:
        """As the thread that writes would make them."""
        self._lines[:] = [line if isinstance(line, bytes) else line() for line in self._lines]
        return self._lines

    def forget(self) -> None:
        self._lines.clear()

    def text(self) -> str:
        return b"".join(self._made()).decode()


async def started(path, *, reads=False):
    lines: list[Line] = []
    async for world in held(opened(path, audit=audit.Trail(lines.append, "w", reads=reads))):
        yield Audited(world, lines)


@pytest.fixture
async def audited(tmp_path):
    """An API with an audit log of what changes something."""
    async for each in started(tmp_path):
        yield each


@pytest.fixture
async def reading(tmp_path):
    """An API whose audit log has reads, too."""
    async for each in started(tmp_path, reads=True):
        yield each


async def test_a_create_is_recorded_with_who_and_what(audited):
    """Account, token, route, kind, new ID, outcome, sizes, duration and the caller's own request ID and trace; never the secret."""
    world = audited.world
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with world.client() as client:
        created = await client.post("/v0/datasets", json=bodies.DATASET, headers={"X-Request-Id": "r-1", "traceparent": trace})
    (entry,) = audited.entries()
    claims = tokens.unverified(world.admin)
    assert claims is not None
    assert entry.pop("duration_ms") > 0
    assert entry.pop("time") <= clock.iso(world.services.clock.now())
    assert entry.pop("client")
    assert entry == {
        "stream": "audit", "writer": "w", "seq": 1, "action": "datasets.create", "outcome": "ok", "account": world.account,
        "account_name": "auditor", "token": claims[0], "method": "POST", "route": "/v0/datasets", "kind": "Dataset",
        "entity": created.json()["id"], "status": 201, "request": "r-1", "trace": trace,
        "bytes_in": int(created.request.headers["content-length"]), "bytes_out": len(created.content),
    }  # fmt: skip
    assert "eyJ" not in audited.text()


async def test_what_was_rejected_or_refused_is_recorded_with_why(audited):
    """Wrong fields, an unknown entity, a missing grant, a forged token and none at all: status, outcome and the class of the error."""
    world = audited.world
    own = await world.token(grants.Grant(("datasets",), ("get",), ("public",)))
    async with world.client() as client:
        await client.post("/v0/datasets", json={})
        await client.put("/v0/datasets/0123/delete")
        await client.post("/v0/datasets", json=bodies.DATASET, headers={"Authorization": f"Bearer {own}"})
        await client.get("/v0/models", headers={"Authorization": f"Bearer {own}"})
        await client.get("/v0/models", headers={"Authorization": f"Bearer {world.admin}x"})
        await client.get("/v0/models", headers={"Authorization": "Basic eyJhIjoxfQ.eyJiIjoyfQ.abc"})
    found = [(each["action"], each["status"], each["outcome"], each["error"]) for each in audited.entries()]
    assert found == [
        ("datasets.create", 422, "rejected", "InvalidFields"),
        ("datasets.delete", 404, "rejected", "NotFound"),
        ("datasets.create", 403, "refused", "Forbidden"),
        ("models.query", 403, "refused", "Forbidden"),
        ("models.query", 401, "refused", "Unauthenticated"),
        ("models.query", 401, "refused", "Unauthenticated"),
    ]
    forged = audited.entries()[4]
    assert "account" not in forged
    assert forged["claimed"]["subject"] == f"Account/{world.account}"
    assert "eyJ" not in audited.text()


async def test_reads_are_recorded_only_if_they_are_wanted(audited):
    """A plain read has no entry; reads of tokens, of permissions and of signed URLs always have one."""
    world = audited.world
    dataset = await world.dataset()
    audited.forget()
    async with world.client() as client:
        for path in ("/v0/datasets", f"/v0/datasets/{dataset}", f"/v0/accounts/{world.account}", "/health", "/v0/docs"):
            await client.get(path)
        assert audited.entries() == []
        await client.get(f"/v0/accounts/{world.account}/tokens")
        await client.get(f"/v0/accounts/{world.account}/permissions")
        await client.get(f"/v0/datasets/{dataset}/downlinks")
    actions = ["accounts.list_tokens", "accounts.permissions", "datasets.downlinks"]
    assert [(each["action"], each["stream"]) for each in audited.entries()] == [(each, "audit") for each in actions]


async def test_plain_reads_are_access_entries(reading):
    """With `audit.reads`, they are in a stream of their own; probes and the documentation never are."""
    async with reading.world.client() as client:
        await client.get("/v0/datasets")
        await client.head("/v0/datasets")
        await client.get("/health")
    assert [(each["action"], each["stream"]) for each in reading.entries()] == [("datasets.query", "access")] * 2


async def test_a_new_token_is_recorded_by_its_id(audited):
    """The entry has the ID of the token that was made or revoked, and nothing that could be used as one."""
    world = audited.world
    async with world.client() as client:
        expires = clock.iso(world.services.clock.now() + timedelta(days=1))
        made = await client.post(f"/v0/accounts/{world.account}/tokens", json={"expires": expires, "grants": []})
        claims = tokens.unverified(made.json())
        assert claims is not None
        await client.delete(f"/v0/accounts/{world.account}/tokens/{claims[0]}")
    assert [each["target"] for each in audited.entries() if "target" in each] == [claims[0]] * 2
    assert made.json().split(".")[2] not in audited.text()


async def test_every_route_that_changes_something_is_recorded(audited):
    """The rule is the method, not a list of routes; the one exception only reads."""
    lane_routes = {(each.method, each.operation): each for each in audited.world.app.described}
    subject = auditing.Auditing(audit.Trail(lambda _: None, "w", reads=False), clock.SystemClock())
    streams = {key: subject._learn(each).stream for key, each in lane_routes.items()}
    unrecorded = [key for key, stream in streams.items() if key[0] in ("POST", "PUT", "PATCH", "DELETE") and stream != "audit"]
    assert unrecorded == [("POST", "check_ready")]
    assert len(streams) > 20


async def test_a_flood_of_strangers_is_counted_not_listed(audited, monkeypatch):
    """Beyond a number in a second, requests without a valid token have one entry together, so that they cannot fill the disk."""
    monkeypatch.setattr(auditing, "MAX_UNKNOWN_PER_S", 3)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    async with audited.world.client("") as client:
        for _ in range(10):
            await client.get("/v0/datasets")
        now[0] += 1
        await client.get("/v0/datasets")
    assert [each.get("count") for each in audited.entries()] == [None] * 3 + [7, None]
    assert [each["seq"] for each in audited.entries()] == [1, 2, 3, 4, 5]


async def test_what_a_caller_writes_cannot_look_like_something_else(audited):
    """Line breaks and control characters in IDs, paths and headers stay within their field."""
    async with audited.world.client() as client:
        await client.put("/v0/datasets/a%0A%7B%22stream%22%3A%22audit%22%7D/delete", headers={"X-Request-Id": "a\tb" + "x" * 500})
    (entry,) = audited.entries()
    assert entry["entity"] == ascii('a\n{"stream":"audit"}')
    assert len(entry["request"]) < 200
    assert audited.text().count("\n") == 1


async def test_a_stream_is_recorded_when_it_ends(reading):
    """A download by a signed URL: the size is that of the bytes that were sent, the kind and the ID are those of the file."""
    world = reading.world

    async def pieces():
        yield b"x" * 1000

    key = f"datasets/{'0' * 32}/rows.parquet"
    await world.services.objects.put(key, pieces())
    url = world.services.signer.url("GET", key).url
    async with world.client("") as client:
        assert (await client.get(url)).content == b"x" * 1000
    (entry,) = reading.entries()
    assert (entry["action"], entry["kind"], entry["entity"], entry["bytes_out"]) == ("objects.fetch", "Dataset", "0" * 32, 1000)


async def test_a_request_without_an_answer_is_recorded(audited):
    """One that would change something, and whose caller left or whose server stopped, is `aborted`."""
    begun = anyio.Event()

    async def never(call):
        begun.set()
        await anyio.sleep_forever()

    async def receive():
        await anyio.sleep_forever()

    slow = route.Route(method="PUT", path="/v0/datasets/{id:str}/slow", answer=never, group="datasets", operation="slow", summary="")
    scope = {"method": "PUT", "headers": [(b"authorization", b"Bearer " + audited.world.admin.encode())], "query_string": b""}
    async with anyio.create_task_group() as group:
        group.start_soon(audited.world.app.lane.answer, slow, scope, receive, {"id": "0123"})
        await begun.wait()
        group.cancel_scope.cancel()
    (entry,) = audited.entries()
    assert (entry["outcome"], entry["entity"], entry["account"], "status" in entry) == ("aborted", "0123", audited.world.account, False)


async def test_an_express_create_is_recorded_with_its_client(audited):
    """The lane without ASGI leaves nothing out."""
    async with serving(audited.world) as url, httpx.AsyncClient(base_url=url) as client:
        await client.post("/v0/datasets", json=bodies.DATASET, headers={"Authorization": f"Bearer {audited.world.admin}"})
    (entry,) = audited.entries()
    assert (entry["action"], entry["client"], entry["bytes_in"] > 0, entry["bytes_out"] > 0) == ("datasets.create", "127.0.0.1", True, True)


def test_an_entry_has_no_field_for_a_body():
    """What a request contains is not in the audit log."""
    assert {"body", "headers", "authorization", "query"}.isdisjoint(each.name for each in msgspec.structs.fields(audit.Entry))
