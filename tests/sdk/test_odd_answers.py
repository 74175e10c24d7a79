"""`infer` accepts the answers that an evaluation accepts, and reports all others as SdkError."""

from __future__ import annotations

import base64

import httpx
import pytest

from dyff.sdk import AsyncClient, Client, errors, models
from tests.sdk.conftest import got
from tests.workflows import odd_answers, runs
from tests.workflows.test_odd_answers import SCHEMA

INTERFACE = models.InferenceInterface(
    endpoint="x",
    outputSchema={"arrowSchema": base64.b64encode(SCHEMA.serialize()).decode()},
    inputPipeline=runs.PROMPT_IN,
    outputPipeline=runs.CHOICES_OUT,
)
ODD = {**odd_answers.UNFIT, **odd_answers.REFUSED, **odd_answers.HARMLESS}
ALL = [(name, answer) for name, answer in ODD.items() if "header" not in name]
"""Without those with too many headers, which the server between client and service refuses."""


@pytest.mark.parametrize("kind", [Client, AsyncClient], ids=lambda kind: kind.__name__)
async def test_infer_and_an_evaluation_agree(kind):
    """Of every odd answer that reaches it, infer makes what an evaluation makes: its responses, or an error that is an SdkError."""
    wrong = {}
    with odd_answers.a_raw_server(lambda number, tries: ALL[number][1]) as (url, _):
        for number, (name, _) in enumerate(ALL):
            transport = httpx.HTTPTransport if kind is Client else httpx.AsyncHTTPTransport
            # A connection for each, because the server closes them.
            client = kind(endpoint=f"{url}/v0", api_token="t", http=transport(verify=False))
            session = client.inferencesessions.client("s" * 32, "t", interface=INTERFACE, timeout=5)
            try:
                outcome = await got(session.infer({"text": f"prompt number {number}"}))
            except errors.SdkError:
                outcome = None
            await got(client.close() if kind is Client else client.aclose())
            if outcome != ([{"text": "fine"}] if name in odd_answers.HARMLESS else None):
                wrong[name] = outcome
    assert wrong == {}


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ({"status_code": 200, "json": {"error": {"message": "overloaded"}}}, "does not fit the output pipeline.*overloaded"),
        ({"status_code": 200, "json": {"choices": [{"text": 7}]}}, "text: 7 is not a text"),
        ({"status_code": 307, "headers": {"Location": "/elsewhere"}}, "307 at .*: a redirect to '/elsewhere', which is not followed"),
        ({"status_code": 404, "content": b"\xff"}, "404 at "),
        ({"status_code": 200, "content": b"<html>"}, "HTML.*it begins with '<html>'"),
    ],
)
async def test_the_error_says_why(connect, answer, want):
    """The message has the reason, and what the service said."""
    session = connect(lambda request: httpx.Response(**answer)).inferencesessions.client("s", "t", interface=INTERFACE)
    with pytest.raises(errors.SdkError, match=want):
        await got(session.infer({"text": "hello"}))


async def test_an_item_that_does_not_fit(connect):
    """An item that the input pipeline refuses is a ValueError, before anything is sent."""
    session = connect(lambda request: pytest.fail("sent")).inferencesessions.client("s", "t", interface=INTERFACE)
    with pytest.raises(ValueError, match="does not fit the input pipeline"):
        await got(session.infer({"words": "hello"}))


async def test_an_adapter_of_the_caller_that_fails(connect):
    """What an output adapter makes of an odd answer, even an exception, is an SdkError."""
    session = connect(lambda request: httpx.Response(200, json={})).inferencesessions.client(
        "s", "t", endpoint="x", output_adapter=lambda items: [item["choices"] for item in items]
    )
    with pytest.raises(errors.SdkError, match="does not fit the output pipeline: 'choices'"):
        await got(session.infer({}))
