from __future__ import annotations

import json

import httpx
import pytest

from dyff.sdk import Client, errors

MODEL = {
    "id": "a" * 32,
    "account": "me",
    "kind": "Model",
    "status": "Ready",
    "name": "m",
    "artifact": {"kind": "Mock"},
    "source": {"kind": "Mock"},
}


def a_client(handler) -> Client:
    return Client(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler))


def test_a_create_that_met_a_busy_server_is_repeated_with_the_same_key():
    """Only the first try decides what is created: all tries of one call carry one Idempotency-Key."""
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            return httpx.Response(503, headers={"retry-after": "0.01"}, json={"detail": "starting"})
        return httpx.Response(201, json=MODEL)

    with a_client(handler) as client:
        assert client.models.create({"account": "me"}).id == "a" * 32
        client.models.create({"account": "me"})
    assert keys[0] == keys[1] != keys[2]


def test_a_broken_connection_is_repeated():
    """A transport error is not the end of a call."""
    tries: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        tries.append(1)
        if len(tries) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=MODEL)

    with a_client(handler) as client:
        assert client.models.get("a" * 32).status == "Ready"


def test_reads_ask_for_what_was_written():
    """Each read carries the positions of all writes so far, merged by maximum for each partition."""
    positions = iter(["e;0=5", "e;1=2", "e;0=3"])
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("dyff-position"))
        return httpx.Response(201, json=MODEL, headers={"dyff-position": next(positions)} if request.method == "POST" else {})

    with a_client(handler) as client:
        for _ in range(3):
            client.models.create({"account": "me"})
        client.models.get("a" * 32)
    assert seen == [None, "e;0=5", "e;0=5,1=2", "e;0=5,1=2"]


@pytest.mark.parametrize(
    ("status", "want"),
    [(401, errors.NotAuthenticated), (403, errors.NotAllowed), (404, errors.Missing), (409, errors.Refused), (422, errors.BadRequest)],
)
def test_refusals_are_told_with_the_servers_words(status, want):
    """Each status has its class, and the message names the field and the fix."""
    detail = [{"loc": ["body", "name"], "msg": "is missing; give it a name", "type": "missing"}]
    with (
        a_client(lambda request: httpx.Response(status, json={"detail": detail})) as client,
        pytest.raises(want, match=r"body\.name: is missing; give it a name"),
    ):
        client.models.create({"account": "me"})


def test_a_wait_ends_with_the_reason_of_a_failure():
    """A workflow that failed raises with its status, reason and message."""
    failed = {**MODEL, "status": "Error", "reason": "FetchFailed", "message": "no such repository"}
    with (
        a_client(lambda request: httpx.Response(200, json=failed)) as client,
        pytest.raises(errors.WorkflowFailed, match=r"ended as Error \(FetchFailed\): no such repository"),
    ):
        client.models.wait("a" * 32, progress=False)


def test_a_wait_that_is_over_says_what_the_workflow_waits_for():
    """A time-out names the status, the reason and the message."""
    waiting = {**MODEL, "status": "Created", "reason": "QuotaLimit", "message": "Account quota exceeded: 8/8"}
    with (
        a_client(lambda request: httpx.Response(200, json=waiting)) as client,
        pytest.raises(errors.WaitTimeout, match="still Created after 0 s, QuotaLimit: Account quota exceeded: 8/8"),
    ):
        client.models.wait("a" * 32, timeout_s=0, progress=False)


def test_pages_are_fetched_until_one_is_not_full():
    """Iteration asks for the page after the last entity, and ends by itself."""
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        first = len(asked) == 1
        return httpx.Response(200, json=[{**MODEL, "id": str(n) * 32, "creationTime": f"t{n}"} for n in ((1, 2) if first else (3,))])

    with a_client(handler) as client:
        assert [each.id[0] for each in client.models.pages(page=2, account="me")] == ["1", "2", "3"]
    assert json.loads(asked[1]["after"]) == ["t2", "2" * 32]
    assert asked[1]["account"] == "me"


def test_a_client_without_a_token_says_how_to_get_one(monkeypatch):
    """The error names the variable and the command."""
    monkeypatch.delenv("DYFF_API_TOKEN", raising=False)
    with pytest.raises(ValueError, match="dyff token create"):
        Client()


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (lambda client: client.models.get("a/../b"), "/v0/models/a%2F..%2Fb"),
        (lambda client: client.models.get(".."), "/v0/models/%2E%2E"),
        (lambda client: client.models.get("x?y=1#z"), "/v0/models/x%3Fy=1%23z"),
        (lambda client: client.models.get("100%41"), "/v0/models/100%2541"),
        (lambda client: client.models.delete("ü x"), "/v0/models/%C3%BC%20x/delete"),
        (lambda client: client.datasets.uplink("i", "split=a/b ?.parquet"), "/v0/datasets/i/upload/split=a/b%20%3F.parquet"),
        (lambda client: client.accounts.list_tokens("a/b"), "/v0/accounts/a%2Fb/tokens"),
        (lambda client: client.accounts.revoke_token("a/b", "../c"), "/v0/accounts/a%2Fb/tokens/..%2Fc"),
        (
            lambda client: client.inferencesessions.client("a/b", "t", endpoint="/v1/x?").infer({}),
            "/v0/inferencesessions/a%2Fb/infer/v1/x%3F",
        ),
    ],
)  # fmt: skip
def test_what_is_put_into_a_path_stays_one_segment(call, want):
    """No ID, token or file name can lead to another route; what is asked for is what arrives."""
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(404, json={"detail": "there is none"})

    with a_client(handler) as client, pytest.raises(errors.Missing):
        call(client)
    assert seen == [want.encode()]


def test_an_empty_id_is_refused():
    """It would ask for all entities."""
    with a_client(lambda _: httpx.Response(200, json=[])) as client, pytest.raises(ValueError, match="the ID is empty"):
        client.models.get("")
