"""What a proxy could read in another way is refused, on the express lane, on the usual one and for WebSockets."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from dyff.api import heads
from tests.api.conftest import held
from tests.api.test_connections import exchanged, opened, server
from tests.api.test_express import BODY, answer

SOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
ROUTES = {
    "express": (b"POST /v0/datasets", LENGTH, BODY),
    "usual": (b"POST /v0/datasets?", LENGTH, BODY),
    "without a token": (b"GET /health", b"", b""),
    "websocket": (b"GET /v0/evaluations/%032d/logs/workflow/stream" % 0, SOCKET, b""),
}
"""Request line, the headers that it needs, and the body."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(shared_world):
    """Of one server for all tests: each has connections of its own."""
    async for found in held(server(shared_world)):
        yield found


def head(world, start, *lines, host=b"Host: dyff\r\n", version=b"1.1"):
    """A head of these lines."""
    return b"%b HTTP/%b\r\n%bAuthorization: Bearer %b\r\n%b\r\n" % (start, version, host, world.admin.encode(), b"".join(lines))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", sorted(heads.ONCE - {b"content-length", b"transfer-encoding"}))
async def test_a_header_of_which_one_counts_is_refused_twice(shared_world, port, route, name):
    """400 that names it, also if both are the same and in other letters; then the end."""
    start, needed, body = ROUTES[route]
    twice = b"%b: x\r\n%b: x\r\n" % (name.upper(), name) if name not in (b"host", b"authorization") else b"%b: dyff\r\n" % name.title()
    status, detail, closed = await exchanged(port, head(shared_world, start, twice, needed) + body)
    assert (status, closed) == (400, True)
    assert f"'{name.decode().title()}' is there more than once" in detail


BAD_HOSTS = {
    "none": b"",
    "two words": b"Host: a b\r\n",
    "a user": b"Host: me@dyff\r\n",
    "joined": b"Host: dyff,evil\r\n",
    "a path": b"Host: dyff/v0\r\n",
    "a port of letters": b"Host: dyff:http\r\n",
    "a query": b"Host: dyff?x\r\n",
    "a mark": b"Host: <dyff>\r\n",
    "not ASCII": "Host: dÿff\r\n".encode(),
    "a bracket": b"Host: [::1\r\n",
}
GOOD_HOSTS = [b"dyff", b"dyff:80", b"dyff:", b"", b"127.0.0.1:8000", b"[::1]", b"[::1]:8000", b"[fe80::1%eth0]:1", b"a_b.org.", b"  dyff "]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", BAD_HOSTS)
async def test_a_host_is_there_and_is_one(shared_world, port, route, case):
    """400 that says what is missing or wrong."""
    start, needed, body = ROUTES[route]
    status, detail, closed = await exchanged(port, head(shared_world, start, needed, host=BAD_HOSTS[case]) + body)
    assert (status, closed, "'Host'" in detail) == (400, True, True)


@pytest.mark.parametrize("host", GOOD_HOSTS)
@pytest.mark.parametrize(("route", "status"), [("express", 201), ("usual", 201), ("without a token", 200)])
async def test_every_host_is_answered(shared_world, port, route, status, host):
    """Names, addresses, ports, and none for a request that is for no host."""
    start, needed, body = ROUTES[route]
    reader, writer = await opened(port)
    writer.write(head(shared_world, start, needed, host=b"Host: %b\r\n" % host) + body)
    assert (await answer(reader))[0] == status
    writer.close()


async def test_the_version_before_needs_no_host(port):
    """HTTP/1.0 has none, but not two either."""
    reader, writer = await opened(port)
    writer.write(b"GET /health HTTP/1.0\r\n\r\n")
    assert (await answer(reader))[0] == 200
    writer.close()
    assert (await exchanged(port, b"GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"))[0] == 400


@pytest.mark.parametrize("line", [b"GET /health HTTP/2.0\r\nHost: dyff\r\n\r\n", b"GET /health\r\n\r\n"])
async def test_another_version_is_refused(port, line):
    """Its answer would have another form."""
    assert (await exchanged(port, line))[:2] == (505, "the version of HTTP must be 1.1 or 1.0")


CHUNKED = b"Transfer-Encoding: chunked\r\n"
ENDS = {
    "two lengths": (LENGTH + b"Content-Length: 3\r\n", "1.1", 400),
    "the same length twice": (LENGTH * 2, "1.1", 400),
    "a list of lengths": (b"Content-Length: 3, 3\r\n", "1.1", 400),
    "a signed length": (b"Content-Length: +3\r\n", "1.1", 400),
    "a length and chunks": (LENGTH + CHUNKED, "1.1", 400),
    "chunks and a length": (CHUNKED + LENGTH, "1.1", 400),
    "chunks twice": (CHUNKED * 2, "1.1", 400),
    "compressed chunks": (b"Transfer-Encoding: gzip, chunked\r\n", "1.1", 501),
    "chunked chunks": (b"Transfer-Encoding: chunked, chunked\r\n", "1.1", 400),
    "compressed": (b"Transfer-Encoding: gzip\r\n", "1.1", 501),
    "chunks of HTTP/1.0": (CHUNKED, "1.0", 400),
}


@pytest.mark.parametrize("route", ["express", "usual"])
@pytest.mark.parametrize("case", ENDS)
async def test_a_body_has_one_end(shared_world, port, route, case):
    """What could be read as two requests is read as none, and the message says why."""
    lines, version, want = ENDS[case]
    status, detail, closed = await exchanged(port, head(shared_world, ROUTES[route][0], lines, version=version.encode()) + b"0\r\n\r\n")
    assert (closed, status) == (True, want)
    assert detail.removeprefix("the request is not valid HTTP/1.1").strip(": ")


async def test_chunks_in_other_letters_are_read(shared_world, port):
    """Codings have no case."""
    reader, writer = await opened(port)
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    writer.write(head(shared_world, b"POST /v0/datasets", b"Transfer-Encoding: \tChunked \r\n") + chunk)
    assert (await answer(reader))[0] == 201
    writer.close()


async def test_an_earlier_request_does_not_get_the_refusal(shared_world, port):
    """An answer is that of its request: the connection ends, and what is there is the first request's or nothing."""
    reader, writer = await opened(port)
    writer.write(head(shared_world, *ROUTES["express"][:2]) + BODY + b"GET /health HTTP/1.1\r\n\r\n")
    found = await reader.read()
    assert b" 400 " not in found
    assert found == b"" or json.loads(found.rpartition(b"\r\n\r\n")[2])["kind"] == "Dataset"
    writer.close()
