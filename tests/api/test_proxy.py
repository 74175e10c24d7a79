"""Inference through the API, over real sockets: what is streamed, what is cut, what is never passed on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from tests.api.test_role import serving

DEADLINE_S = 20.0
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Upstream:
    """The server of a session: `handle(reader, writer)` speaks for it. `ended`: set when a connection was lost by the other side."""

    def __init__(self, handle):
        self._handle = handle
        self.connections = 0
        self.ended = asyncio.Event()

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            await self._handle(reader, writer)
            while await reader.read(2**16):
                pass
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def session(world, handle):
    """A client with a session's token, the URL to infer at, and the server of the session, which `handle` is."""
    async with world.client() as inside:
        body = {"account": "test", "inferenceService": await world.ready_service()}
        created = (await inside.post("/v0/inferencesessions", json=body)).json()
        await inside.get(f"/v0/inferencesessions/{created['inferencesession']['id']}")
    subject = Upstream(handle)
    server = await asyncio.start_server(subject, "127.0.0.1", 0)
    identity = created["inferencesession"]["id"]
    world.cluster.services[f"session-{identity}"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    headers = {"Authorization": f"Bearer {created['token']}"}
    async with server, serving(world) as url, httpx.AsyncClient(headers=headers, timeout=DEADLINE_S) as client:
        with anyio.fail_after(DEADLINE_S):
            yield client, f"{url}/v0/inferencesessions/{identity}/infer/generate", subject


async def head(reader):
    """The head of a request, in lower case."""
    return (await reader.readuntil(b"\r\n\r\n")).lower()


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_events_are_passed_on_as_they_come(world):
    """The first event arrives while the service has not yet made the second."""
    proceed = asyncio.Event()

    async def handle(reader, writer):
        await head(reader)
        writer.write(EVENT_STREAM + chunk(b"data: one\n\n"))
        await proceed.wait()
        writer.write(chunk(b"data: two\n\n") + b"0\r\n\r\n")

    async with session(world, handle) as (client, url, _), client.stream("POST", url, json={}) as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"data: one\n\n"
        assert response.headers["content-type"].startswith("text/event-stream")
        proceed.set()
        assert b"".join([each async for each in pieces]) == b"data: two\n\n"


@pytest.mark.parametrize("when", ["before it answers", "while it answers"])
async def test_a_client_that_leaves_cancels_the_work(world, when):
    """The service sees its connection end, whether it was still thinking or already answering."""
    asked = asyncio.Event()

    async def handle(reader, writer):
        await head(reader)
        if when == "while it answers":
            writer.write(EVENT_STREAM + chunk(b"data: one\n\n"))
        asked.set()

    async with session(world, handle) as (client, url, upstream):
        request = asyncio.ensure_future(client.post(url, json={}))
        await asked.wait()
        # real time: shows that the request goes on: nothing reports that something does not happen
        await asyncio.sleep(0.05)
        assert not upstream.ended.is_set()
        request.cancel()
        await upstream.ended.wait()


async def test_a_large_body_is_not_kept(world):
    """The service reads its beginning before the client has sent its end; both ways what is not taken is not read."""
    size, sent, seen = 64 * 2**20, 0, asyncio.Event()

    async def body():
        nonlocal sent
        while sent < size:
            yield b"x" * 2**16
            sent += 2**16

    async def handle(reader, writer):
        assert b"content-length: %d" % size in await head(reader)
        await reader.readexactly(1000)
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            # real time: until the buffers of the kernel are full, which nothing reports, nothing moves
            await asyncio.sleep(0.2)
        assert sent < size / 2
        seen.set()
        await reader.readexactly(size - 1000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 2**16):
            writer.write(b"y" * 2**16)
            await writer.drain()

    length = {"Content-Length": str(size)}
    async with session(world, handle) as (client, url, _), client.stream("POST", url, content=body(), headers=length) as response:
        assert seen.is_set()
        assert sum([len(each) async for each in response.aiter_raw()]) == size


async def test_a_body_of_unknown_length_is_passed_on_in_chunks(world):
    """What the service reads is what was sent."""
    got = []

    async def handle(reader, writer):
        assert b"transfer-encoding: chunked" in await head(reader)
        while size := int(await reader.readline(), 16):
            got.append(await reader.readexactly(size))
            await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def body():
        yield b"one"
        yield b"two"

    async with session(world, handle) as (client, url, _):
        assert (await client.post(url, content=body())).status_code == 200
    assert b"".join(got) == b"onetwo"


async def test_a_refusal_that_comes_early_is_the_answer(world):
    """The service need not read the whole body to refuse it."""

    async def handle(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")

    async def body():
        for _ in range(1000):
            yield b"x" * 2**16

    async with session(world, handle) as (client, url, _):
        response = await client.post(url, content=body())
    assert (response.status_code, response.content) == (413, b"large")


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Oh\r\nContent-Length: 2\r\nX-Evil: 1\r\n\r\nno", (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil\r\n\r\n2\r\nok\r\n0\r\nX-Evil: 1\r\n\r\n", (200, b"ok")),
        (b"HTTP/1.0 200 OK\r\n\r\nok, until the end", (200, b"ok, until the end")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", (502, None)),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", (502, None)),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", (502, None)),
        (b"HTTP/1.1 600 Oh\r\nContent-Length: 0\r\n\r\n", (502, None)),
        (b"HTTP/1.1 999 Oh\r\nContent-Length: 0\r\n\r\n", (502, None)),
    ],
    ids=["interim", "two answers", "trailer", "until the end", "no content", "too short", "another protocol", "long head", "600", "999"],
)
async def test_answers_in_all_their_forms(world, answer, want):
    """What belongs to the answer is passed on, and only that."""

    async def handle(reader, writer):
        await head(reader)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with session(world, handle) as (client, url, _):
        response = await client.post(url, json={})
    assert response.status_code == want[0], response.text
    assert want[1] in (None, response.content)
    assert "x-evil" not in response.headers


