"""docs/tracing.md explains every name that a span or a log line can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyff.kernel.telemetry import span_names, trace_context

PAGE = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
HEADERS = sorted(trace_context.HEADERS)


@pytest.mark.parametrize("name", span_names.SPANS)
def test_every_span_is_explained(name):
    """In the table of spans."""
    assert f"\n| `{name}`" in PAGE or f", `{name}` |" in PAGE


@pytest.mark.parametrize("name", [*span_names.ATTRIBUTES, *span_names.LOG_FIELDS, *HEADERS, span_names.ANNOTATION, span_names.VARIABLE])
def test_every_name_is_explained(name):
    """Attributes, fields of log lines, headers, annotations and variables."""
    assert f"`{name}`" in PAGE


def test_no_constant_of_a_span_is_left_out():
    """The lists have all of the constants."""
    texts = {name: value for name, value in vars(span_names).items() if name.isupper() and isinstance(value, str)}
    listed = {*span_names.SPANS, *span_names.ATTRIBUTES, *span_names.LOG_FIELDS}
    others = {"WAITING_EVENT", "RESPONSE_HEADER", "ANNOTATION", "STATE_ANNOTATION", "VARIABLE", "STATE_VARIABLE"}
    assert {name for name, value in texts.items() if value not in listed} == others
