"""The express lane keeps HTTP's rules: what the web server does for every other route holds for its routes, too."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from dyff.kernel import settings
from tests.api.test_role import serving
from tests.entities import bodies

BODY = json.dumps(bodies.DATASET).encode()


def request(world, body=BODY, *, head=b"", version=b"1.1", length=None, target=b"/v0/datasets"):
    """The bytes of a create."""
    length = len(body) if length is None else length
    start = b"POST %b HTTP/%b\r\nHost: dyff\r\nAuthorization: Bearer %b\r\n%b" % (target, version, world.admin.encode(), head)
    return start + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length + body


async def answer(reader):
    """Status, headers and body of the next response."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


@asynccontextmanager
async def connections(world, count=1):
    """Readers and writers of so many connections to a server."""
    async with serving(world) as url:
        opened = [await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])) for _ in range(count)]
        yield opened
        for _, writer in opened:
            writer.close()


async def test_the_answer_is_what_the_router_gives(world):
    """Same status, body form and headers, with or without the lane (a query string leaves it), also for errors."""
    async with serving(world) as url, httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {world.admin}"}) as client:
        for body, status in ((BODY, 201), (b"{}", 422), (b"{", 422)):
            express, routed = [await client.post(f"/v0/datasets{query}", content=body) for query in ("", "?")]
            assert [express.status_code, routed.status_code] == [status, status]
            assert set(express.headers) == set(routed.headers)
            assert set(express.json()) == set(routed.json())


async def test_pipelined_requests_are_answered_in_their_order(world):
    """Creates and other routes mixed in one piece: one answer each, in order."""
    async with connections(world) as [(reader, writer)]:
        health = b"GET /health HTTP/1.1\r\nHost: dyff\r\n\r\n"
        writer.write(request(world) + health + request(world, b"{}") + request(world) + health)
        found = [await answer(reader) for _ in range(5)]
        assert [status for status, _, _ in found] == [201, 200, 422, 201, 200]
        assert json.loads(found[0][2])["id"] != json.loads(found[3][2])["id"]


async def test_a_body_that_comes_in_pieces(world):
    """Byte by byte over several reads, and on the same connection again."""
    async with connections(world) as [(reader, writer)]:
        for _ in range(2):
            whole = request(world)
            for start in range(0, len(whole), 97):
                writer.write(whole[start : start + 97])
                await writer.drain()
                await asyncio.sleep(0)
            assert (await answer(reader))[0] == 201


async def test_a_chunked_body(world):
    """A length need not be announced."""
    async with connections(world) as [(reader, writer)]:
        head = (
            b"POST /v0/datasets HTTP/1.1\r\nHost: dyff\r\nAuthorization: Bearer %b\r\nTransfer-Encoding: chunked\r\n\r\n"
            % world.admin.encode()
        )
        writer.write(head + b"%x\r\n%b\r\n" % (10, BODY[:10]))
        await writer.drain()
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 10, BODY[10:]))
        assert (await answer(reader))[0] == 201


async def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(world):
    """413 as soon as the length is announced; what was sent nevertheless is not taken for the next request."""
    async with connections(world) as [(reader, writer)]:
        large = b" " * (world.services.settings.max_body_bytes + 1)
        writer.write(request(world, large))
        assert (await answer(reader))[0] == 413
        writer.write(request(world))
        assert (await answer(reader))[0] == 201


@pytest.mark.parametrize("kind", ["asked", "old"])
async def test_the_connection_ends_where_the_client_wants_it(world, kind):
    """`Connection: close` and HTTP/1.0 are obeyed, after the whole answer."""
    async with connections(world) as [(reader, writer)]:
        writer.write(request(world, head=b"Connection: close\r\n") if kind == "asked" else request(world, version=b"1.0"))
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (201, "close")
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_who_asks_first_whether_to_send_is_answered(world):
    """`Expect: 100-continue` is answered before the body is there."""
    async with connections(world) as [(reader, writer)]:
        whole = request(world, head=b"Expect: 100-continue\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await answer(reader))[0] == 201


async def test_a_client_that_goes_away_in_its_body_creates_nothing(world):
    """A request that is cut off is not obeyed, and the server serves others."""
    before = len(await world.events())
    async with connections(world, 2) as [(_, gone), (reader, writer)]:
        gone.write(request(world)[:-5])
        await gone.drain()
        gone.close()
        writer.write(request(world))
        assert (await answer(reader))[0] == 201
        assert len(await world.events()) == before + 1


async def test_a_create_in_progress_is_answered_though_the_role_stops(world):
    """A graceful end waits for the body and the answer of what had begun."""
    async with serving(world) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        whole = request(world)
        writer.write(whole[:-5])
        async with httpx.AsyncClient() as client:
            await client.get(f"{url}/health")  # by now the server has read the beginning
        asyncio.get_running_loop().call_later(0.3, writer.write, whole[-5:])
    status, headers, _ = await answer(reader)
    assert (status, headers["connection"]) == (201, "close")
    writer.close()


async def test_the_limit_is_the_setting(world):
    """What is refused follows `api.max_body_bytes`."""
    async with serving(world, settings=settings.Api(max_body_bytes=10)) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/v0/datasets", content=BODY, headers={"Authorization": f"Bearer {world.admin}"})
        assert answer.status_code == 413
        assert "api.max_body_bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "want_status", "want_text"),
    [
        (b"no HTTP at all\r\n\r\n", 400, "not valid HTTP/1.1"),
        (b"GET /v0/datasets?id=%b HTTP/1.1\r\nHost: dyff\r\n\r\n" % (b"a" * 70_000), 414, "65535"),
    ],
)
async def test_what_is_not_http_is_refused_in_the_form_of_all_errors(world, sent, want_status, want_text):
    """Also a URL that the parser does not take for its length: a sentence, and the connection ends."""
    async with connections(world) as [(reader, writer)]:
        writer.write(sent)
        status, headers, body = await answer(reader)
        assert (status, headers["content-type"], headers["connection"]) == (want_status, "application/json", "close")
        assert want_text in json.loads(body)["detail"]
        assert await reader.read() == b""


async def test_methods_that_express_paths_do_not_have(world):
    """On their paths 405 and OPTIONS name all methods, those of the lane and the others."""
    async with serving(world) as url, httpx.AsyncClient(base_url=url) as client:
        for method, status in (("DELETE", 405), ("OPTIONS", 204)):
            found = await client.request(method, "/v0/datasets")
            assert (found.status_code, found.headers["allow"]) == (status, "GET, HEAD, OPTIONS, POST")
        head = await client.head("/health")
        assert (head.status_code, head.content, head.headers["content-length"]) == (
            200,
            b"",
            str(len((await client.get("/health")).content)),
        )
