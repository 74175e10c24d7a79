"""Sessions: their tokens, readiness, the end, and inference through the proxy."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from dyff.schema import platform

from dyff.accounts import port as accounts
from dyff.accounts.grants import Grant
from dyff.kernel import clock


@pytest.fixture
async def created(world, api):
    """A session's creation: `{"inferencesession", "token"}`."""
    service = await world.ready_service()
    response = await api.post("/v0/inferencesessions", json={"account": "test", "inferenceService": service})
    assert response.status_code == 201, response.text
    return response.json()


def one(created) -> str:
    return f"/v0/inferencesessions/{created['inferencesession']['id']}"


@pytest.fixture
async def upstream(world, created):
    """A server behind the session, which answers as `answer` says and keeps the requests that it got."""
    seen: list[bytes] = []
    answer = {
        "bytes": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: a=b\r\nContent-Length: 16\r\n\r\n{"text": ["hi"]}',
        "close": True,
    }

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        seen.append(head + await reader.readexactly(length))
        writer.write(answer["bytes"])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    world.cluster.services[f"session-{created['inferencesession']['id']}"] = f"http://127.0.0.1:{port}"
    yield seen, answer
    server.close()


async def test_a_session_comes_with_a_token_for_it_alone(world, created):
    """The token gets and uses and ends this session; nothing else, and it makes no further tokens."""
    platform.InferenceSessionAndToken.model_validate(created)
    async with world.client(created["token"]) as client:
        assert (await client.get(one(created))).status_code == 200
        assert (await client.get(f"{one(created)}/ready")).status_code == 202
        assert (await client.post(f"{one(created)}/token")).status_code == 403
        assert (await client.get("/v0/inferencesessions")).status_code == 403
        assert (await client.get(f"/v0/inferenceservices/{created['inferencesession']['inferenceService']['id']}")).status_code == 403
        other = await world.dataset()
        assert (await client.get(f"/v0/datasets/{other}")).status_code == 403
        assert (await client.put(f"{one(created)}/delete")).status_code == 403
        assert (await client.put(f"{one(created)}/terminate")).json() == {"status": "Terminated", "reason": "TerminateCommand"}


async def test_a_time_without_a_zone_is_utc(world, api):
    """As published, a naive `expires` of a session is taken to be in UTC, and it is stored in one spelling."""
    service = await world.ready_service()
    body = {"account": "test", "inferenceService": service, "expires": "2999-01-01T00:00:00"}
    response = await api.post("/v0/inferencesessions", json=body)
    assert response.json()["inferencesession"]["expires"] == "2999-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("session_ends", "wanted", "want_status"),
    [(None, None, 201), (2, None, 201), (2, 1, 201), (2, 3, 422), (None, 3, 201), (2, -1, 422)],
)
async def test_a_token_ends_with_its_session_at_the_latest(world, api, session_ends, wanted, want_status):
    """Hours from now: a token may end earlier than the session, not later, and not in the past."""
    from dyff.accounts import tokens

    now = datetime.now(UTC)
    service = await world.ready_service()
    body = {"account": "test", "inferenceService": service}
    if session_ends:
        body["expires"] = clock.iso(now + timedelta(hours=session_ends))
    session = (await api.post("/v0/inferencesessions", json=body)).json()
    asked = {} if wanted is None else {"expires": (now + timedelta(hours=wanted)).isoformat()}
    response = await api.post(f"{one(session)}/token", json=asked)
    assert response.status_code == (200 if want_status == 201 else want_status), response.text
    if want_status == 201:
        claims = tokens.verify(response.json(), await world.services.accounts.signing_secret(), now + timedelta(seconds=1))
        assert abs((claims.expires - now) - timedelta(hours=wanted or session_ends or 24)) < timedelta(seconds=10)


@pytest.mark.parametrize("asked", [{}, {"expires": None}])
async def test_a_session_that_does_not_say_when_it_ends_gets_an_end(world, api, asked):
    """The setting says how long it may run; the answer, the entity and the log say when that is."""
    body = {"account": "test", "inferenceService": await world.ready_service(), **asked}
    before = world.services.clock.now()
    session = (await api.post("/v0/inferencesessions", json=body)).json()["inferencesession"]
    life = clock.parse_iso(session["expires"]) - timedelta(seconds=world.services.settings.session_life_s)
    assert before <= life <= world.services.clock.now()
    assert life == clock.parse_iso(session["creationTime"])
    assert (await api.get(f"/v0/inferencesessions/{session['id']}")).json()["expires"] == session["expires"]


async def test_readiness_is_the_condition_of_the_custom_resource(world, api, created):
    """202 with the reason until the condition Ready is True; after the end 202 with the status; never an error."""
    name = f"session-{created['inferencesession']['id']}"
    for method in ("GET", "POST"):
        early = await api.request(method, f"{one(created)}/ready")
        assert (early.status_code, early.json()) == (202, {"ready": False, "status": "Created"})
    condition = {"type": "Ready", "status": "False", "reason": "ErrImageNeverPull", "message": "no such image"}
    world.cluster.put("InferenceSession", name, status={"conditions": [condition]})
    waiting = await api.get(f"{one(created)}/ready")
    assert (waiting.status_code, waiting.json()["reason"]) == (202, "ErrImageNeverPull")
    world.cluster.put("InferenceSession", name, status={"conditions": [{"type": "Ready", "status": "True"}]})
    for method in ("GET", "POST"):
        ready = await api.request(method, f"{one(created)}/ready")
        assert (ready.status_code, ready.json()) == (200, {"ready": True})
    await api.put(f"{one(created)}/terminate")
    ended = await api.get(f"{one(created)}/ready")
    assert (ended.status_code, ended.json()["status"]) == (202, "Terminated")


