"""Calling a session through its adapters, with both clients."""

from __future__ import annotations

import base64
import json
import re

import httpx
import pytest
from dyff.client import _inference as published
from dyff.schema import adapters

from dyff.kernel import errors as kernel
from dyff.sdk import errors, models
from tests.narrowing import sure
from tests.sdk.conftest import got

INTERFACE = models.InferenceInterface(
    endpoint="v1/completions",
    outputSchema={},
    inputPipeline=[{"kind": "TransformJSON", "configuration": {"prompt": "$.text"}}],
    outputPipeline=[
        {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"]}},
        {"kind": "TransformJSON", "configuration": {"text": "$.choices.text"}},
    ],
)
ANSWER = {"choices": [{"text": "one"}, {"text": "two"}]}


async def test_items_pass_through_the_interfaces_adapters(connect):
    """An item becomes the request, the answer becomes rows, and the session's own token is sent to its endpoint."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    session = connect(handler).inferencesessions.client("s" * 32, "session token", interface=INTERFACE)
    assert await got(session.infer({"text": "hello"})) == [{"text": "one"}, {"text": "two"}]
    (request,) = seen
    assert request.url.path == f"/v0/inferencesessions/{'s' * 32}/infer/v1/completions"
    assert request.headers["authorization"] == "Bearer session token"
    assert json.loads(request.content) == {"prompt": "hello"}


async def test_without_an_interface_bodies_pass_as_they_are(connect):
    """An endpoint alone means no adapters; those that are given are used in place of the interface's."""
    client = connect(lambda request: httpx.Response(200, json={"echo": json.loads(request.content)})).inferencesessions
    assert await got(client.client("s", "t", endpoint="/generate").infer({"a": 1})) == [{"echo": {"a": 1}}]
    doubled = client.client("s", "t", interface=INTERFACE, input_adapter=lambda items: items, output_adapter=lambda items: [*items] * 2)
    assert await got(doubled.infer(1)) == [{"echo": 1}] * 2
    with pytest.raises(ValueError, match="either 'interface' or 'endpoint'"):
        client.client("s", "t")


async def test_an_item_must_become_one_request(connect):
    """None and several are refused before anything is sent."""
    client = connect(lambda request: pytest.fail("sent")).inferencesessions
    for several in ([], [1, 2]):
        with pytest.raises(ValueError, match=f"exactly one request of an item, not {len(several)}"):
            await got(client.client("s", "t", endpoint="x", input_adapter=lambda _, made=several: made).infer({}))


async def test_a_file_is_sent_as_a_form(connect):
    """What a published adapter FileUpload makes goes as multipart/form-data, with its further fields."""
    upload = {"name": "file", "filename": "a.png", "contentType": "image/png", "content": b"\x89PNG", "formFields": {"model": "m"}}

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
        body = request.content
        assert b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n' in body
        assert b'name="model"\r\n\r\nm\r\n' in body
        return httpx.Response(200, json={"seen": True})

    def infer(upload):
        made = connect(handler).inferencesessions.client("s", "t", endpoint="x", input_adapter=lambda _: [{"$fileUpload": upload}])
        return made.infer({})

    assert await got(infer(upload)) == [{"seen": True}]
    with pytest.raises(ValueError, match="no line breaks"):
        await got(infer({**upload, "contentType": "image/png\r\nX-Evil: 1"}))


@pytest.mark.parametrize(
    "configuration",
    [
        {"field": "$.image"},
        {
            "field": "$.image",
            "name": "upload",
            "filename": 'a "quoted"\nü.png',
            "contentType": "image/png",
            "formFields": {"model": "$.model", "n": 3, 'a"b': "ü\r\n--"},
        },
        {"field": "$", "encoding": "json"},
    ],
)
async def test_a_file_upload_is_sent_as_the_published_client_sends_it(connect, configuration):
    """Where the input pipeline ends in FileUpload, the request is the published client's, byte for byte."""
    seen: list[tuple[str, bytes]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        media_type = request.headers["content-type"]
        boundary = sure(re.search("boundary=([0-9a-f]+)", media_type))[1]
        seen.append((media_type.replace(boundary, "BOUNDARY"), request.read().replace(boundary.encode(), b"BOUNDARY")))
        return httpx.Response(200, json={})

    item = {"image": base64.b64encode(bytes(range(256))).decode(), "model": "m"}
    pipeline = [{"kind": "FileUpload", "configuration": configuration}]
    interface = models.InferenceInterface(endpoint="describe", outputSchema={}, inputPipeline=pipeline)
    await got(connect(handler).inferencesessions.client("s", "t", interface=interface).infer(item))

    theirs = published.InferenceSessionClient(
        session_id="s",
        token="t",
        dyff_api_endpoint="http://server/v0",
        inference_endpoint="describe",
        input_adapter=adapters.create_pipeline(pipeline),
    )
    theirs._client.close()
    theirs._client = httpx.Client(transport=httpx.MockTransport(handler))
    theirs.infer(item)
    theirs._client.close()
    assert seen[0] == seen[1]
    assert configuration["field"] != "$.image" or bytes(range(256)) in seen[0][1]


async def test_an_output_pipeline_has_no_uploads(connect):
    """FileUpload in the output pipeline is refused when the session's client is made."""
    pipeline = [{"kind": "FileUpload", "configuration": {"field": "$.x"}}]
    interface = models.InferenceInterface(endpoint="x", outputSchema={}, outputPipeline=pipeline)
    with pytest.raises(kernel.InvalidFields, match="last adapter of a service's interface"):
        connect(lambda request: httpx.Response(500)).inferencesessions.client("s", "t", interface=interface)


@pytest.mark.parametrize(("answer", "want"), [(502, 1), (500, 1), (503, 3), (429, 3)])
async def test_inference_is_repeated_only_where_nothing_was_done(connect, answer, want):
    """A service that broke off may have answered already; one that is not there yet has not."""
    tries: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        tries.append(1)
        return httpx.Response(answer, json={"detail": "no"})

    with pytest.raises(errors.ApiError):
        await got(connect(handler, retries=2).inferencesessions.client("s", "t", endpoint="x").infer({}))
    assert len(tries) == want


async def test_a_service_cannot_make_the_client_wait(connect):
    """A position in the answer of a service, or of a read, is not the position of a write: no later read asks for it."""
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("dyff-position"))
        answer = [] if request.method == "GET" else ANSWER
        return httpx.Response(200, json=answer, headers={"dyff-position": "evil;0=9999999999"})

    client = connect(handler)
    await got(client.inferencesessions.client("s" * 32, "t", endpoint="generate").infer({"text": "hello"}))
    await got(client.datasets.query())
    await got(client.datasets.query())
    assert seen == [None, None, None]
