"""Waiting for what was created."""

from __future__ import annotations

import httpx
import pytest

from dyff.sdk import Client, errors

SESSION = {
    "id": "a" * 32,
    "account": "me",
    "kind": "InferenceSession",
    "status": "Admitted",
    "inferenceService": {
        "id": "b" * 32,
        "account": "me",
        "name": "mock",
        "interface": {"endpoint": "v1/completions", "outputSchema": {}},
    },
}


def a_client(ready, **session) -> Client:
    """A client of a server with one session; `ready`: what it says each time that it is asked."""
    answers = iter(ready)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/ready"):
            answer = next(answers)
            return httpx.Response(200 if answer else 202, json={"ready": answer})
        if request.url.path.endswith("/progress"):
            return httpx.Response(404, json={"detail": "nothing is known"})
        return httpx.Response(200, json={**SESSION, **session})

    return Client(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler))


def test_waiting_for_a_session_is_over_when_it_answers_inference():
    """A session runs until it is ended, so its end is not what anybody waits for."""
    with a_client([False, False, True]) as client:
        assert client.inferencesessions.wait("a" * 32, timeout_s=20.0, progress=False).status == "Admitted"


def test_waiting_for_a_session_that_has_ended_fails():
    """One that has ended will never be ready, and the error says why it ended."""
    with a_client([False], status="Terminated", reason="Expired") as client, pytest.raises(errors.WorkflowFailed, match="Expired"):
        client.inferencesessions.wait("a" * 32, progress=False)


def test_a_session_that_is_late_goes_on():
    """The time is over, not the session."""
    with a_client(iter(lambda: False, None)) as client, pytest.raises(errors.WaitTimeout):
        client.inferencesessions.wait("a" * 32, timeout_s=0.1, progress=False)
