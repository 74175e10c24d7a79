"""The W3C trace context: what is taken from others, and what travels."""

from __future__ import annotations

import pytest

from dyff.kernel.telemetry import trace_context, traces
from tests.narrowing import sure

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REST = PARENT[2:]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", PARENT[:-1], PARENT + "0", PARENT.upper(), f"ff{REST}", PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16), f"{PARENT}-extra", PARENT.replace("-", "_"), f"{PARENT},{PARENT}", "0" * 100_000,
        PARENT.replace("4", "٤", 1), f"cc{REST}.extra", f"cc{REST}-ex\0tra", None,
    ],
)  # fmt: skip
def test_what_is_no_context_counts_as_none(text):
    """Never an error: a new trace begins."""
    assert trace_context.parsed(text) is None
    context, parent = traces.Tracer(lambda _: None).entered(text, "a=1")
    assert parent is None
    assert trace_context.parsed(context.parent) == context


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (PARENT, PARENT), (f" {PARENT}\t", PARENT), (f"01{REST}", PARENT), (f"cc{REST}-what-comes-later", PARENT),
        (PARENT[:-2] + "00", PARENT[:-2] + "00"), (PARENT[:-2] + "03", PARENT[:-2] + "03"), (f"cc{PARENT[2:-2]}0b", PARENT),
    ],
)  # fmt: skip
def test_a_valid_context_is_read(text, read):
    """Flags that this version knows stay; a newer version is read as the one that is known, with only the flag that it has."""
    found = trace_context.parsed(text)
    assert found == trace_context.Context(read)
    assert found.sampled == (int(read[-2:], 16) & 1 == 1)
    assert (found.trace_id, found.span_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("a=1", "a=1"), ("a=1, b=2 ,", "a=1,b=2"), ("t@v=x y", "t@v=x y"), ("", ""), ("a", ""), ("A=1", ""), ("a=1,a=2", ""), ("a=ä", ""),
        ("a=1=2", ""), (",".join(f"k{n}=v" for n in range(33)), ""), ("a=" + "x" * 600, ""), ("a=1\r\nx: y", ""),
    ],
)  # fmt: skip
def test_a_wrong_tracestate_is_dropped_alone(state, kept):
    """The trace itself goes on."""
    assert trace_context.parsed(PARENT, state) == trace_context.Context(PARENT, kept)


@pytest.mark.parametrize("state", ["", "a=1,b=2"])
def test_it_travels_in_headers_annotations_and_variables(state):
    """What is written is read back, and without a context nothing is written."""
    context = trace_context.Context(PARENT, state)
    assert trace_context.of_headers(dict(trace_context.to_headers(context))) == context
    creation = (trace_context.CREATION, trace_context.CREATION_STATE)
    assert trace_context.of_headers(dict(trace_context.to_headers(context, *creation)), *creation) == context
    assert trace_context.of_object({"metadata": {"annotations": trace_context.to_annotations(context)}}) == context
    assert trace_context.to_variables(context) == {"TRACEPARENT": PARENT} | ({"TRACESTATE": state} if state else {})
    assert trace_context.to_headers(None) == ()
    assert trace_context.to_annotations(None) == trace_context.to_variables(None) == {}


@pytest.mark.parametrize(
    "obj", [None, {}, {"metadata": None}, {"metadata": {"annotations": []}}, {"metadata": {"annotations": {"dyff.io/traceparent": 1}}}]
)
def test_an_object_of_any_form_is_no_error(obj):
    """Annotations are data that others can have written."""
    assert trace_context.of_object(obj) is None


def test_a_derived_span_is_the_same_in_every_process():
    """It depends on the trace and on what it is, not on the span from which it is derived, and differs for other parts."""
    context = sure(trace_context.parsed(PARENT, "a=1"))
    assert context.derived("life", "x") == context.child("1" * 16).derived("life", "x")
    assert context.derived("life", "x") != context.derived("life", "y")
    assert context.derived("a", "bc") != context.derived("ab", "c")
    assert context.derived("life", "x").trace_id == context.trace_id
    assert trace_context.parsed(context.derived("life", "x").parent) is not None


def test_a_new_trace_is_recorded_by_the_ratio():
    """All, none or about as many as are set; without an exporter none, and the flag says so."""
    spans: list[traces.Span] = []
    assert traces.Tracer(spans.append, 1.0).new().sampled
    assert not traces.Tracer(spans.append, 0.0).new().sampled
    assert not traces.Tracer(None, 1.0).new().sampled
    share = sum(traces.Tracer(spans.append, 0.25).new().sampled for _ in range(4000)) / 4000
    assert 0.2 < share < 0.3


@pytest.mark.parametrize("flags", ["00", "01"])
def test_what_a_client_began_is_recorded_if_the_client_says_so(flags):
    """The ratio is for new traces only."""
    spans: list[traces.Span] = []
    for ratio in (0.0, 1.0):
        tracer = traces.Tracer(spans.append, ratio)
        context, parent = tracer.entered(PARENT[:-2] + flags, None)
        tracer.record("x", context, parent, 1, 2)
        assert parent == "00f067aa0ba902b7"
        assert (context.span_id == parent) == (flags == "00")
    assert len(spans) == (2 if flags == "01" else 0)


def test_without_an_exporter_a_context_is_passed_on_as_it_is():
    """The parent of what others record is then the span of the client itself."""
    context, parent = traces.SILENT.entered(PARENT, "a=1")
    assert (context, parent) == (trace_context.Context(PARENT, "a=1"), "00f067aa0ba902b7")
    assert traces.SILENT.child(context) is context


def test_every_new_trace_has_ids_of_its_own():
    """Also those that are made together, with an exporter and without one; all are valid."""
    for tracer in (traces.Tracer(), traces.Tracer(lambda _: None)):
        made = [tracer.new() for _ in range(3 * traces.MADE_AT_ONCE)]
        assert all(trace_context.parsed(each.parent) == each for each in made)
        assert len({each.trace_id for each in made}) == len({each.span_id for each in made}) == len(made)
        assert {each.sampled for each in made} == {tracer.recording}
