"""The S3 server of the tests, which `DYFF_TEST_S3` names as `http://ACCESS:SECRET@HOST:PORT/BUCKET`. Every test has a prefix of its own."""

from __future__ import annotations

import contextlib
import os
import uuid
from urllib.parse import urlsplit

from dyff.kernel import errors
from tests.conftest import missing


def environment():
    """What a process needs in addition to the URL of the store."""
    parts = _server()
    return {"AWS_ACCESS_KEY_ID": parts.username, "AWS_SECRET_ACCESS_KEY": parts.password}


@contextlib.contextmanager
def connection(**changes):
    """A connection to a fresh prefix, whose objects are gone afterwards."""
    import obstore

    from dyff.objects.cloud import Connection, sigv4

    parts = _server()
    credentials = sigv4.Credentials(parts.username, parts.password)
    given = {"endpoint": f"http://{parts.hostname}:{parts.port}", "bucket": parts.path.strip("/"), "prefix": f"test-{uuid.uuid4().hex}"}
    made = Connection(**{**given, "credentials": credentials, **changes})
    yield made
    store = made.connect()
    for chunk in obstore.list(store, made.prefix, chunk_size=1000):
        obstore.delete(store, [meta["path"] for meta in chunk])


def opened(connection, clock=None):
    from dyff.objects.cloud import CloudObjects

    return CloudObjects.open(connection, clock)


async def keeps_empty_directories(objects):
    """Whether the server is one on files, which shows a directory where nothing is any more."""
    await objects.put("below/it", b"x")
    await objects.delete("below/it")
    try:
        await objects.put("below", b"x", if_absent=True)
    except errors.Unavailable:
        return True
    await objects.delete("below")
    return False


def _server():
    url = os.environ.get("DYFF_TEST_S3")
    if not url:
        missing("no S3 server: start one with make services and set DYFF_TEST_S3, or use make test-engines")
    return urlsplit(url)