async def test_termination_is_final_and_may_be_repeated(world, api, created):
    """The second time tells the same; tokens and evaluations are refused from then on."""
    for _ in range(2):
        assert (await api.put(f"{one(created)}/terminate")).json() == {"status": "Terminated", "reason": "TerminateCommand"}
    assert (await api.post(f"{one(created)}/token")).status_code == 409
    body = {"account": "test", "dataset": await world.dataset(), "inferenceSessionReference": created["inferencesession"]["id"]}
    assert (await api.post("/v0/evaluations", json=body)).status_code == 409
    async with world.client(created["token"]) as client:
        assert (await client.post(f"{one(created)}/infer/generate", json={})).status_code == 409


async def test_an_evaluation_can_refer_to_a_running_session(world, api, created):
    """It embeds the session as it runs, and remembers its ID."""
    session = created["inferencesession"]
    body = {"account": "test", "dataset": await world.dataset(), "inferenceSessionReference": session["id"]}
    evaluation = platform.Evaluation.model_validate((await api.post("/v0/evaluations", json=body)).json())
    assert evaluation.inferenceSessionReference == session["id"]
    assert evaluation.inferenceSession.inferenceService.id == session["inferenceService"]["id"]


async def test_inference_is_passed_on_without_the_token(world, created, upstream):
    """Method, path, query, body and content type arrive; what belongs to Dyff does not; the answer comes back."""
    seen, _ = upstream
    async with world.client(created["token"]) as client:
        response = await client.post(
            f"{one(created)}/infer/openai/v1/completions?x=1&y=%20", json={"prompt": "hello"}, headers={"Cookie": "c=1", "X-Mine": "1"}
        )
    assert (response.status_code, response.json()) == (200, {"text": ["hi"]})
    assert "set-cookie" not in response.headers
    (request,) = seen
    head = request.lower()
    assert request.startswith(b"POST /openai/v1/completions?x=1&y=%20 HTTP/1.1\r\n")
    assert request.endswith(b'{"prompt":"hello"}')
    assert b"x-mine: 1" in head
    assert b"content-type: application/json" in head
    assert created["token"].encode() not in request
    assert b"authorization" not in head
    assert b"cookie" not in head


async def test_multipart_is_passed_on_as_it_is(world, created, upstream):
    """Files too."""
    async with world.client(created["token"]) as client:
        response = await client.post(f"{one(created)}/infer/transcribe", files={"audio": ("a.wav", b"\x00\x01", "audio/wav")})
    assert response.status_code == 200
    assert b"multipart/form-data; boundary=" in upstream[0][0].lower()
    assert b"\x00\x01" in upstream[0][0]


async def test_inference_needs_a_grant_on_the_session_itself(world, api, created, upstream):
    """A grant for the account, even an administrator's, is not enough, as published."""
    assert (await api.post(f"{one(created)}/infer/generate", json={})).status_code == 403
    own = await world.token(Grant(("inferencesessions",), ("consume",), (), (created["inferencesession"]["id"],)))
    async with world.client(own) as client:
        assert (await client.post(f"{one(created)}/infer/generate", json={})).status_code == 200
    assert len(upstream[0]) == 1


async def test_a_suspended_accounts_session_is_not_used(world, api, upstream):
    """The session's own token rests on its owner: no inference while that is suspended, inference again after."""
    owner = accounts.Account(id=world.services.ids.new(), name="owner", created=world.services.clock.now())
    await world.services.accounts.create(owner)
    body = {"account": owner.id, "inferenceService": await world.ready_service()}
    created = (await api.post("/v0/inferencesessions", json=body)).json()
    world.cluster.services[f"session-{created['inferencesession']['id']}"] = next(iter(world.cluster.services.values()))
    answers = []
    async with world.client(created["token"]) as client:
        for status in (accounts.ACTIVE, accounts.SUSPENDED, accounts.ACTIVE):
            await world.services.accounts.set_status(owner.id, status, None)
            answers.append((await client.post(f"{one(created)}/infer/generate", json={"prompt": "hi"})).status_code)
    assert answers == [200, 401, 200]


@pytest.mark.parametrize(
    ("answer", "want_status"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno", 400),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
        (b"", 502),
        (b"this is not HTTP\r\n\r\n", 502),
    ],
)
async def test_the_servers_own_answer_is_the_answer(world, created, upstream, answer, want_status):
    """Statuses are handed on, redirects are not followed, and a server that breaks off is a 502."""
    upstream[1]["bytes"] = answer
    async with world.client(created["token"]) as client:
        response = await client.post(f"{one(created)}/infer/generate", json={})
    assert response.status_code == want_status
    if want_status == 200:
        assert response.content == b"abc"


async def test_a_session_that_is_not_there_yet_is_not_ready(world, created):
    """No Service, or nobody listening: 503, to be repeated."""
    async with world.client(created["token"]) as client:
        assert (await client.post(f"{one(created)}/infer/generate", json={})).status_code == 503
        world.cluster.services[f"session-{created['inferencesession']['id']}"] = "http://127.0.0.1:1"
        refused = await client.post(f"{one(created)}/infer/generate", json={})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_a_path_cannot_lead_elsewhere(world, created, upstream):
    """However the path is written, the call goes to the session's server."""
    async with world.client(created["token"]) as client:
        for path in ("//example.org/x", "%2f%2fexample.org%2fx", "..%2f..%2fx", "a%0d%0aX: y", "@example.org"):
            response = await client.post(httpx.URL(f"http://dyff.test{one(created)}/infer/{path}"), json={})
            assert response.status_code in (200, 400, 404), path
    assert all(b"example.org" not in request.split(b"\r\n\r\n")[0].lower().partition(b"host:")[2] for request in upstream[0])
