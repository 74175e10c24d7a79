"""One implementation, two clients: every test of requests, retries and errors runs on both."""

from __future__ import annotations

import json

import httpx
import pytest

from dyff.sdk import AsyncClient, Client, errors
from tests.sdk.conftest import got, listed

MODEL = {
    "id": "a" * 32,
    "account": "me",
    "kind": "Model",
    "status": "Ready",
    "name": "m",
    "artifact": {"kind": "Mock"},
    "source": {"kind": "Mock"},
}


async def test_a_create_that_met_a_busy_server_is_repeated_with_the_same_key(connect):
    """Only the first try decides what is created: all tries of one call carry one Idempotency-Key."""
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            return httpx.Response(503, headers={"retry-after": "0.01"}, json={"detail": "starting"})
        return httpx.Response(201, json=MODEL)

    client = connect(handler)
    assert (await got(client.models.create({"account": "me"}))).id == "a" * 32
    await got(client.models.create({"account": "me"}))
    assert keys[0] == keys[1] != keys[2]


async def test_a_broken_connection_is_repeated(connect):
    """A transport error is not the end of a call."""
    tries: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        tries.append(1)
        if len(tries) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=MODEL)

    assert (await got(connect(handler).models.get("a" * 32))).status == "Ready"


async def test_what_is_not_there_is_reported_with_the_address(connect):
    """After the last try the error names the address and what to look at."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(errors.ServerUnreachable, match=r"http://server does not answer: refused\. Is 'dyff serve' running") as raised:
        await got(connect(handler, retries=1).models.get("a" * 32))
    assert raised.value.__suppress_context__, "the traces of the HTTP library would hide the sentence"


async def test_what_may_have_happened_is_not_repeated_where_it_must_not(connect):
    """A token's creation has no key on the server: a lost answer is an error, and not a second token."""
    tries: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        tries.append(1)
        raise httpx.ReadError("broke off")

    with pytest.raises(errors.ServerUnreachable, match="broke off"):
        await got(connect(handler).accounts.create_token("a", {"grants": [], "expires": "2030-01-01T00:00:00Z"}))
    assert len(tries) == 1


async def test_reads_ask_for_what_was_written(connect):
    """Each read carries the positions of all writes so far, merged by maximum for each partition."""
    positions = iter(["e;0=5", "e;1=2", "e;0=3"])
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("dyff-position"))
        return httpx.Response(201, json=MODEL, headers={"dyff-position": next(positions)} if request.method == "POST" else {})

    client = connect(handler)
    for _ in range(3):
        await got(client.models.create({"account": "me"}))
    await got(client.models.get("a" * 32))
    assert seen == [None, "e;0=5", "e;0=5,1=2", "e;0=5,1=2"]


@pytest.mark.parametrize(
    ("status", "want"),
    [(401, errors.NotAuthenticated), (403, errors.NotAllowed), (404, errors.Missing), (409, errors.Refused), (422, errors.BadRequest)],
)
async def test_refusals_are_reported_with_the_servers_words(connect, status, want):
    """Each status has its class, and the message names the field and the fix."""
    detail = [{"loc": ["body", "name"], "msg": "is missing; give it a name", "type": "missing"}]
    client = connect(lambda request: httpx.Response(status, json={"detail": detail}))
    with pytest.raises(want, match=r"body\.name: is missing; give it a name"):
        await got(client.models.create({"account": "me"}))


async def test_a_refused_token_says_how_to_get_another(connect):
    """The advice is in the message."""
    client = connect(lambda request: httpx.Response(401, json={"detail": "expired"}))
    with pytest.raises(errors.NotAuthenticated, match="dyff token create"):
        await got(client.models.get("a" * 32))


async def test_an_answer_that_is_no_json_is_reported(connect):
    """A wrong address often leads to some other server: the error shows what it said."""
    client = connect(lambda request: httpx.Response(200, text="<html>Welcome"))
    with pytest.raises(errors.SdkError, match=r"answered no JSON, but '<html>Welcome'"):
        await got(client.models.get("a" * 32))


