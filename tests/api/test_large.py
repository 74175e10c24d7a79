"""Large answers over real sockets: complete or visibly incomplete, one after the other if there are too many, and nothing is left."""

from __future__ import annotations

import asyncio
import json

import anyio
import apsw
import httpx
import msgspec
import pytest

from dyff.accounts import grants
from dyff.accounts import port as accounts
from dyff.api import places
from dyff.query import port
from tests import waiting
from tests.api.serving_documents import document
from tests.api.test_express import answer
from tests.api.test_role import serving
from tests.narrowing import sure

NUMBER, SIZE = 20, 400_000


async def fill(world, number=NUMBER, size=SIZE):
    documents = [document(each, size) for each in range(number)]
    await world.services.query.apply(documents, port.Reached("state"))
    return b"[" + b",".join(sure(each.body) for each in documents) + b"]"


def asked(world, target="/v0/datasets", *, method="GET", version="1.1", token=None):
    head = f"{method} {target} HTTP/{version}\r\nHost: dyff\r\nAuthorization: Bearer {token or world.admin}\r\n\r\n"
    return head.encode()


async def connected(url, *requests):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=2**16)
    writer.write(b"".join(requests))
    return reader, writer


def client(world, url, token=None):
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token or world.admin}"}, timeout=30)


async def test_a_large_list_is_whole(world):
    """The same bytes as of all documents, without a Content-Length; a smaller one has it. The connection is used again."""
    expected = await fill(world)
    async with serving(world) as url, client(world, url) as http:
        for _ in range(3):
            response = await http.get("/v0/datasets")
            assert response.content == expected
            assert "content-length" not in response.headers
        for limit in (1, 2):
            response = await http.get("/v0/datasets", params={"limit": limit})
            assert [each["id"] for each in response.json()] == [f"{number:032x}" for number in range(limit)]
            assert int(response.headers["content-length"]) == len(response.content)
        one = await http.get(f"/v0/datasets/{3:032x}")
        assert one.content == document(3, SIZE).body
        assert int(one.headers["content-length"]) == len(one.content)
        assert (await http.get("/v0/datasets", params={"name": "none"})).content == b"[]"


async def test_a_head_has_no_body(world):
    """Neither of a large list nor of a large document; the next answer on the connection is the next request's."""
    await fill(world)
    async with serving(world) as url:
        health = b"GET /health HTTP/1.1\r\nHost: dyff\r\n\r\n"
        requests = [asked(world, method="HEAD"), health, asked(world, f"/v0/datasets/{1:032x}", method="HEAD"), health]
        reader, writer = await connected(url, *requests)
        for _ in range(2):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert (await answer(reader))[0] == 200
        writer.close()


async def test_a_client_of_http_1_0_learns_the_length(world):
    """It does not know chunks, and would take the end of the connection for the end of the list."""
    expected = await fill(world)
    async with serving(world) as url:
        reader, writer = await connected(url, asked(world, version="1.0"))
        status, headers, body = await answer(reader)
        assert (status, body == expected, "transfer-encoding" in headers) == (200, True, False)
        writer.close()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_damage_in_the_middle_is_no_valid_list(world, tmp_path, version):
    """The answer breaks off before its end, as far as any client can see, and the damage is reported."""
    await fill(world)
    connection = apsw.Connection(str(tmp_path / "view"))
    connection.execute("UPDATE documents SET body = replace(body, '00000010', '00000011') WHERE id = ?", (f"{10:032x}",))
    connection.close()
    async with serving(world) as url:
        reader, writer = await connected(url, asked(world, version=version))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        rest = await asyncio.wait_for(reader.read(-1), 10)
        if version == "1.0":  # it is counted first, so the damage is found before the head
            assert head.startswith(b"HTTP/1.1 503 ")
        else:
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"transfer-encoding: chunked" in head
            assert not rest.endswith(b"0\r\n\r\n")
            assert not rest.rstrip().endswith(b"]")
        async with client(world, url) as http:
            assert (await http.get("/v0/datasets")).status_code == 503
        writer.close()


async def test_clients_that_leave_release_everything(world):
    """More of them than there are places, each after a part of its answer: then a list is answered, and nothing reads the view."""
    expected = await fill(world)
    async with serving(world) as url:
        for _ in range(12):
            reader, writer = await connected(url, asked(world))
            assert await reader.readexactly(100_000)
            writer.transport.abort()
        async with client(world, url) as http:
            assert (await http.get("/v0/datasets")).content == expected
        with anyio.fail_after(20):
            while world.services.query.walks:
                await waiting.a_moment()


async def test_a_client_that_reads_nothing_is_cut_off(world):
    """After the setting `api.large_answer_timeout_s`, although it takes a little now and then. Others are answered meanwhile."""
    await fill(world, 40)
    chosen = msgspec.structs.replace(world.services.settings, large_answer_timeout_s=1.0)
    async with serving(world, settings=chosen) as url:
        reader, writer = await connected(url, asked(world))
        await reader.readuntil(b"\r\n\r\n")
        async with client(world, url) as http:

            async def take_slowly():
                while True:
                    await asyncio.wait_for(reader.readexactly(100_000), 10)
                    assert (await http.get("/health")).status_code == 200
                    # real time: a reader is slow: the server's limit passes on its socket
                    await asyncio.sleep(0.02)

            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await take_slowly()
        writer.close()


async def test_too_many_large_answers_wait_and_are_refused(world, monkeypatch):
    """One account has a quarter of the places, so another is answered; who waits too long gets a 503 with a Retry-After."""
    monkeypatch.setattr(places, "WAIT_S", 0.2)
    expected = await fill(world)
    account = accounts.Account(id=world.services.ids.new(), name="other", created=world.services.clock.now(), permissions=grants.ADMIN)
    await world.services.accounts.create(account)
    other = await world.token(*grants.ADMIN, account=account.id)
    chosen = msgspec.structs.replace(world.services.settings, max_large_answers=8)
    async with serving(world, settings=chosen) as url:
        held = [await connected(url, asked(world)) for _ in range(2)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        async with client(world, url) as http, client(world, url, other) as others:
            refused = await http.get("/v0/datasets")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert "api.max_large_answers" in refused.json()["detail"]
            assert (await http.get("/v0/datasets", params={"limit": 1, "name": "none"})).json() == []
            assert (await others.get("/v0/datasets")).content == expected
            for _, writer in held:
                writer.transport.abort()
            assert json.loads((await http.get("/v0/datasets")).content)


async def test_who_waits_for_a_place_gets_it():
    """In any order, each account up to its share; what is released twice is free once."""
    subject = places.Places(8)
    first, second = subject.take("a"), subject.take("a")
    assert subject.take("a") is None
    got = []

    async def wait():
        got.append(await subject.wait("a"))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert got == []
        sure(first).release()
        sure(first).release()
    assert subject.taken == 2
    assert subject.take("a") is None
    for each in (second, *got):
        sure(each).release()
    assert subject.taken == 0
