"""The object store of a cloud: what the contract does not ask, on a server that misbehaves. test_s3 has the real one."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
import sys
import time
from typing import Any

import anyio
import msgspec
import pytest

from dyff.consumers.orchestrator import sealing
from dyff.entities import registry
from dyff.kernel import clock, errors
from dyff.objects import layout, manifests, stores
from dyff.objects.cloud import CloudObjects, Connection, sigv4
from tests.narrowing import sure
from tests.objects import faulty

CREDENTIALS = sigv4.Credentials("access", "secret")
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret"}

FOUND_BY_THE_VENDOR = {"AWS_WEB_IDENTITY_TOKEN_FILE": "file", "GOOGLE_SERVICE_ACCOUNT": "file", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}


@pytest.fixture
def server():
    with faulty.a_store() as running:
        yield running


@pytest.fixture
def objects(server):
    opened = CloudObjects.open(connection(server))
    server.requests.clear()
    return opened


def connection(server, **changes):
    return Connection(**{"bucket": "bucket", "endpoint": server.url, "credentials": CREDENTIALS, "timeout_s": 5, **changes})


def md5(data):
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def test_a_store_that_ignores_conditions_is_refused(server):
    """Without put-if-absent two verifications could both win, so such a store cannot be opened."""
    server.conditional = False
    with pytest.raises(errors.Misconfigured, match="If-None-Match"):
        CloudObjects.open(connection(server))


def test_opening_again_and_again_is_fine(server):
    """What it is found out with stays there and harms nobody."""
    for _ in range(3):
        CloudObjects.open(connection(server))
    assert len(server.objects) == 1


@pytest.mark.parametrize(("status", "error"), [(403, errors.Misconfigured), (404, errors.Misconfigured), (503, errors.Unavailable)])
def test_what_is_wrong_is_reported_at_open(server, status, error):
    """Wrong credentials and a missing bucket are the settings' fault; a store that is too busy is not."""
    server.answers = {"PUT": [-status] * 9}
    with pytest.raises(error, match="s3://bucket"):
        CloudObjects.open(connection(server, timeout_s=1))


async def test_an_etag_that_is_no_md5_is_not_taken_for_one(server):
    """Where the store encrypts, its ETags look like MD5s and are none, so it does not know any."""
    server.md5_etags = False
    objects = CloudObjects.open(connection(server))
    assert (await objects.put("k", b"x")).md5 == md5(b"x")
    assert (sure(await objects.head("k"))).md5 is None


async def test_put_if_absent_is_sent_once(server, objects):
    """Sent again it would find its own first attempt and call it another's; so a lost answer is an unknown outcome."""
    server.answers = {"PUT": [500]}
    with pytest.raises(errors.OutcomeUnknown):
        await objects.put("k", b"x", if_absent=True)
    assert server.asked("PUT") == ["PUT k"]
    assert server.objects["k"] == b"x"


async def test_a_put_is_sent_again(server, objects):
    """A busy store is tried again where that can do no harm."""
    server.answers = {"PUT": [-503, -503]}
    assert (await objects.put("k", b"x")).size_bytes == 1
    assert len(server.asked("PUT")) == 3


@pytest.mark.parametrize("status", [400, 408, 429, 503])
async def test_a_store_that_refuses_has_done_nothing(server, objects, status):
    """It says so, so a caller may repeat a conditional put."""
    server.answers = {"PUT": [-status]}
    with pytest.raises(errors.Unavailable):
        await objects.put("k", b"x", if_absent=True)
    await objects.put("k", b"x", if_absent=True)


async def test_taken_means_that_there_is_one(server, objects):
    """S3 answers 409 and 412 also while another deletes or writes; nobody shall then go and read what is not there."""
    server.answers = {"PUT": [-412]}
    with pytest.raises(errors.Unavailable, match="another"):
        await objects.put("k", b"x", if_absent=True)
    await objects.put("k", b"x", if_absent=True)
    with pytest.raises(errors.AlreadyExists):
        await objects.put("k", b"x", if_absent=True)


async def test_a_store_that_is_away_has_done_nothing():
    """No connection: nothing was sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{listener.getsockname()[1]}"  # bound, not listening
        with pytest.raises(errors.Unavailable):
            CloudObjects.open(Connection(bucket="bucket", endpoint=away, credentials=CREDENTIALS, timeout_s=1))


async def test_a_store_that_hangs_is_given_up(server, objects):
    """Silence is bounded: a read has failed, a write may have been done."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stuck = CloudObjects(Connection(bucket="bucket", endpoint=silent, credentials=CREDENTIALS, timeout_s=0.5), clock.SystemClock())
        began = time.monotonic()
        with pytest.raises(errors.Unavailable):
            await stuck.get("k")
        with pytest.raises(errors.OutcomeUnknown):
            await stuck.put("k", b"x", if_absent=True)
    assert time.monotonic() - began < 10


