"""The SDK continues the caller's trace, and names the server's trace in faults."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from opentelemetry import trace as api

from dyff.sdk import Client, errors, tracing


def span(trace: int = 0x4BF92F3577B34DA6A3CE929D0E0E4736, state=None) -> api.NonRecordingSpan:
    return api.NonRecordingSpan(api.SpanContext(trace, 0x00F067AA0BA902B7, False, api.TraceFlags(1), state))


def test_the_span_of_the_caller_is_sent():
    """With its state; without an active span nothing is sent."""
    assert tracing.headers() == {}
    with api.use_span(span(state=api.TraceState([("a", "1")]))):
        assert tracing.headers() == {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1"}
    with api.use_span(api.INVALID_SPAN):
        assert tracing.headers() == {}


def test_opentelemetry_is_not_imported_for_it():
    """A program without it pays nothing."""
    code = "import sys; from dyff.sdk import tracing; assert tracing.headers() == {}; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("status", [500, 400])
def test_a_fault_of_the_server_names_its_trace(status):
    """So that a report of it can; what the client did wrong needs none."""
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("traceparent"))
        return httpx.Response(status, json={"detail": "it broke"}, headers={"Dyff-Trace": "ab" * 16})

    with (
        Client(api_token="t", endpoint="http://dyff.test/v0", http=httpx.MockTransport(answer), retries=0) as client,
        api.use_span(span()),
        pytest.raises(errors.ApiError) as caught,
    ):
        client.datasets.get("0" * 32)
    assert ("ab" * 16 in str(caught.value)) == (status == 500)
    assert sent[0].startswith("00-4bf92f35")
