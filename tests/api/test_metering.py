"""What the API counts, and who may see it."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest

from dyff.accounts import grants
from dyff.api import app
from dyff.kernel import errors, settings
from dyff.kernel.telemetry import metrics, names
from dyff.serve import probes
from tests.api.test_connections import GET, exchanged, server
from tests.api.test_role import serving
from tests.entities import bodies
from tests.narrowing import sure
from tests.telemetry.scraped import Scrape, scrape


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch):
    """No scrape gets the answer of the one before."""
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)


async def test_requests_are_counted_by_route_template_and_status(world, api):
    """Never by a path that a client chose: IDs are not in it, and what belongs to no route is `other`."""
    created = await api.post("/v0/datasets", json=bodies.DATASET)
    for path in (f"/v0/datasets/{created.json()['id']}", "/v0/datasets/0123", "/v0/nonsense/1", "/v0/nonsense/2"):
        await api.get(path)
    await api.request("BREW", "/v0/datasets")
    await api.options("/v0/datasets")
    found = await scrape(world.services.metrics)
    counts = {tuple(sorted(labels)): value for labels, value in found.all(names.HTTP_REQUESTS).items()}
    counts.pop((("method", "GET"), ("route", "/v0/openapi.json"), ("status", "200")), None)  # asked for by the client of these tests, once
    assert counts == {
        (("method", "POST"), ("route", "/v0/datasets"), ("status", "201")): 1,
        (("method", "GET"), ("route", "/v0/datasets/{id}"), ("status", "200")): 1,
        (("method", "GET"), ("route", "/v0/datasets/{id}"), ("status", "404")): 1,
        (("method", "GET"), ("route", "other"), ("status", "404")): 2,
        (("method", "other"), ("route", "other"), ("status", "405")): 1,
        (("method", "OPTIONS"), ("route", "other"), ("status", "204")): 1,
    }
    assert found.value(f"{names.HTTP_DURATION}_count", method="GET", route="/v0/datasets/{id}") == 2
    assert sure(found.value(f"{names.HTTP_DURATION}_sum", method="POST", route="/v0/datasets")) > 0
    assert found.value(f"{names.PUBLISH_DURATION}_count", role="api", outcome="ok") == 1


async def test_a_request_on_the_express_lane_is_counted_like_any_other(world):
    """Over real sockets, where the busiest routes do not pass through the router; open connections are counted, too."""
    async with serving(world) as url, httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {world.admin}"}) as client:
        for _ in range(3):
            assert (await client.post("/v0/datasets", json=bodies.DATASET)).status_code == 201
        found = await scrape(world.services.metrics)
        assert found.value(names.HTTP_REQUESTS, method="POST", route="/v0/datasets", status="201") == 3
        assert found.value(names.HTTP_CONNECTIONS) == 1
    assert (await scrape(world.services.metrics)).value(names.HTTP_CONNECTIONS) is None


@pytest.mark.parametrize(("error", "outcome"), [(errors.Unavailable(), "failed"), (errors.OutcomeUnknown(), "unknown"), (None, "unknown")])
async def test_publications_that_fail_are_timed_by_their_outcome(world, monkeypatch, error, outcome):
    """It is known that nothing was written, or it is not known; the latter is so, too, when the time is up."""

    async def publish(topic, messages):
        if error is None:
            await asyncio.sleep(60)  # real time: the deadline ends it long before
        raise error

    chosen = msgspec.structs.replace(world.services.settings, publish_timeout_s=0.05)
    services = msgspec.structs.replace(world.services, settings=chosen, metrics=metrics.Metrics())
    world.app = app.build(services)
    monkeypatch.setattr(type(world.services.bus), "publish", lambda self, topic, messages: publish(topic, messages))
    async with world.client() as client:
        assert (await client.post("/v0/datasets", json=bodies.DATASET)).status_code in (500, 503)
    found = await scrape(services.metrics)
    counts = {each: found.value(f"{names.PUBLISH_DURATION}_count", role="api", outcome=each) for each in ("ok", "failed", "unknown")}
    assert counts == {"ok": 0, "failed": 0, "unknown": 0, outcome: 1}


async def rejected(world) -> dict[str, float]:
    found = await scrape(world.services.metrics)
    return {dict(labels)["limit"]: value for labels, value in found.all(names.REJECTIONS).items() if value}


async def test_each_limit_counts_what_it_refuses(world, api):
    """A body, JSON with too many values, a full disk and the quota for entities; other errors count for no limit."""
    await api.post("/v0/datasets", json={})
    await api.get("/v0/datasets/0123")
    assert await rejected(world) == {}
    await api.post("/v0/datasets", content=b"x" * 300_000)
    assert await rejected(world) == {"api.max_body_bytes": 1}
    await api.post("/v0/datasets", content=b"[" + b"1e300," * 2000 + b"1]")
    assert await rejected(world) == {"api.max_body_bytes": 1, "json_values": 1}
    world.app = app.build(msgspec.structs.replace(world.services, is_full=lambda: True))
    async with world.client() as client:
        assert (await client.post("/v0/datasets", json=bodies.DATASET)).status_code == 503
    assert (await rejected(world))["disk.reserve_bytes"] == 1
    world.app = app.build(msgspec.structs.replace(world.services, quotas=settings.Quotas(entities=0)))
    async with world.client() as client:
        assert (await client.post("/v0/datasets", json=bodies.DATASET)).status_code == 403
    assert (await rejected(world))["quotas.entities"] == 1


async def test_what_is_refused_before_it_is_known_is_counted(world):
    """Heads that are too large or too long, a client that sends no head, connections that are too many."""
    async with server(world) as port:
        await exchanged(port, GET + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n")
        await exchanged(port, GET + b"X: " + b"x" * 100_000 + b"\r\n\r\n")
        await exchanged(port, b"GET /health?" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: dyff\r\n\r\n")
        await exchanged(port, b"hello\r\n\r\n")
    async with server(world, head_timeout_s=0.01) as port:
        await exchanged(port, GET)
    assert await rejected(world) == {"api.max_headers": 1, "api.max_headers_bytes": 1, "api.max_url_bytes": 1, "api.head_timeout_s": 1}
    found = await scrape(world.services.metrics)
    assert {dict(labels)["status"]: value for labels, value in found.all(names.HTTP_REQUESTS, route="other").items()} == {
        "431": 2, "414": 1, "400": 1, "408": 1,
    }  # fmt: skip


async def test_only_an_operator_sees_the_metrics_on_the_address_of_the_api(world, api):
    """401 without a token, 403 with one that does not grant everything; the message says what to use."""
    answer = await api.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert Scrape(answer.text).types[names.HTTP_REQUESTS] == "counter"
    answer = await api.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    async with world.client("") as client:
        assert (await client.get("/metrics")).status_code == 401
    almost = grants.Grant(("*",), ("get", "query", "create"), ("*",), ("*",))
    own = grants.Grant(("*",), ("*",), (world.account,))
    for granted in (almost, own):
        async with world.client(await world.token(granted)) as client:
            answer = await client.get("/metrics")
            assert answer.status_code == 403
            assert "dyff token create --role Admin" in answer.json()["detail"]


async def test_the_probe_address_serves_them_without_a_token(world):
    """In the format that the scraper prefers; a scrape that fails is a 503; other paths still say what there is."""
    measured = metrics.Metrics()
    measured.counter(names.RELAYED).add()

    async def asked(path: str, accept: bytes = b"*/*", method: str = "GET"):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"path": path, "method": method, "headers": [(b"accept", accept)]}
        await probes._application(lambda: {"status": "ok", "roles": {}}, measured)(scope, None, send)
        return sent[0]["status"], dict(sent[0]["headers"])[b"content-type"].decode(), sent[1]["body"].decode()

    status, content_type, body = await asked("/metrics")
    assert (status, content_type.split(";")[0], Scrape(body).value(names.RELAYED)) == (200, "text/plain", 1)
    assert (await asked("/metrics", b"application/openmetrics-text"))[1].startswith("application/openmetrics-text")
    assert (await asked("/ready"))[:2] == (200, "application/json")
    status, _, body = await asked("/")
    assert (status, "/metrics" in body) == (404, True)


async def test_a_scrape_of_the_probes_that_takes_too_long_is_a_503(monkeypatch):
    """With a sentence that says so, in time for the scraper to see it."""
    monkeypatch.setattr(metrics, "SCRAPE_S", 0.0)
    status, body, content_type = await probes.scraped(metrics.Metrics(), None)
    assert (status, content_type, b"could not be collected" in body) == (503, "application/json", True)