async def test_what_is_given_up_leaves_no_parts(server, objects):
    """An upload in parts that breaks off, is cancelled or is not what was promised is aborted, so that nobody pays for its parts."""

    async def pieces(last=None):
        for _ in range(40):
            await anyio.lowlevel.checkpoint()
            yield b"x" * 2**20
        if last:
            raise last
        if last is None:
            await anyio.sleep_forever()

    with pytest.raises(ConnectionResetError):
        await objects.put("k", pieces(ConnectionResetError()))
    with pytest.raises(errors.DigestMismatch):
        await objects.put("k", pieces(False), md5=md5(b"else"))
    with pytest.raises(errors.TooLarge):
        await objects.put("k", pieces(False), limit_bytes=39 * 2**20)
    with anyio.move_on_after(1) as limit:
        await objects.put("k", pieces())
    assert limit.cancelled_caught
    assert server.asked("DELETE") == [f"DELETE k?uploadId={number}" for number in range(1, 5)]
    assert not server.parts
    assert "k" not in server.objects
    assert (await objects.put("k", pieces(False))).size_bytes == 40 * 2**20
    assert len(server.objects["k"]) == 40 * 2**20


async def test_objects_are_made_of_others(server, monkeypatch):
    """Many uploads at once, each read from the same store, do not wait for each other's threads."""
    monkeypatch.setattr("dyff.objects.cloud.store._THREADS", 2)
    monkeypatch.setattr("dyff.objects.cloud.store._UPLOADS", 2)
    monkeypatch.setattr("dyff.objects.cloud.store.PART_BYTES", 2**20)
    objects = CloudObjects.open(connection(server))
    await objects.put("source", b"x" * 4 * 2**20)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(objects.put, f"copy-{number}", objects.stream("source"))
    assert {len(server.objects[f"copy-{number}"]) for number in range(6)} == {4 * 2**20}


async def test_what_is_put_if_absent_has_a_limit(objects, monkeypatch):
    """It is held in memory, so there is a limit to it, and nothing is stored of what is larger."""
    monkeypatch.setattr("dyff.objects.cloud.store.CONDITIONAL_BYTES", 10)

    async def pieces():
        for _ in range(4):
            yield b"12345"

    for data in (b"1" * 20, pieces()):
        with pytest.raises(errors.TooLarge):
            await objects.put("k", data, if_absent=True)
    assert await objects.head("k") is None


@pytest.mark.parametrize(
    ("service", "extra"),
    [("gs", {}), ("az", {"account": "name"})],
)
async def test_other_clouds_are_reached_by_their_own_names(service, extra, monkeypatch):
    """Their URLs are signed by the vendor, for the public endpoint where there is one; Azure wants a header more."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"k" * 32).decode())
    where = Connection(service=service, bucket="bucket", prefix="p", public_endpoint="https://public.example", **extra)
    if service == "az":
        signed = await CloudObjects(where, clock.SystemClock()).sign("PUT", "a b", md5=md5(b"x"))
        assert signed.url.startswith("https://public.example/")
        assert "/bucket/p/a%20b?" in signed.url
        assert signed.headers == {"Content-MD5": md5(b"x"), "x-ms-blob-type": "BlockBlob"}
    assert Connection.from_url(where.url(), FOUND_BY_THE_VENDOR).service == service


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("s3://b", Connection(bucket="b")),
        ("s3://b/", Connection(bucket="b")),
        ("s3://b/p/q/", Connection(bucket="b", prefix="p/q")),
        ("s3://b/a%20b?endpoint=http%3A%2F%2Fh%3A1&region=eu", Connection(bucket="b", prefix="a b", endpoint="http://h:1", region="eu")),
        ("s3://b?timeout_s=2.5&endpoint=https://h", Connection(bucket="b", endpoint="https://h", timeout_s=2.5)),
        ("s3://b?ambient=true", Connection(bucket="b", ambient=True)),
        ("gs://b/p", Connection(service="gs", bucket="b", prefix="p")),
        ("az://b/p?account=n", Connection(service="az", bucket="b", prefix="p", account="n")),
    ],
)  # fmt: skip
def test_a_url_names_a_connection(url, want):
    """And a connection names its URL, which leads to the same place."""
    assert Connection.from_url(url, FOUND_BY_THE_VENDOR) == want
    assert Connection.from_url(want.url(), FOUND_BY_THE_VENDOR) == want
    assert ("timeout_s" in want.url()) == ("timeout_s" in url)


def test_credentials_are_in_the_environment_only():
    """They are never in a URL, which goes into manifests and resources, nor in what is shown of a connection."""
    made = Connection.from_url("s3://b?endpoint=https://h", {**ENVIRONMENT, "AWS_SESSION_TOKEN": "token", "AWS_REGION": "eu-1"})
    assert made.credentials == sigv4.Credentials("access", "secret", "token")
    assert made.region == "eu-1"
    for text in (made.url(), repr(made)):
        assert "secret" not in text
        assert "token" not in text


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///p", "s3://key:hidden@b", "s3://b?nonsense=1", "s3://b#f", "s3://b/../c", "s3://b?endpoint=host", "s3://b?timeout_s=x", "az://b"],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_reported(url):
    """Before anything is sent, without repeating a secret."""
    with pytest.raises(errors.Misconfigured) as caught:
        stores.open_store(url, ENVIRONMENT)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "variable"),
    [("s3://b", "AWS_ACCESS_KEY_ID"), ("gs://b", "GOOGLE_SERVICE_ACCOUNT"), ("az://b?account=n", "AZURE_STORAGE_ACCOUNT_KEY")],
)
def test_missing_credentials_are_reported(url, variable):
    """Nobody's are looked for unasked: the machine's own role may be allowed what this program shall not do."""
    with pytest.raises(errors.Misconfigured, match=f"set {variable}"):
        stores.open_store(url, {})
    assert Connection.from_url(f"{url}{'&' if '?' in url else '?'}ambient=true", {}).ambient


def test_half_of_the_credentials_is_reported():
    """One variable without the other is a mistake, not a wish for the machine's own credentials."""
    with pytest.raises(errors.Misconfigured, match="together"):
        stores.open_store("s3://b", {"AWS_ACCESS_KEY_ID": "x"})


