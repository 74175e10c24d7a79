"""The object store on a real S3 server: what the contract does not ask. It truly checks signatures."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import anyio
import httpx
import pytest

from dyff.kernel import errors
from dyff.objects import stores
from tests.objects import clouds

pytestmark = pytest.mark.engines
MIB = 2**20


class SetClock:
    """The machine's time, moved by `offset`."""

    def __init__(self, offset=timedelta()):
        self.offset = offset

    def now(self):
        return datetime.now(UTC) + self.offset

    def monotonic(self):
        return self.now().timestamp()


@pytest.fixture
def where():
    with clouds.connection() as connection:
        yield connection


@pytest.fixture
def objects(where):
    return clouds.opened(where)


@pytest.fixture
async def web():
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def md5(data):
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


async def test_a_signed_url_takes_the_promised_bytes(objects, web):
    """Its holder can put what it was signed for, with the headers that come with it, and the store then knows the MD5."""
    signed = await objects.sign("PUT", "d/a b+ä", md5=md5(b"data"), limit_bytes=4)
    assert (await web.put(signed.url, content=b"data", headers=signed.headers)).status_code == 200
    info = await objects.head("d/a b+ä")
    assert (info.size_bytes, info.md5) == (4, md5(b"data"))


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        pytest.param({}, b"data", id="without the digest"),
        pytest.param({"Content-MD5": md5(b"evil")}, b"evil", id="with another digest"),
        pytest.param({"Content-MD5": md5(b"data")}, b"evil", id="with other bytes"),
        pytest.param({"Content-MD5": md5(b"data")}, b"data and more", id="with more bytes"),
    ],
)
async def test_a_signed_url_takes_nothing_else(objects, web, headers, content):
    """The digest is part of the signature and the store holds the bytes against it, so evidence cannot be swapped."""
    await objects.put("k", b"old")
    signed = await objects.sign("PUT", "k", md5=md5(b"data"))
    assert (await web.put(signed.url, content=content, headers=headers)).status_code in (400, 403)
    assert await objects.get("k") == b"old"


async def test_a_signed_url_allows_one_thing(objects, where, web):
    """Not another method, not another key, not a longer life, nothing when it has expired."""
    await objects.put("k", b"x")
    await objects.put("other", b"secret")
    url = (await objects.sign("GET", "k", expires_s=60)).url
    assert (await web.get(url)).content == b"x"
    assert (await web.get(url.replace("/k?", "/other?"))).status_code == 403
    assert (await web.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))).status_code == 403
    assert (await web.get(url.partition("?")[0])).status_code == 403
    assert (await web.put(url, content=b"y")).status_code == 403
    assert (await web.delete(url)).status_code == 403
    old = clouds.opened(where, SetClock(timedelta(hours=-1)))
    assert (await web.get((await old.sign("GET", "k", expires_s=3599 - 30)).url)).status_code == 403
    assert (await web.get((await old.sign("GET", "k", expires_s=3600 + 30)).url)).content == b"x"


async def test_clients_may_reach_the_store_by_another_name(web):
    """Signed URLs are for the public endpoint, while we use the internal one."""
    with clouds.connection() as inside:
        public = inside.endpoint.replace("127.0.0.1", "localhost")
        with clouds.connection(prefix=inside.prefix, public_endpoint=public) as where:
            objects = clouds.opened(where)
            signed = await objects.sign("PUT", "k", md5=md5(b"x"))
            assert signed.url.startswith(f"{public}/")
            assert (await web.put(signed.url, content=b"x", headers=signed.headers)).status_code == 200
            assert (await web.get((await objects.sign("GET", "k")).url)).content == b"x"
            assert (await web.get((await objects.sign("GET", "k")).url.replace(public, inside.endpoint))).status_code == 403


async def test_a_download_is_the_bytes_as_they_are(objects, web):
    """With their length and no encoding, in ranges too, which a resumed download needs."""
    data = bytes(range(256)) * 100
    await objects.put("k", data)
    url = (await objects.sign("GET", "k")).url
    answer = await web.get(url)
    assert (answer.content, answer.headers["content-length"]) == (data, str(len(data)))
    assert "content-encoding" not in answer.headers
    assert (await web.get(url, headers={"Range": "bytes=100-199"})).content == data[100:200]


async def test_what_is_sent_in_parts_is_whole(objects):
    """Its digest is known when it is put, and later only by reading it: the store's ETag is none."""
    data = hashlib.shake_128(b"seed").digest(40 * MIB + 17)

    async def pieces():
        for at in range(0, len(data), 3 * MIB):
            yield data[at : at + 3 * MIB]

    info = await objects.put("big", pieces(), md5=md5(data), limit_bytes=len(data))
    assert (info.size_bytes, info.md5) == (len(data), md5(data))
    assert (await objects.head("big")).md5 is None
    assert b"".join([piece async for piece in objects.stream("big")]) == data
    assert b"".join([piece async for piece in objects.stream("big", start=20 * MIB, end=20 * MIB + 5)]) == data[20 * MIB : 20 * MIB + 5]
    await objects.put("whole", data)
    assert await objects.get("whole") == data


async def test_what_was_sent_in_parts_is_not_what_was_promised(objects):
    """Then there is nothing, however much of it was sent."""

    async def pieces():
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
            yield b"x" * MIB

    with pytest.raises(errors.DigestMismatch):
        await objects.put("big", pieces(), md5=md5(b"else"))
    assert await objects.head("big") is None


async def test_a_listing_of_several_pages_is_complete(objects):
    """The server gives a thousand keys at a time; so many are deleted at a time, too."""
    limit = anyio.CapacityLimiter(16)

    async def put(name):
        async with limit:
            await objects.put(name, b"")

    names = sorted(f"t/{number % 3}/{number}" for number in range(1200))
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(put, name)
    assert [info.key async for info in objects.list("t/")] == names
    await objects.delete_tree("t/")
    assert [info.key async for info in objects.list("")] == []


async def test_prefixes_are_stores_of_their_own(where, objects):
    """Installations that share a bucket see nothing of each other, also where one's prefix begins as the other's does."""
    with clouds.connection(prefix=f"{where.prefix}0") as sibling, clouds.connection(prefix=f"{where.prefix}/below") as below:
        others = [clouds.opened(sibling), clouds.opened(below)]
        for other in others:
            await other.put("a/k", b"other")
        await objects.put("a/k", b"mine")
        await others[0].delete_tree("a/")
        assert await objects.get("a/k") == b"mine"
        assert await others[1].get("a/k") == b"other"
        assert [info.key async for info in others[0].list("")] == []


async def test_a_step_opens_the_store_by_its_url(where, objects):
    """The URL that the server gives, with credentials from the environment, leads a step to the same objects."""
    await objects.put("a b", b"x")
    assert await stores.open_store(where.url(), clouds.environment()).get("a b") == b"x"
    with pytest.raises(errors.Misconfigured, match="credentials"):
        stores.open_store(where.url(), {**clouds.environment(), "AWS_SECRET_ACCESS_KEY": "wrong"})
