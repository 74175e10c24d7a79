"""Requests to a running session, beside those of the published client."""

from __future__ import annotations

import base64
import re

import httpx
import pytest
from dyff.client import _inference as published
from dyff.schema import adapters

from dyff.kernel import errors
from dyff.sdk import inference, models, transport

SESSION = "5e" * 16
SCHEMA = {"arrowSchema": ""}


def requests_of(pipeline, item):
    """The request of our client and of the published one for the same item: media type and body, boundaries made equal."""
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        media_type, body = request.headers["content-type"], request.read()
        boundary = re.search("boundary=([0-9a-f]+)", media_type)
        seen.append((re.sub("boundary=.*", "", media_type), body.replace(boundary[1].encode() if boundary else b"\n", b"BOUNDARY")))
        return httpx.Response(200, json={"text": "an answer"})

    http = transport.Transport("http://server/v0", "t", http=httpx.MockTransport(handler))
    interface = models.InferenceInterface(endpoint="describe", outputSchema=SCHEMA, inputPipeline=pipeline)
    assert inference.InferenceSessionClient(http, SESSION, "t", interface=interface).infer(item) == [{"text": "an answer"}]
    http.close()

    theirs = published.InferenceSessionClient(
        session_id=SESSION,
        token="t",
        dyff_api_endpoint="http://server/v0",
        inference_endpoint="describe",
        input_adapter=adapters.create_pipeline(pipeline),
    )
    theirs._client.close()
    theirs._client = httpx.Client(transport=httpx.MockTransport(handler))
    theirs.infer(item)
    theirs._client.close()
    return seen


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
def test_a_file_upload_is_sent_as_a_form(configuration):
    """Where the input pipeline ends in FileUpload, the request is the published client's, byte for byte."""
    item = {"image": base64.b64encode(bytes(range(256))).decode(), "model": "m"}
    ours, theirs = requests_of([{"kind": "FileUpload", "configuration": configuration}], item)
    assert ours == theirs
    assert ours[0].startswith("multipart/form-data; ")
    assert configuration["field"] != "$.image" or bytes(range(256)) in ours[1]


def test_other_items_are_sent_as_json():
    """Without FileUpload an item is sent as JSON."""
    [(media_type, body)] = [requests_of([], {"text": "x"})[0]]
    assert (media_type, body) == ("application/json", b'{"text": "x"}')


def test_an_output_pipeline_has_no_uploads():
    """FileUpload in the output pipeline is refused when the client is made."""
    pipeline = [{"kind": "FileUpload", "configuration": {"field": "$.x"}}]
    interface = models.InferenceInterface(endpoint="x", outputSchema=SCHEMA, outputPipeline=pipeline)
    http = transport.Transport("http://server/v0", "t", http=httpx.MockTransport(lambda _: httpx.Response(500)))
    with pytest.raises(errors.InvalidFields, match="last adapter of a service's interface"):
        inference.InferenceSessionClient(http, SESSION, "t", interface=interface)
    http.close()
