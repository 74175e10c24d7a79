"""The stream of changes in both clients: what it yields, and what it does when it ends."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from dyff.sdk import errors, following
from tests.sdk.conftest import got

CHANGE = {"kind": "Dataset", "plural": "datasets", "id": "d", "account": "a", "status": "Ready", "time": "2026-01-31T12:00:00Z"}


def event(name: str, data: Any, identity: str = "") -> bytes:
    """An event as the server sends it."""
    return (f"id: {identity}\n" if identity else "").encode() + f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that arrives in two pieces, for either client."""

    def __init__(self, data: bytes) -> None:
        self._pieces = (data[:70], data[70:])

    def __iter__(self):
        yield from self._pieces

    async def __aiter__(self):
        for each in self._pieces:
            yield each


class Server:
    """Answers each request with the next stream, and remembers what it was asked."""

    def __init__(self, *streams: Any) -> None:
        self._streams = list(streams)
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        stream = self._streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        if isinstance(stream, int):
            return httpx.Response(stream, stream=Pieces(b'{"detail": "a sentence"}'))
        return httpx.Response(200, stream=Pieces(stream), headers={"content-type": "text/event-stream"})


async def taken(found: Any, count: int) -> list[Any]:
    """The first changes of an iteration of either client, which is then closed."""
    if hasattr(found, "__anext__"):
        changes = [await anext(found) for _ in range(count)]
        await found.aclose()
        return changes
    changes = [next(found) for _ in range(count)]
    found.close()
    return changes


OPEN = event("open", {"heartbeatSeconds": 15}, "e;0=1")


async def test_changes_come_with_where_to_go_on(connect):
    """Heartbeats are no changes, but move the place on; each change has its own."""
    first, second = event("change", CHANGE, "e;0=3"), event("change", {**CHANGE, "id": "x"}, "e;0=4")
    server = Server(OPEN + event("heartbeat", {}, "e;0=2") + first + second)
    found = await taken(connect(server).changes(kind="datasets", account="a"), 2)
    assert [(each.id, each.status, each.resume) for each in found] == [("d", "Ready", "e;0=3"), ("x", "Ready", "e;0=4")]
    assert server.asked == [{"kind": "datasets", "account": "a"}]


async def test_a_lost_connection_goes_on_where_it_was(connect):
    """Also if the server stops, or says that it is busy for a moment, in the middle of an event, or before the first one."""
    server = Server(
        httpx.ConnectError("away"),
        503,
        OPEN + event("change", CHANGE, "e;0=3") + b"event: chan",
        OPEN.replace(b"e;0=1", b"e;0=3") + event("end", {"why": "stopping", "message": "m"}),
        OPEN.replace(b"e;0=1", b"e;0=5") + event("change", {**CHANGE, "id": "y"}, "e;0=6"),
    )
    found = await taken(connect(server).changes(since="e;0=0"), 2)
    assert [each.id for each in found] == ["d", "y"]
    assert [each["since"] for each in server.asked] == ["e;0=0", "e;0=0", "e;0=0", "e;0=3", "e;0=3"]


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (OPEN + event("end", {"why": "token", "message": "revoked"}), errors.NotAuthenticated),
        (OPEN + event("end", {"why": "permissions", "message": "reload"}), errors.Missing),
        (OPEN + event("end", {"why": "slow", "message": "reload"}), errors.Missing),
        (410, errors.Missing),
        (403, errors.NotAllowed),
        (OPEN + b"event: change\ndata: {nonsense\n\n", errors.SdkError),
    ],
)
async def test_an_end_for_good_is_an_error(connect, stream, error):
    """It says why; nothing is tried again."""
    server = Server(stream)
    with pytest.raises(error):
        await taken(connect(server).changes(), 1)
    assert len(server.asked) == 1


async def test_a_server_that_stays_away_is_given_up(connect):
    """After as many tries as for any other call."""
    server = Server(*[httpx.ConnectError("away", request=httpx.Request("GET", "http://server/v0/changes"))] * 10)
    with pytest.raises(errors.ServerUnreachable):
        await taken(connect(server, retries=2).changes(), 1)
    assert len(server.asked) == 3


async def test_an_event_without_an_end_is_bounded(connect, monkeypatch):
    """What is no stream of ours does not fill the memory."""
    monkeypatch.setattr(following, "MAX_EVENT_BYTES", 100)
    with pytest.raises(errors.SdkError, match="100 bytes"):
        await taken(connect(Server(b"x" * 1000)).changes(), 1)


async def test_the_system_and_quotas(connect):
    """They are typed values."""
    system = {
        "time": "2026-01-31T12:00:00Z", "everySeconds": 10, "roles": [{"role": "sink", "known": False}], "degraded": [], "ports": [],
        "lag": {"sink": 3}, "history": [],
    }  # fmt: skip
    zero = {"used": "0", "limit": None}
    quotas = {"admitted": {"used": "1", "limit": "8"}, "cpu": zero, "memory": zero, "accelerators": {}, "complete": True}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=system if request.url.path == "/v0/system" else quotas)

    client = connect(answer)
    assert (await got(client.system())).lag.sink == 3
    assert (await got(client.accounts.get_quotas("a" * 32))).admitted.used == "1"
