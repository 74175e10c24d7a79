"""Health, readiness and the documentation: open to all, and true."""

from __future__ import annotations

import re

import msgspec
import pytest

from dyff.api import app

SINCE = "2026-01-31T12:00:00.000000Z"


@pytest.mark.parametrize(("state", "want"), [("ok", 200), ("degraded", 200), ("starting", 503), ("failing", 503)])
async def test_health_answers_and_readiness_reports_the_roles(world, state, want):
    """`/health` is 200 with or without a token as long as we answer; `/ready` is 200 when every role serves, even if degraded."""
    phase = {"starting": "starting", "failing": "restarting"}.get(state, "ready")
    report = {"status": state, "roles": {"sink": {"phase": phase, "since": SINCE, "problem": "why"}}}
    if state == "degraded":
        report["degraded"] = [{"name": "log", "reason": "disk full", "since": SINCE, "times": 2}]
    world.app = app.build(msgspec.structs.replace(world.services, health=lambda: report))
    for token in ("", "nonsense"):
        async with world.client(token) as client:
            health = await client.get("/health")
            assert (health.status_code, health.json()) == (200, report)
            assert (await client.get("/ready")).status_code == want


async def test_a_process_that_cannot_repair_itself_is_not_healthy(world):
    """Then both are 503, so that a new one is started."""
    report = {"status": "failing", "alive": False, "roles": {"sink": {"phase": "stuck", "since": SINCE, "problem": "why"}}}
    world.app = app.build(msgspec.structs.replace(world.services, health=lambda: report))
    async with world.client("") as client:
        for path in ("/health", "/ready"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (503, report)


async def test_the_openapi_document_describes_every_route(world):
    """Valid references, every route that is not hidden, and every request struct."""
    async with world.client("") as client:
        document = (await client.get("/v0/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    references = re.findall(r"#/components/schemas/(\w+)", str(document))
    assert set(references) <= set(document["components"]["schemas"])
    assert "EvaluationCreateRequest" in references
    operations = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert {
        ("/v0/evaluations", "post"),
        ("/v0/evaluations", "get"),
        ("/v0/datasets/{id}/upload/{path}", "get"),
        ("/health", "get"),
    } <= operations
    identities = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(identities)) == len(identities)


async def test_the_documentation_page_needs_nothing_from_elsewhere(world):
    """It renders without a network: no address but our own is in it."""
    async with world.client("") as client:
        page = await client.get("/v0/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "openapi.json" in page.text