async def test_pages_are_fetched_until_one_is_not_full(connect):
    """Iteration asks for the page after the last entity, and ends by itself."""
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        first = len(asked) == 1
        return httpx.Response(200, json=[{**MODEL, "id": str(n) * 32, "creationTime": f"t{n}"} for n in ((1, 2) if first else (3,))])

    assert [each.id[0] for each in await listed(connect(handler).models.pages(page=2, account="me"))] == ["1", "2", "3"]
    assert json.loads(asked[1]["after"]) == ["t2", "2" * 32]
    assert asked[1]["account"] == "me"


async def test_an_iteration_that_is_left_early_asks_no_more(connect):
    """Pages are fetched when they are needed."""
    asked: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, json=[{**MODEL, "creationTime": "t"}] * 2)

    found = connect(handler).models.pages(page=2)
    first = await anext(found) if hasattr(found, "__anext__") else next(found)
    await found.aclose() if hasattr(found, "aclose") else found.close()
    assert (first.name, asked) == ("m", [1])


async def test_an_entity_is_read_again_by_what_names_it(connect):
    """`client.get` finds the group by the kind, and an unknown kind is an error."""
    client = connect(lambda request: httpx.Response(200, json={**MODEL, "name": request.url.path}))
    model = await got(client.models.get("a" * 32))
    assert (await got(client.get(model))).name == f"/v0/models/{'a' * 32}"
    with pytest.raises(ValueError, match="known are Account, Dataset"):
        client.apigroup("Modle")


async def test_log_lines_are_streamed_once(connect):
    """Each line is shown once, though it is seen in several answers, and the stream ends with the workflow."""
    lines = [{"timestamp": f"t{n}", "message": "same", "labels": {"pod": "p"}} for n in (1, 2, 2, 3)]
    seen = iter([lines[:1], lines[:3], lines])
    statuses = iter(["Admitted", "Admitted", "Ready"])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/logs/workflow"):
            return httpx.Response(200, json={"workflow": {}, "logs": next(seen)})
        return httpx.Response(200, json={**MODEL, "status": next(statuses)})

    client = connect(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dyff.sdk.groups.LOG_POLL_S", 0.0)
        assert [line.timestamp for line in await listed(client.models.stream_workflow_logs("a" * 32))] == ["t1", "t2", "t2", "t3"]


def test_a_client_without_a_token_says_how_to_get_one(monkeypatch, kind):
    """The error names the variable and the command."""
    monkeypatch.delenv("DYFF_API_TOKEN", raising=False)
    with pytest.raises(ValueError, match="dyff token create"):
        kind()


def test_a_blocking_client_serves_threads():
    """Reads in many threads at once, with one client, each get their own answer."""
    from concurrent.futures import ThreadPoolExecutor

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**MODEL, "id": request.url.path.rpartition("/")[2]})

    with (
        Client(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler)) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        names = [f"{n:032x}" for n in range(200)]
        assert [found.id for found in pool.map(client.models.get, names)] == names


async def test_an_asynchronous_client_overlaps_its_calls():
    """Several calls wait at the same time: the first is answered only when the last has been asked."""
    import anyio

    asked, all_asked = [], anyio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        if len(asked) == 5:
            all_asked.set()
        await all_asked.wait()
        return httpx.Response(200, json=MODEL)

    async with AsyncClient(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler)) as client:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(client.models.get, "a" * 32)
    assert len(asked) == 5


def test_a_traceback_leads_straight_to_the_cause():
    """Between the caller's line and the request there are only the client's own frames: no event loop, no thread."""
    import traceback

    client = Client(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(lambda request: httpx.Response(404, json={})))
    with pytest.raises(errors.Missing) as raised:
        client.models.get("a" * 32)
    client.close()
    files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert all("/dyff/sdk/" in file for file in files[1:])
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


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
async def test_what_is_put_into_a_path_stays_one_segment(connect, call, want):
    """No ID, token or file name can lead to another route; what is asked for is what arrives."""
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(404, json={"detail": "there is none"})

    client = connect(handler)
    with pytest.raises(errors.Missing):
        await got(call(client))
    assert seen == [want.encode()]


async def test_an_empty_id_is_refused(connect):
    """It would ask for all entities."""
    client = connect(lambda _: httpx.Response(200, json=[]))
    with pytest.raises(ValueError, match="the ID is empty"):
        await got(client.models.get(""))
