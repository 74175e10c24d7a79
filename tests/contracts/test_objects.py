"""What every object store guarantees."""

import base64
import hashlib
from datetime import UTC, datetime

import anyio
import httpx
import pytest

from dyff.kernel import errors
from dyff.objects import local, signing
from tests import collisions
from tests.objects import clouds

START = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
MIB = 2**20


class StoppedClock:
    """Time that moves only on request."""

    def __init__(self, moment):
        self.moment = moment

    def now(self):
        return self.moment

    def monotonic(self):
        return self.moment.timestamp()


@pytest.fixture(params=["objects:local", pytest.param("objects:s3", marks=pytest.mark.engines)])
def objects(request, tmp_path):
    """A fresh, empty store that can sign."""
    clock = StoppedClock(START)
    if request.param == "objects:local":
        yield local.LocalObjects.open(tmp_path / "store", signing.Signer(b"s" * 32, "https://dyff.example", clock))
    else:
        with clouds.connection(public_endpoint="https://dyff.example") as connection:
            yield clouds.opened(connection, clock)


def md5(data):
    """As the port has it: base64."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


async def keys(objects, prefix):
    """The keys of a listing."""
    return [info.key async for info in objects.list(prefix)]


async def pieces(data, size):
    """`data` as it comes from a network."""
    for at in range(0, len(data), size):
        await anyio.lowlevel.checkpoint()
        yield data[at : at + size]


async def whole(stream):
    """All bytes of a stream."""
    return b"".join([piece async for piece in stream])


async def test_an_object_is_read_back_as_it_was_put(objects):
    """Bytes, size and digest are those that were put, by every way to ask."""
    data = b"\x00text\xff" * 3
    put = await objects.put("datasets/0a/train/part-0.parquet", data)
    assert (put.key, put.size_bytes, put.md5) == ("datasets/0a/train/part-0.parquet", len(data), md5(data))
    assert await objects.get(put.key) == data
    assert await objects.head(put.key) == put
    assert [info async for info in objects.list("datasets/")] == [put]


async def test_an_absent_object_is_not_there(objects):
    """No read invents an object: head says None, get and stream say NotFound, delete is fine."""
    await objects.put("a/b", b"x")
    for key in ("a/c", "a", "a/b/c", "zzz"):
        assert await objects.head(key) is None
        with pytest.raises(errors.NotFound):
            await objects.get(key)
        with pytest.raises(errors.NotFound):
            await anext(objects.stream(key))
        await objects.delete(key)
    assert await objects.get("a/b") == b"x"


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB + 17])
async def test_a_stream_of_pieces_becomes_one_object(objects, size):
    """However the bytes arrive, they are one object with the digest of the whole."""
    data = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    info = await objects.put("big", pieces(data, 300_007), md5=md5(data), limit_bytes=size)
    assert (info.size_bytes, info.md5) == (size, md5(data))
    assert await whole(objects.stream("big")) == data


@pytest.mark.parametrize(
    ("start", "end", "want"),
    [
        pytest.param(0, None, slice(0, None), id="everything"),
        pytest.param(10, 20, slice(10, 20), id="a range"),
        pytest.param(MIB - 1, MIB + 1, slice(MIB - 1, MIB + 1), id="over the border of two pieces"),
        pytest.param(MIB + 50, None, slice(MIB + 50, None), id="the end"),
        pytest.param(5, 5, slice(5, 5), id="nothing"),
        pytest.param(10 * MIB, None, slice(0, 0), id="from beyond the end"),
        pytest.param(MIB, 10 * MIB, slice(MIB, None), id="to beyond the end"),
    ],
)
async def test_a_range_is_exactly_the_bytes_asked_for(objects, start, end, want):
    """`start` is included, `end` is not, and what is beyond the object is left out."""
    data = hashlib.shake_128(b"seed").digest(MIB + 100)
    await objects.put("k", data)
    assert await whole(objects.stream("k", start=start, end=end)) == data[want]


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_not_the_promised_bytes_leaves_no_trace(objects, streamed):
    """A wrong digest or too many bytes are refused, and the old object, or none, is still there."""
    await objects.put("kept", b"old")

    def data():
        return pieces(b"n" * 1000, 100) if streamed else b"n" * 1000

    for key in ("kept", "fresh"):
        with pytest.raises(errors.DigestMismatch):
            await objects.put(key, data(), md5=md5(b"something else"))
        with pytest.raises(errors.TooLarge):
            await objects.put(key, data(), limit_bytes=999)
        await objects.put(f"{key}-exact", data(), limit_bytes=1000, md5=md5(b"n" * 1000))
    assert await objects.get("kept") == b"old"
    assert await objects.head("fresh") is None
    assert await keys(objects, "") == ["fresh-exact", "kept", "kept-exact"]


async def test_a_later_put_replaces(objects):
    """Without `if_absent` the last put wins, and digest and size are the new ones."""
    await objects.put("k", b"one")
    await objects.put("k", b"other bytes")
    info = await objects.head("k")
    assert await objects.get("k") == b"other bytes"
    assert (info.size_bytes, info.md5) == (11, md5(b"other bytes"))


async def test_of_many_puts_if_absent_one_wins(objects):
    """Exactly one of many racing writers of a name succeeds, and its bytes stay."""
    won, lost = [], []

    async def attempt(number):
        data = b"%d" % number * (number + 1)
        try:
            await objects.put("outputs/e/.dyff/artifacts.json", data if number % 2 else pieces(data, 3), if_absent=True)
            won.append(data)
        except errors.AlreadyExists:
            lost.append(data)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(attempt, number)
    assert len(won) == 1
    assert len(lost) == 19
    assert await objects.get("outputs/e/.dyff/artifacts.json") == won[0]
    assert (await objects.head("outputs/e/.dyff/artifacts.json")).md5 == md5(won[0])


async def test_readers_never_see_a_part(objects):
    """While an object is replaced again and again, each read is one version as a whole."""
    versions = [bytes([letter]) * (700_000 + letter) for letter in b"abcd"]
    await objects.put("k", versions[0])
    done = False

    async def replace():
        nonlocal done
        for version in versions * 5:
            await objects.put("k", pieces(version, 100_000))
        done = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replace)
        reads = 0
        while not done:
            assert await objects.get("k") in versions
            assert await whole(objects.stream("k")) in versions
            reads += 1
    assert reads > 1


async def test_an_upload_that_breaks_off_leaves_nothing(objects):
    """If the bytes end in an error, or the writer is cancelled, there is no object."""

    async def broken():
        yield b"first part" * 200_000
        raise ConnectionResetError("the client went away")

    async def endless():
        while True:
            await anyio.lowlevel.checkpoint()
            yield b"x" * 100_000

    with pytest.raises(ConnectionResetError):
        await objects.put("k", broken())
    with anyio.move_on_after(0.05):
        await objects.put("k", endless())
    assert await objects.head("k") is None
    assert await keys(objects, "") == []


async def test_a_listing_is_in_order_of_keys(objects):
    """Order is that of whole keys, where a slash sorts between a dot and a digit, not directory by directory."""
    names = ["a", "a-b", "a.b", "a0", "b/a", "b/a.x/1", "b/a/1", "b/a/b/c", "b/a0", "b-", "b.d/x", "ä/ö", "Z", "日本/語"]
    names = [name for name in names if name != "b/a"]
    for name in names:
        await objects.put(f"tree/{name}", b"")
    assert await keys(objects, "tree/") == sorted(f"tree/{name}" for name in names)


@pytest.mark.parametrize(
    ("prefix", "want"),
    [
        ("", ["a/1", "a/12", "a/2/x", "ab/1", "b"]),
        ("a", ["a/1", "a/12", "a/2/x", "ab/1"]),
        ("a/", ["a/1", "a/12", "a/2/x"]),
        ("a/1", ["a/1", "a/12"]),
        ("a/2/", ["a/2/x"]),
        ("a/2/xy", []),
        ("b", ["b"]),
        ("b/", []),
        ("c", []),
        ("/", []),
        ("/a", []),
        ("a//", []),
        ("../", []),
        ("a/../", []),
        ("./", []),
    ],
)
async def test_a_prefix_is_text_not_a_directory(objects, prefix, want):
    """A listing holds the keys that begin with the prefix, wherever it ends."""
    for key in ("a/1", "a/12", "a/2/x", "ab/1", "b"):
        await objects.put(key, b"")
    assert await keys(objects, prefix) == want


async def test_a_long_listing_is_complete(objects):
    """Nothing is lost or doubled where a listing comes in several parts."""
    names = sorted(f"t/{number % 7}/{number}" for number in range(600))
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(objects.put, name, b"")
    assert await keys(objects, "t/") == names


async def test_deletion_removes_one_object(objects):
    """What is next to the deleted object stays, and the key can be used again."""
    for key in ("a/b", "a/c", "d/e/f"):
        await objects.put(key, b"x")
    await objects.delete("a/b")
    await objects.delete("d/e/f")
    assert await keys(objects, "") == ["a/c"]
    await objects.put("a/b", b"again", if_absent=True)
    assert await keys(objects, "") == ["a/b", "a/c"]


async def test_what_was_above_deleted_objects_can_be_an_object(objects, request):
    """When everything below a key is gone, the key itself can be used."""
    await objects.put("d/e/f", b"x")
    await objects.delete("d/e/f")
    if "objects:s3" in request.node.name and await clouds.keeps_empty_directories(objects):
        pytest.skip("this server (SeaweedFS) takes an empty directory for an object until it is swept, after two minutes; S3 has none")
    await objects.put("d", b"now an object", if_absent=True)
    assert await keys(objects, "") == ["d"]


async def test_deletion_of_a_tree(objects):
    """Everything below the prefix goes and nothing next to it; an absent tree is fine."""
    for key in ("m/1/a", "m/1/b/c", "m/1/.dyff/artifacts.json", "m/10/a", "m/2/a"):
        await objects.put(key, b"x")
    await objects.delete_tree("m/1/")
    await objects.delete_tree("m/1/")
    await objects.delete_tree("absent/")
    assert await keys(objects, "") == ["m/10/a", "m/2/a"]
    await objects.put("m/1/a", b"again", if_absent=True)
    assert await objects.get("m/1/a") == b"again"


HOSTILE = [
    "", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "./a", "a/./b", "a//b", "a/", "a\\..\\b", "C:/x",
    "a\x00b", "a\nb", "a\x7f", "a\x85b", "a?b", "a#b", "a%2e%2e/b", "a*", 'a"b', "a<b", "a|b", "a.", "a ", "a./b",
    "NUL", "x/con.txt", "com1", "\ud800", "a/" * 511 + "..", "x" * 256, "a/" * 512 + "a",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE, ids=lambda key: ascii(key)[:20])
async def test_a_hostile_key_is_refused_everywhere(objects, key):
    """A key that could mean something outside of the store, or two things, is refused by every operation."""
    with pytest.raises(errors.InvalidFields):
        await objects.put(key, b"x")
    with pytest.raises(errors.InvalidFields):
        await objects.put(key, b"x", if_absent=True)
    with pytest.raises(errors.InvalidFields):
        await objects.head(key)
    with pytest.raises(errors.InvalidFields):
        await objects.get(key)
    with pytest.raises(errors.InvalidFields):
        await anext(objects.stream(key))
    with pytest.raises(errors.InvalidFields):
        await objects.delete(key)
    with pytest.raises(errors.InvalidFields):
        await objects.delete_tree(f"{key}/")
    with pytest.raises(errors.InvalidFields):
        await objects.sign("GET", key)
    assert await keys(objects, "") == []


async def test_a_tree_needs_a_prefix_that_ends_in_a_slash(objects):
    """`delete_tree` of a bare text is refused: it would be unclear whether `a1` goes with `a`."""
    await objects.put("a/b", b"x")
    for prefix in ("a", ""):
        with pytest.raises(errors.InvalidFields):
            await objects.delete_tree(prefix)
    assert await keys(objects, "") == ["a/b"]


@pytest.mark.parametrize("key", ["a", "a b/c+d&e=f", "ä/日本/😀", "~x/-_.y", "a/" * 400 + "a", "'();,@!$[]^`{}"])
async def test_unusual_keys_are_keys(objects, key):
    """Whatever is not forbidden is kept as it is, and a signed URL of it leads to exactly it."""
    await objects.put(key, b"x")
    assert await keys(objects, "") == [key]
    assert await objects.get(key) == b"x"
    url = httpx.URL((await objects.sign("GET", key)).url)
    assert url.path.endswith(f"/{key}")


async def test_a_signed_url_says_what_to_send(objects):
    """A URL for an upload is absolute, bound to the digest, and names the headers that the client must send."""
    put = await objects.sign("PUT", "datasets/a/f", md5=md5(b"x"), limit_bytes=1)
    get = await objects.sign("GET", "datasets/a/f")
    assert (put.method, put.headers) == ("PUT", {"Content-MD5": md5(b"x")})
    assert (get.method, get.headers) == ("GET", {})
    assert put.url.startswith("https://")
    assert put.url != get.url


@pytest.mark.parametrize("size", [0, 7, 16 * MIB + 5])
async def test_a_copy_is_of_exactly_the_bytes_that_were_meant(objects, size):
    """It has the given SHA-256, and what is put to the source later does not reach it; repeated, it is the same."""
    data = hashlib.shake_128(b"copied").digest(size)
    await objects.put("from/x", data)
    for _ in range(2):
        await objects.copy("from/x", "to/y", sha256=hashlib.sha256(data).hexdigest())
    await objects.put("from/x", b"other")
    assert await whole(objects.stream("to/y")) == data
    await objects.delete("from/x")
    assert await whole(objects.stream("to/y")) == data
    assert (await objects.head("to/y")).size_bytes == size


async def test_a_copy_of_other_bytes_is_refused(objects):
    """Also if their MD5 is the same: nothing is stored, and what was there before stays. A missing source is said to be missing."""
    await objects.put("from/x", collisions.SECOND)
    await objects.put("to/old", b"old")
    for target in ("to/new", "to/old"):
        with pytest.raises(errors.DigestMismatch):
            await objects.copy("from/x", target, sha256=hashlib.sha256(collisions.FIRST).hexdigest())
        with pytest.raises(errors.NotFound):
            await objects.copy("from/missing", target, sha256="0" * 64)
    assert await objects.head("to/new") is None
    assert await objects.get("to/old") == b"old"
