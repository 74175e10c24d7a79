"""One trace from POST to Complete: what a collector receives of an evaluation on the installed server."""

from __future__ import annotations

import json
import sys

import httpx
import pytest
from opentelemetry import trace as api

from dyff.sdk import Client
from tests.acceptance.conftest import run
from tests.telemetry import collector as collectors

pytestmark = pytest.mark.acceptance

THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET = "s3cr3t-of-the-collector"


@pytest.fixture
def collector():
    with collectors.serving() as found:
        yield found


@pytest.fixture
def traced(collector, make_server):
    """A server that sends its spans there."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}", "DYFF_LOG_LEVEL": "debug"}
    server = make_server("data", settings)
    server.start(deadline_s=90)
    return server


@pytest.fixture
def account(traced):
    return traced.command("account", "create", "--name", "auditor")


@pytest.fixture
def client(traced, account):
    with Client(api_token=traced.command("token", "create", "--account", account, "--role", "Admin"), endpoint=traced.endpoint) as made:
        yield made


def evaluated(client, account, prompts, service_request):
    """An evaluation that is complete, created inside a span of the caller."""
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    service = client.inferenceservices.create(service_request(account))
    client.inferenceservices.wait(service.id, progress=False)
    ours = api.NonRecordingSpan(api.SpanContext(int(THEIRS, 16), 0x00F067AA0BA902B7, True, api.TraceFlags(1), api.TraceState([("v", "1")])))
    with api.use_span(ours):
        made = client.evaluations.create(
            {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}, "replications": 1}
        )
    return client.evaluations.wait(made.id, timeout_s=240, progress=False)


def test_all_spans_of_an_evaluation_are_one_tree(traced, client, account, collector, prompts, service_request):
    """From the caller's span to the end of the last pod: one root, every parent is there, and no child ends up in another trace."""
    evaluation = evaluated(client, account, prompts, service_request)
    assert evaluation.status == "Complete"
    wanted = {
        "POST /v0/evaluations", "publish CreateEntity", "fold CreateEntity", "write view", "Evaluation", "admission", "status Schedulable",
        "create resource", "status Admitted", "reconcile Evaluation", "reconcile InferenceSession", "step client", "step verify",
        "pod client", "pod verify", "pod infer", "schedule", "start", "become ready", "run step", "run runner",
        "status Complete", "fold UpdateEntityStatus",
    }  # fmt: skip
    mine = collector.until(lambda spans: of(spans, THEIRS) if wanted <= {each.name for each in of(spans, THEIRS)} else None)
    sys.stdout.write("\n".join(["", *collectors.tree(mine, THEIRS), ""]))  # pytest -s shows it to a person
    ids = {each.id for each in mine}
    assert {each.parent for each in mine} - ids == {"00f067aa0ba902b7"}
    assert [each.name for each in mine if each.parent == "00f067aa0ba902b7"] == ["POST /v0/evaluations"]
    assert {each.state for each in mine} == {"v=1"}
    assert {each.service for each in mine} == {"dyff"}
    assert {each.attributes["dyff.role"] for each in mine} == {"api", "aggregator", "sink", "orchestrator", "informer", "operator"}
    assert {each.attributes["dyff.entity.id"] for each in mine} == {evaluation.id}
    assert all(each.start <= each.end for each in mine)
    assert [each.name for each in mine if each.error] == []
    (life,) = [each for each in mine if each.name == "Evaluation"]
    assert life.attributes["dyff.status"] == "Complete"
    assert all(life.start <= each.start for each in mine if each.name in ("admission", "step client", "pod infer", "status Complete"))
    (fold,) = [each for each in mine if each.name == "fold CreateEntity"]
    collector.until(lambda spans: [each for each in spans if (each.trace, each.id) == fold.links[0]])
    said = [line for line in traced.lines() if line.get("trace_id") == THEIRS]
    assert {"status-decided", "reconciled"} <= {line["event"] for line in said}
    assert {(line["entity_id"], line["account"]) for line in said if line["event"] != "pod ended"} == {(evaluation.id, account)}
    entries = [json.loads(line) for line in traced.command("audit-log", "--json").splitlines()]
    assert [each["action"] for each in entries if THEIRS in each.get("trace", "")] == ["evaluations.create"]
    traced.command("verify")
    assert {each["x-key"] for each in collector.heads} == {SECRET}
    assert SECRET not in traced.log.read_text()


def of(spans, trace):
    return [each for each in spans if each.trace == trace]


def test_an_answer_names_its_trace(traced, client, collector):
    """A new one without a valid one of the client; a fault is found by it."""
    first = httpx.get(f"{traced.endpoint}/datasets", headers={"traceparent": "00-" + "0" * 32 + "-" + "1" * 16 + "-01"})
    assert first.status_code == 401
    (span,) = collector.until(lambda spans: [each for each in spans if each.trace == first.headers["dyff-trace"]])
    assert (span.name, span.parent, span.attributes["http.response.status_code"]) == ("GET /v0/datasets", "", 401)


def test_what_the_collector_needs_is_hidden(tmp_path, monkeypatch):
    """`dyff config` shows neither the value of a header, wherever it comes from, nor says that it is unset."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-innocent={SECRET}")
    shown = run("config").stdout
    assert SECRET not in shown
    assert "x-innocent" in shown
    assert "OTEL_EXPORTER_OTLP_HEADERS" in shown
