"""The mock inference service, over HTTP."""

from __future__ import annotations

import signal
import socket

import httpx
import pytest

from tests.engines.ports import free_port
from tests.workflows import runs


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/completions", "/openai/v1/completions"])
def test_completions(client, path):
    """Completions have OpenAI's form: n answers for each prompt, in order, always the same ones."""
    request = {"model": "m", "prompt": ["one", "two"], "n": 2, "max_tokens": 5}
    first, second = (client.post(path, json=request).json() for _ in range(2))
    assert first == second
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2, 3]
    texts = [choice["text"] for choice in first["choices"]]
    assert len(set(texts)) == 4
    assert all(len(text.split()) == 5 for text in texts)
    alone = client.post(path, json={"prompt": "two", "max_tokens": 5}).json()
    assert alone["choices"][0]["text"] == texts[2]
    assert (first["object"], first["model"], first["usage"]["completion_tokens"]) == ("text_completion", "m", 20)


def test_generate(client):
    """`generate` answers with a list of texts."""
    assert len(client.post("/generate", json={"prompt": "x", "n": 3}).json()["text"]) == 3


def test_transient_errors(client):
    """Some calls fail with 503, the same ones for the same requests, and each request succeeds at the third try at the latest."""
    outcomes = []
    for number in range(40):
        request = {"prompt": f"prompt {number} of this test"}
        outcomes.append([client.post("/openai/v1/completions/transient-errors", json=request).status_code for _ in range(4)])
    assert all(outcome in ([200] * 4, [503, 200, 200, 200], [503, 503, 200, 200]) for outcome in outcomes)
    assert {outcome.count(503) for outcome in outcomes} == {0, 1, 2}


@pytest.mark.parametrize(
    ("path", "content", "want_status"),
    [
        ("/errors/400", b"{}", 400),
        ("/generate", b"{}", 400),
        ("/generate", b"not json", 400),
        ("/generate", b"[]", 400),
        ("/generate", b"\xff", 400),
        ("/v1/completions", b'{"prompt": [1, 2]}', 400),
        ("/v1/completions", b'{"prompt": "x", "n": 0}', 400),
        ("/v1/completions", b'{"prompt": "x", "n": true}', 400),
        ("/nowhere", b"{}", 404),
    ],
)
def test_wrong_requests(client, path, content, want_status):
    """Wrong requests get a status and a message, in OpenAI's form."""
    answer = client.post(path, content=content)
    assert answer.status_code == want_status
    assert answer.json()["error"]["message"]


def test_reading_is_not_posting(client):
    """Only the readiness can be read."""
    assert client.get("/ready").json() == {"ready": True}
    assert client.get("/generate").status_code == 405


def test_sigterm_ends_it_at_once():
    """SIGTERM ends it with code 0, even while a client keeps a connection open."""
    port = free_port()
    process = runs.start_mock_service(port)
    runs.wait_for(lambda: runs.is_ready(port))
    with socket.create_connection(("127.0.0.1", port)):
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