async def test_headers_for_one_hop_stay_there(world):
    """Those that the standard names and those that Connection lists, both ways; and what is for Dyff."""
    asked = []

    async def handle(reader, writer):
        asked.append(await head(reader))
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nETag: 2\r\nContent-Length: 0\r\n\r\n"
        )

    sent = {"Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "Idempotency-Key": "k", "X-Mine": "2", "Expect": "none"}
    async with session(world, handle) as (client, url, _):
        response = await client.post(url, json={}, headers=sent)
    assert (response.headers["etag"], "x-hop" in response.headers, "keep-alive" in response.headers) == ("2", False, False)
    (request,) = asked
    assert b"x-mine: 2" in request
    for name in (b"x-hop", b"te:", b"idempotency-key", b"authorization", b"expect", b"keep-alive"):
        assert name not in request, name


PASSED = {
    "Content-Type": "text/csv", "Content-Disposition": "attachment", "Content-Language": "en", "Cache-Control": "no-store", "ETag": '"1"',
    "Retry-After": "3", "Vary": "Accept", "X-Request-Id": "r", "OpenAI-Processing-Ms": "7", "X-RateLimit-Remaining": "9",
}  # fmt: skip
NOT_PASSED = {
    "Dyff-Position": "epoch;0=999999999", "Dyff-Uploaded": "true", "Idempotency-Key": "k", "Set-Cookie": "a=b", "Server": "evil",
    "Date": "now", "WWW-Authenticate": "Basic", "X-Accel-Redirect": "/private", "X-Sendfile": "/etc/passwd", "Refresh": "0",
    "Access-Control-Allow-Origin": "*", "Content-Security-Policy": "none", "Strict-Transport-Security": "max-age=1", "Clear-Site-Data": "*",
    "Alt-Svc": "h3", "Proxy-Authenticate": "Basic", "X-Anything": "1",
}  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
async def test_only_listed_headers_of_an_answer_are_passed_on(world, streamed):
    """Those that describe the answer. None that Dyff, a browser or a server on the way would act on, the position in the log above all."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**PASSED, **NOT_PASSED}.items()).encode()
    body = b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"ok") + b"0\r\n\r\n" if streamed else b"Content-Length: 2\r\n\r\nok"

    async def handle(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + lines + body)

    async with session(world, handle) as (client, url, _):
        response = await client.post(url, json={})
    assert (response.status_code, response.content) == (200, b"ok")
    assert PASSED.items() <= {name: response.headers.get(name) for name in PASSED}.items()
    assert not {name for name, value in NOT_PASSED.items() if value in response.headers.get_list(name)}