async def test_signing_needs_credentials(server):
    """A store that is reached with the machine's own credentials cannot bind what it signs, so it does not sign."""
    with pytest.raises(errors.Misconfigured, match="AWS_ACCESS_KEY_ID"):
        await CloudObjects(connection(server, credentials=None), clock.SystemClock()).sign("PUT", "k")


PROGRAM = """
import anyio, os
from dyff.objects import stores

async def main():
    store = stores.open_store(os.environ["DYFF_STORAGE_URL"], os.environ)
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(store.put, f"{os.getpid()}/{number}", b"x" * 2000)
    assert len(await store.get(f"{os.getpid()}/3")) == 2000
    assert [piece async for piece in store.stream(f"{os.getpid()}/4")]

anyio.run(main)
"""


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_short_programs_end_well(server, count):
    """A program may end right after its last call: nothing of the vendor's is then still at work, and aborts it."""
    environment = {**os.environ, **ENVIRONMENT, "DYFF_STORAGE_URL": connection(server).url()}
    running, ended = [], []
    shown: list[bytes] = []
    for _ in range(count):
        running.append(subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE))
        if len(running) == 2:
            ended.append(running.pop(0))
            shown.append(ended[-1].communicate(timeout=60)[1])
    shown += [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in (*ended, *running)] == [0] * count, shown
    assert shown == [b""] * count


def test_who_has_a_local_store_does_not_load_the_vendors_library():
    """Neither the server nor a step imports it before the settings ask for a cloud."""
    code = "import sys, dyff.serve.cli, dyff.serve.wiring, dyff.workflows.evaluation_client; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


async def test_a_copy_in_parts_of_other_bytes_leaves_no_part(server, objects):
    """The SHA-256 is checked before the upload in parts is completed; what was sent of it is discarded."""
    data = bytes(40 * 2**20)
    server.objects["from"] = data
    with pytest.raises(errors.DigestMismatch):
        await objects.copy("from", "to", sha256=hashlib.sha256(data[:-1]).hexdigest())
    assert ("to" in server.objects, server.parts) == (False, {})
    await objects.copy("from", "to", sha256=hashlib.sha256(data).hexdigest())
    assert server.objects["to"] == data


@pytest.mark.parametrize("md5_etags", [True, False])
async def test_uploads_are_sealed_in_a_cloud(server, objects, md5_etags):
    """Files that were sent in one request and in parts, with and without MD5s of the store: both digests, and the same bytes."""
    server.md5_etags = md5_etags
    files = {"small": b"x" * 10, "large": hashlib.shake_128(b"large").digest(2**20) * 20}
    listed = [{"path": path, "size": len(data), "digest": {"md5": md5(data)}} for path, data in files.items()]
    model: dict[str, Any] = {"id": "a" * 32, "kind": "Model", "source": {"kind": "Upload"}, "artifact": {"volume": {"files": listed}}}
    for path, data in files.items():
        server.objects[layout.staging("models", model["id"]) + path] = data
    await sealing.seal(objects, registry.BY_KIND["Model"], model, lambda: True)
    manifest = msgspec.json.decode(server.objects[layout.root("models", model["id"]) + layout.ARTIFACTS], type=manifests.Manifest)
    for each in manifest.artifacts:
        data = files[each.path]
        assert each.digest == {"md5": md5(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert server.objects[each.key] == data
    assert server.parts == {}
