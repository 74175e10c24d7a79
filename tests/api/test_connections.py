"""What anonymous clients may cost, over real sockets: heads, time and connections are bounded, and normal requests work meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from dyff.api import connections
from dyff.kernel import descriptors, settings
from tests import waiting
from tests.api.test_express import BODY, answer, request
from tests.api.test_role import serving

GET = b"GET /health HTTP/1.1\r\nHost: dyff\r\n"


@asynccontextmanager
async def server(world, **changes):
    """The port of a server with these settings."""
    chosen = msgspec.structs.replace(world.services.settings, **changes)
    async with serving(world, settings=chosen) as url:
        yield int(url.rpartition(":")[2])


async def opened(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def exchanged(port, *pieces, pause_s=0.0):
    """Status and detail of the answer to these bytes, and whether the server closed the connection after it."""
    reader, writer = await opened(port)

    async def send():
        for piece in pieces:
            writer.write(piece)
            # real time: what is sent arrives in pieces: the kernel would join them
            await asyncio.sleep(pause_s)

    sending = asyncio.ensure_future(send())
    try:
        status, headers, body = await answer(reader)
        closed = await asyncio.wait_for(reader.read(1), 10) == b""
        assert headers["content-type"] == "application/json"
        return status, json.loads(body)["detail"], closed
    finally:
        sending.cancel()
        writer.close()


CHUNKED = b"POST /v0/datasets HTTP/1.1\r\nHost: dyff\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer %b\r\n\r\n"
TOO_MUCH = {
    "many headers": (GET + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431, "more than 128 headers"),
    "large headers": (GET + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 1000) for n in range(40)) + b"\r\n", 431, "32768 bytes"),
    "one large value": (GET + b"X: " + b"x" * 100_000 + b"\r\n\r\n", 431, "32768 bytes"),
    "one large name": (GET + b"x" * 100_000 + b": 1\r\n\r\n", 431, "32768 bytes"),
    "a value without an end": (GET + b"X: " + b"x" * 150_000, 431, "32768 bytes"),
    "a long URL": (b"GET /health?" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: dyff\r\n\r\n", 414, "65535 bytes"),
    "a URL without an end": (b"GET /health?" + b"x" * 100_000, 414, "65535 bytes"),
    "empty lines": (b"\r\n" * 60_000, 431, "32768 bytes"),
    "no HTTP": (b"hello\r\n\r\n", 400, "not valid HTTP"),
}


@pytest.mark.parametrize("pieces", ["at once", "in pieces"])
@pytest.mark.parametrize("case", TOO_MUCH)
async def test_a_head_that_is_too_large_is_refused(world, case, pieces):
    """431 or 414 that says which limit, then the end, although the client is still sending."""
    data, want_status, want_text = TOO_MUCH[case]
    split = [data] if pieces == "at once" else [data[at : at + 20_000] for at in range(0, len(data), 20_000)]
    async with server(world) as port:
        status, detail, closed = await exchanged(port, *split)
        assert (status, want_text in detail, closed) == (want_status, True, True)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "trailers", [b"".join(b"X-%d: 1\r\n" % n for n in range(200)), b"X: " + b"x" * 100_000, b"X: " + b"x" * 40_000 + b"\r\n\r\n"]
)
async def test_trailers_are_headers_of_a_request_as_to_its_limits(world, trailers):
    """They are refused as such."""
    async with server(world) as port:
        head = CHUNKED % world.admin.encode()
        assert (await exchanged(port, head, b"2\r\n{ \r\n0\r\n", trailers))[0] == 431


async def test_trailers_are_not_taken_for_headers(world):
    """What a proxy on the way has not seen as a header is none."""
    async with server(world) as port:
        head = CHUNKED.replace(b"Authorization: Bearer %b\r\n", b"")
        body = b"%x\r\n%b\r\n0\r\nAuthorization: Bearer %b\r\n\r\n" % (len(BODY), BODY, world.admin.encode())
        reader, writer = await opened(port)
        writer.write(head + body)
        assert (await answer(reader))[0] == 401
        writer.close()


async def test_what_fits_is_answered(world):
    """As many headers and as long a URL as the limits allow."""
    async with server(world) as port:
        reader, writer = await opened(port)
        many = b"".join(b"X-%d: %b\r\n" % (n, b"x" * 200) for n in range(126))
        writer.write(b"GET /health?" + b"x" * 65_000 + b" HTTP/1.1\r\nHost: dyff\r\n" + many + b"\r\n")
        assert (await answer(reader))[0] == 200
        writer.write(request(world, head=many[: -len(b"x" * 200) * 4]))
        assert (await answer(reader))[0] == 201
        writer.close()


async def test_endless_headers_are_not_kept(world, monkeypatch):
    """However much a connection sends, what the parser is given is bounded, and so is what is read after the refusal."""
    given = 0

    known = connections.Bounded.data_received

    def data_received(self, data):
        nonlocal given
        if self._lingers_since is None:
            given += len(data)
        known(self, data)

    monkeypatch.setattr(connections.Bounded, "data_received", data_received)
    async with server(world) as port:
        _, writer = await opened(port)
        sent = 0
        writer.write(GET)
        with contextlib.suppress(ConnectionError):
            while sent < 256 * 2**20:
                writer.write(b"X: " + b"x" * 2**20)
                sent += 2**20
                await writer.drain()
        assert given < 2**20
        assert sent < 64 * 2**20
        writer.close()


async def test_a_head_has_a_deadline(world):
    """From its first byte, however regularly bytes arrive; then 408."""
    async with server(world, head_timeout_s=1.0, idle_timeout_s=60.0) as port:
        reader, writer = await opened(port)

        async def drip():
            for byte in GET + b"X: " + b"x" * 1000:
                writer.write(bytes([byte]))
                # real time: bytes arrive regularly while the server's limit passes on its socket
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        status, _, body = await answer(reader)
        assert (status, "head did not arrive within 1 s" in json.loads(body)["detail"]) == (408, True)
        dripping.cancel()
        writer.close()


@pytest.mark.parametrize("first", [b"", GET + b"\r\n"])
async def test_an_idle_connection_ends(world, first):
    """Whether or not it ever had a request; silently, since nothing was asked. Each has a setting of its own."""
    own = {"keep_alive_s": 1.0, "idle_timeout_s": 60.0} if first else {"keep_alive_s": 60.0, "idle_timeout_s": 1.0}
    async with server(world, **own) as port:
        reader, writer = await opened(port)
        writer.write(first)
        if first:
            assert (await answer(reader))[0] == 200
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_connection_is_kept_for_the_next_request(world):
    """Longer than one that has had none, and by default longer than proxies keep theirs."""
    assert settings.Api().keep_alive_s > 75
    async with server(world, idle_timeout_s=1.0) as port:
        reader, writer = await opened(port)
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200
        silent, other = await opened(port)  # this one ends after the idle timeout, so that has passed for the first one, too
        assert await asyncio.wait_for(silent.read(), 10) == b""
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200
        writer.close()
        other.close()


@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize("drip", [True, False])
async def test_a_body_has_to_make_progress(world, express, drip):
    """A stalled one, and one of a byte now and then, are a 408; on the express lane and next to it."""
    target = b"/v0/datasets" if express else b"/v0/datasets?"
    async with server(world, stall_timeout_s=2.0, idle_timeout_s=60.0) as port:
        pieces = [request(world, BODY[:10], length=100_000, target=target), *([b" "] * 50 if drip else [])]
        status, detail, closed = await exchanged(port, *pieces, pause_s=0.1 if drip else 0.0)
        assert (status, "brought nothing for 2 s" in detail, closed) == (408, True, True)


async def test_a_slow_body_that_makes_progress_arrives(world):
    """Longer than the time for which it may stall."""
    async with server(world, stall_timeout_s=1.5) as port:
        reader, writer = await opened(port)
        body = BODY + b" " * 20_000
        whole = request(world, body)
        step = len(whole) // 12
        for start in range(0, len(whole), step):
            writer.write(whole[start : start + step])
            # real time: bytes arrive regularly, each before the server's limit has passed on its socket
            await asyncio.sleep(0.3)
        assert (await answer(reader))[0] == 201
        writer.close()


async def test_a_client_that_does_not_read_is_left(world):
    """It asks again and again and takes no answer: the connection ends, and nothing of it is kept."""
    async with server(world, stall_timeout_s=1.0) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert len((await client.get("/v0/openapi.json")).content) > 100_000  # it is made at the first request for it
        found = watched(port)
        _, writer = await opened(port)
        try:
            writer.transport.pause_reading()
            writer.write(b"GET /v0/openapi.json HTTP/1.1\r\nHost: dyff\r\n\r\n" * 60)
            await waiting.until(found, "the request")
            await waiting.until(lambda: not found(), "the end of the connection")
        finally:
            writer.close()


def watched(port):
    """A function that returns the connections that a server at this port has."""
    watches = [each for each in gc.get_objects() if isinstance(each, connections.Watch)]  # slow, in a process with many tests
    return lambda: [each for watch in watches for each in watch.connections if each.server and each.server[1] == port]


async def test_requests_without_end_on_one_connection_are_not_queued(world):
    """Pipelining is bounded."""
    async with server(world) as port:
        reader, writer = await opened(port)
        writer.write(request(world) + (GET + b"\r\n") * 500)
        found = await asyncio.wait_for(reader.read(), 20)
        assert found.count(b"HTTP/1.1 ") <= connections.MAX_PIPELINED + 2
        writer.close()


async def test_silent_connections_do_not_shut_out_others(world):
    """Two thousand, or what the descriptors of this process allow for both sides: requests are answered, and the silent ones are closed."""
    limit = descriptors.raise_limit()
    count = min(2000, limit // 3)
    async with server(world, max_connections=count // 4, idle_timeout_s=60.0, head_timeout_s=60.0) as port:
        silent = []
        for n in range(count):
            silent.append(await opened(port))
            if n % 2:
                silent[-1][1].write(GET)
            if n % 200 == 0:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                    assert (await client.get("/health")).status_code == 200
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            assert (await client.get("/health")).status_code == 200
        assert len(watched(port)()) <= count // 4
        for _, writer in silent:
            writer.transport.abort()


async def test_with_all_connections_busy_a_new_one_is_refused(world):
    """503, to be repeated; those that are served go on."""
    async with server(world, max_connections=2) as port:
        busy = [await opened(port) for _ in range(2)]
        for _, writer in busy:
            writer.write(request(world)[:-1])
        found = watched(port)
        await waiting.until(lambda: len(found()) == 2)
        status, detail, _ = await exchanged(port, b"")
        assert (status, "try again" in detail) == (503, True)
        for reader, writer in busy:
            writer.write(request(world)[-1:])
            assert (await answer(reader))[0] == 201
            writer.close()


def test_connections_leave_descriptors_to_others(monkeypatch):
    """Three quarters at most, whatever the setting says."""
    monkeypatch.setattr(descriptors, "limit", lambda: 1024)
    assert connections.limits(settings.Api()).connections == 768
    monkeypatch.setattr(descriptors, "limit", lambda: 2**20)
    assert connections.limits(settings.Api()).connections == settings.Api().max_connections


def test_the_limit_of_descriptors_is_raised_to_the_hard_one():
    """And what cannot be raised is only kept."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        assert descriptors.raise_limit() == descriptors.limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
