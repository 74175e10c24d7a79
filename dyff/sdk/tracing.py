"""Continues the program's own trace on the server, if the program has one (OpenTelemetry)."""

from __future__ import annotations

import sys
from typing import Any


def headers() -> dict[str, str]:
    """The W3C headers of the span that is active in the caller; empty if there is none.

    OpenTelemetry is never imported here: a program without it has no active span. A fault of it is no reason to fail a request.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 0xFF:02x}"
        state = context.trace_state.to_header() if context.trace_state else ""
    except Exception:
        return {}
    return {"traceparent": parent, **({"tracestate": state} if state else {})}
