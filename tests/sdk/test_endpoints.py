"""The endpoint of a client: an address of a server works, and what cannot is refused with what to use."""

from __future__ import annotations

import httpx
import pytest

from dyff.sdk import AsyncClient, Client, calls


def requested(endpoint):
    """The URL that a client with this endpoint requests."""
    seen = []

    def answer(request):
        seen.append(str(request.url))
        return httpx.Response(200, json={"id": "x"})

    with Client(api_token="t", endpoint=endpoint, http=httpx.MockTransport(answer)) as client:
        calls.run(client._http.call("GET", "/datasets"))
    return seen[0]


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("http://host:8000", "http://host:8000/v0"),
        ("http://host:8000/", "http://host:8000/v0"),
        (" https://host ", "https://host/v0"),
        ("http://[::1]:8000", "http://[::1]:8000/v0"),
        ("http://host:8000/v0", "http://host:8000/v0"),
        ("http://host:8000/v0/", "http://host:8000/v0"),
        ("https://host/dyff/v0", "https://host/dyff/v0"),
        ("https://host/behind/a/proxy", "https://host/behind/a/proxy"),
    ],
)
def test_the_address_of_a_server_gets_its_v0(endpoint, base, monkeypatch):
    """From the argument and from the variable; an address with a path of its own stays as it is."""
    assert requested(endpoint) == f"{base}/datasets"
    monkeypatch.setenv("DYFF_API_ENDPOINT", endpoint)
    assert Client(api_token="t").endpoint == base
    assert AsyncClient(api_token="t").endpoint == base


@pytest.mark.parametrize(
    ("endpoint", "use"),
    [
        ("localhost:8000", "use http://localhost:8000/v0"),
        ("127.0.0.1:8000/v0", "use http://127.0.0.1:8000/v0"),
        ("host", "use http://host/v0"),
        ("ftp://host/v0", "use http://HOST:PORT/v0"),
        ("http:///v0", "use http://HOST:PORT/v0"),
        ("http://", "use http://HOST:PORT/v0"),
        ("https:/host/v0", "use http://HOST:PORT/v0"),
        ("http://host:99999/v0", "use one such as http://127.0.0.1:8000/v0"),
        ("http://host:port/v0", "use one such as http://127.0.0.1:8000/v0"),
        ("http://me:secret@host:8000/v0", "pass a token as api_token or DYFF_API_TOKEN, and use http://host:8000/v0"),
        ("http://token@[::1]/v0", "pass a token as api_token or DYFF_API_TOKEN, and use http://[::1]/v0"),
        ("http://[::1", "use one such as http://127.0.0.1:8000/v0"),
        ("http://host:8000/v0/docs", "use http://host:8000/v0"),
        ("http://host:8000/v0/datasets/", "use http://host:8000/v0"),
        ("http://host:8000/v0/v0", "use http://host:8000/v0"),
        ("http://host:8000/v0?x=1", "use http://host:8000/v0"),
        ("http://host/v0#x", "use http://host/v0"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_what_to_use(endpoint, use):
    """Before anything is sent."""
    with pytest.raises(ValueError, match="endpoint") as refused:
        Client(api_token="t", endpoint=endpoint)
    assert str(refused.value).endswith(use)
    assert "secret" not in str(refused.value)
