"""Spans go to a collector in the background: whatever it does, nothing waits for it, and what is lost is counted."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from dyff.kernel import errors, lines, telemetry_settings
from dyff.kernel.telemetry import trace_context, trace_export, traces
from tests.narrowing import sure
from tests.telemetry import collector as collectors

CONTEXT = trace_context.Context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "v=1")


def span(number: int = 0, **changes) -> traces.Span:
    fields: dict[str, Any] = {
        "name": f"s{number}",
        "context": CONTEXT.child(f"{number + 1:016x}"),
        "parent": None,
        "kind": "internal",
        "start_ns": 1,
        "end_ns": 2,
    }
    return traces.Span(**(fields | {"attributes": {}} | changes))


class Client:
    """Takes spans when it is let, and answers as it is set."""

    def __init__(self, answer=None) -> None:
        self.answer, self.closed = answer, False
        self.sent: list[str] = []
        self.free, self.began = threading.Event(), threading.Event()
        self.changed = threading.Condition()

    def send(self, spans):
        self.began.set()
        self.free.wait(30)
        with self.changed:
            self.sent += [each.name for each in spans]
            self.changed.notify_all()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        self.closed = True
        self.free.set()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Spans are sent without a pause."""
    monkeypatch.setattr(trace_export, "LINGER_S", 0.0)


@pytest.fixture
def collector():
    with collectors.serving() as found:
        yield found


def opened(collector, **changes) -> tuple[traces.Tracer, trace_export.Exporter]:
    chosen = telemetry_settings.Telemetry(**({"otlp_endpoint": collector.url} | changes))
    found = trace_export.open_exporter(chosen, "1.2.3")
    assert found is not None
    return found


def test_while_the_collector_is_slow_a_bounded_number_waits_and_the_others_are_counted():
    """A caller returns at once; what waited is sent when the collector goes on."""
    client = Client()
    exporter = trace_export.Exporter(client, 5)
    exporter.put(span(0))
    assert client.began.wait(10)
    for number in range(1, 11):
        exporter.put(span(number))
    assert exporter.look().lost == 5
    client.free.set()
    with client.changed:
        assert client.changed.wait_for(lambda: len(client.sent) == 6, 10)
    exporter.close()
    assert client.sent == [f"s{number}" for number in range(6)]
    assert exporter.look().lost == 5


@pytest.mark.parametrize("answer", ["it refuses", RuntimeError("broken")])
def test_what_the_collector_refuses_is_counted_and_the_next_spans_are_tried(answer):
    """Also if the exporter itself fails: its thread lives on, and the reason is there until it works again."""
    client = Client(answer)
    client.free.set()
    exporter = trace_export.Exporter(client, 100)
    exporter.put(span(0))
    with client.changed:
        assert client.changed.wait_for(lambda: client.sent == ["s0"], 10)
    while exporter.look().reason is None:
        time.sleep(0.001)  # real time: another thread notes it
    assert str(answer) in sure(exporter.look().reason)
    client.answer = None
    exporter.put(span(1))
    with client.changed:
        assert client.changed.wait_for(lambda: client.sent == ["s0", "s1"], 10)
    exporter.close()
    assert exporter.look() == lines.State(1, None)


def test_the_end_does_not_wait_for_a_collector_that_hangs(monkeypatch):
    """What is under way and what waits then is counted as lost."""
    monkeypatch.setattr(trace_export, "FLUSH_S", 0.05)
    client = Client()
    exporter = trace_export.Exporter(client, 100)
    exporter.put(span(0))
    assert client.began.wait(10)
    exporter.put(span(1))
    exporter.close()
    assert client.closed
    assert exporter.look().lost == 2
    exporter.put(span(2))
    assert exporter.look().lost == 3


