"""Files up with both clients: whole, once, sent again where they broke off."""

from __future__ import annotations

import httpx
import pytest

from dyff.sdk import errors
from tests.sdk.conftest import got

ID = "a" * 32


class Uploaded:
    """A server that takes a model's files, and what it was sent."""

    def __init__(self, there=(), answers=()) -> None:
        self.there, self.answers = set(there), list(answers)
        self.put: dict[str, bytes] = {}
        self.finalized = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if "/upload/" in path:
            name = path.partition("/upload/")[2]
            return httpx.Response(
                200,
                json={"url": f"http://server/objects/{name}", "method": "PUT", "headers": {"Content-MD5": "x"}},
                headers={"dyff-uploaded": "true"} if name in self.there else {},
            )
        if path.endswith("/finalize"):
            self.finalized += 1
            return httpx.Response(200, json={"status": "Ready"})
        assert request.headers["content-md5"] == "x"
        if self.answers and (answer := self.answers.pop(0)):
            if isinstance(answer, Exception):
                raise answer
            return answer
        content = request.content
        assert int(request.headers["content-length"]) == len(content)
        self.put[path.removeprefix("/objects/")] = content
        return httpx.Response(200)


class Reading(httpx.MockTransport):
    """A mock that has read the body, whether it comes blocking or awaited."""

    def handle_request(self, request):
        request.read()
        return super().handle_request(request)

    async def handle_async_request(self, request):
        await request.aread()
        return self.handler(request)


@pytest.fixture
def model(tmp_path):
    """A model of two files, and its folder."""
    from dyff.sdk import models

    (tmp_path / "part").mkdir()
    (tmp_path / "a.bin").write_bytes(b"first")
    (tmp_path / "part/b.bin").write_bytes(b"second")
    files = [models.File(path=path, size=1) for path in ("a.bin", "part/b.bin")]
    artifact = models.ModelArtifact(kind="Volume", volume=models.Volume(files=files))
    return models.Model(id=ID, account="me", kind="Model", status="WaitingForUpload", name="m", artifact=artifact, source={})


async def test_an_upload_sends_every_file_and_finalizes(kind, model, tmp_path):
    """Each file goes to its own URL with the headers that were given, and then the server is notified."""
    server = Uploaded()
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    await got(client.models.upload_volume(model, tmp_path, progress=False))
    assert (server.put, server.finalized) == ({"a.bin": b"first", "part/b.bin": b"second"}, 1)


async def test_what_the_server_has_is_not_sent_again(kind, model, tmp_path):
    """A repeated upload sends what is missing."""
    server = Uploaded(there=["a.bin"])
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    await got(client.models.upload_volume(model, tmp_path, progress=False))
    assert (server.put, server.finalized) == ({"part/b.bin": b"second"}, 1)


async def test_an_upload_that_breaks_off_is_sent_again(kind, model, tmp_path):
    """A broken connection and a busy store are no end; each try sends the whole file."""
    server = Uploaded(answers=[httpx.WriteError("broke off"), httpx.Response(503, json={"detail": "busy"})])
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    await got(client.models.upload_volume(model, tmp_path, progress=False))
    assert server.put == {"a.bin": b"first", "part/b.bin": b"second"}


async def test_a_refused_upload_is_reported_without_the_signature(kind, model, tmp_path):
    """The store's words are the error, nothing is finalized, and the credential in the URL is not in the message."""
    refused = httpx.Response(409, json={"detail": "other bytes than declared"})
    server = Uploaded(answers=[refused] * 4)
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    with pytest.raises(errors.Refused, match="other bytes than declared") as raised:
        await got(client.models.upload_volume(model, tmp_path, progress=False))
    assert "?" not in str(raised.value)
    assert server.finalized == 0


async def test_a_missing_file_is_reported_before_anything_is_sent(kind, model, tmp_path):
    """Nothing is half-uploaded."""
    (tmp_path / "part/b.bin").unlink()
    server = Uploaded()
    client = kind(endpoint="http://server/v0", api_token="t", http=Reading(server))
    with pytest.raises(FileNotFoundError, match=r"b\.bin"):
        await got(client.models.upload_volume(model, tmp_path, progress=False))
    assert server.put == {}