def test_a_collector_gets_all_that_a_span_has(collector):
    """Names, times, kind, parent, state, links, events, errors and attributes of each type, with headers and the name of the service."""
    tracer, exporter = opened(collector, otlp_headers={"x-key": "k"}, service_name="audits")
    other = CONTEXT.child("a" * 16)
    tracer.of("api").record(
        "POST /x", CONTEXT, "b" * 16, 1_000, 2_000, kind="server",
        attributes={"a": 1, "b": "x" * 5000, "c": ["l"], "d": None, "e": True, "f": 0.5}, links=(other,),
        events=(traces.Event("waiting", 1_500, {"dyff.reason": "Quota"}),), error="it failed",
    )  # fmt: skip
    (found,) = collector.until(lambda spans: spans)
    exporter.close()
    assert (found.trace, found.id, found.parent, found.state) == (CONTEXT.trace_id, CONTEXT.span_id, "b" * 16, "v=1")
    assert (found.name, found.kind, found.start, found.end, found.error) == ("POST /x", 2, 1_000, 2_000, "it failed")
    assert found.attributes == {"a": 1, "b": "x" * 1000, "c": ["l"], "e": True, "f": 0.5, "dyff.role": "api"}
    assert found.links == ((other.trace_id, other.span_id),)
    assert found.events == (("waiting", {"dyff.reason": "Quota"}),)
    assert found.service == "audits"
    assert (collector.heads[0]["path"], collector.heads[0]["x-key"]) == ("/v1/traces", "k")


def test_a_refusing_collector_is_named_with_what_it_answered_and_without_the_credentials(collector, caplog):
    """The reason is a trouble of the server, not a line of the log for each batch."""
    collector.status = 403
    tracer, exporter = opened(collector, otlp_headers={"x-key": "s3cr3t"})
    tracer.record("x", CONTEXT, None, 1, 2)
    while (reason := exporter.look().reason) is None:
        time.sleep(0.001)  # real time: another thread notes it
    exporter.close()
    assert collector.url in reason
    assert "403" in reason
    assert "s3cr3t" not in reason
    assert exporter.look().lost == 1
    assert caplog.records == []


def test_a_redirect_is_not_followed(collector):
    """Another host must not get the credentials."""
    with collectors.serving() as other:
        collector.status, collector.leads_to = 307, f"{other.url}/v1/traces"
        tracer, exporter = opened(collector, otlp_headers={"x-key": "s3cr3t"}, export_timeout_s=1.0)
        tracer.record("x", CONTEXT, None, 1, 2)
        while exporter.look().reason is None:
            time.sleep(0.001)  # real time: another thread notes it
        exporter.close()
        assert other.heads == []
        assert exporter.look().lost == 1


def test_a_collector_that_is_not_there_is_a_reason_too(collector):
    """The exporter tries again within its time limit, and then the spans are lost."""
    url = collector.url
    collector.close()
    chosen = telemetry_settings.Telemetry(otlp_endpoint=url, export_timeout_s=0.2)
    client = trace_export.Otlp(chosen, "1")
    reason = sure(client.send([span()]))
    assert url in reason
    assert "refused" in reason
    client.close()


@pytest.mark.parametrize("endless", [(b"x" * 2**20, 0.0), (b"x", 0.01)])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_without_an_end_is_left(collector, endless, status):
    """Be it fast, which would fill the memory, or slow, which would hold up the spans after it."""
    collector.endless, collector.status = endless, status
    client = trace_export.Otlp(telemetry_settings.Telemetry(otlp_endpoint=collector.url, export_timeout_s=0.5), "1")
    reason = client.send([span()])
    assert (reason is None) == (status == 200)
    with collector.changed:
        assert collector.changed.wait_for(lambda: collector.gone, 10)
    collector.endless, collector.status = None, 200
    assert client.send([span(1)]) is None
    assert collector.until(lambda spans: [each for each in spans if each.name == "s1"])
    client.close()


def test_a_collector_that_never_answers_is_a_reason_too():
    """As if it sent the head of its answer byte by byte: that nothing is sent is known before spans are lost."""
    client, now = Client(), [0.0]
    exporter = trace_export.Exporter(client, 100, late_s=5.0, monotonic=lambda: now[0])
    exporter.put(span())
    assert client.began.wait(10)
    assert exporter.look().reason is None
    now[0] = 6.0
    assert "6 s" in (exporter.look().reason or "")
    client.free.set()
    while exporter.look().reason is not None:
        time.sleep(0.001)  # real time: another thread notes it
    exporter.close()


def test_without_the_extra_the_error_names_it(monkeypatch):
    """A server does not start with a setting that it cannot follow."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(errors.Misconfigured, match=r"dyff-platform\[otlp\]"):
        trace_export.open_exporter(telemetry_settings.Telemetry(otlp_endpoint="http://collector:4318"), "1")
    assert trace_export.open_exporter(telemetry_settings.Telemetry(), "1") is None
