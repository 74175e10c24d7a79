"""The trace of a request: the caller's if it sent one, otherwise a new one. Its ID is in the answer, and in every log line about it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from dyff.api import auditing
from dyff.api.calls import Call, Reply
from dyff.api.route import Route
from dyff.kernel import ids
from dyff.kernel.telemetry import log_fields, span_names, trace_context, traces


class Tracing:
    """Gives each request its context, and records its span."""

    def __init__(self, tracer: traces.Tracer) -> None:
        """`tracer`: records the spans."""
        self._tracer, self._recording = tracer, tracer.recording

    def begin(self, call: Call, client: str | None) -> str | None:
        """Give a request its trace, and its log lines the fields. `client`: its address. Returns the ID of the caller's span, if any."""
        about = call.about
        about.trace, parent = self._entered(call)
        about.client = client
        if call.path and ids.is_id(named := call.path.get("id")):
            about.entity = named
        log_fields.begin(about)
        return parent

    def identified(self, call: Call) -> None:
        """Note for log lines whose request it is."""
        account = call.principal.account
        if account is not None:
            call.about.account = account.id

    def answered(self, route: Route, call: Call, parent: str | None, reply: Reply, error: Exception | None) -> Reply:
        """Record the span of a request, which ends when its answer begins; returns the answer, with the ID of the trace.

        `parent`: what `begin` returned.
        """
        if self._recording and not (route.open and route.operation in auditing.PUBLIC):
            self._record(route.method, route.template, call, parent, reply.status, error)
        return named(reply, call.about.trace)

    def unrouted(self, call: Call, reply: Reply) -> Reply:
        """The answer to a request that belongs to no route, with the ID of its trace. It has no span: its path is anything."""
        return named(reply, self._entered(call)[0])

    def conversed(self, path: str, call: Call, parent: str | None, status: int, error: Exception | None) -> None:
        """Record the span of a request for a WebSocket, until it was opened or refused."""
        self._record("GET", path, call, parent, status, error)

    def _entered(self, call: Call) -> tuple[trace_context.Context, str | None]:
        if b"traceparent" not in call.named():  # nearly always
            return self._tracer.new(), None
        return self._tracer.entered(call.header(b"traceparent"), call.joined(b"tracestate"))

    def _record(self, method: str, path: str, call: Call, parent: str | None, status: int, error: Exception | None) -> None:
        if not self._tracer.wants(call.about.trace):
            return
        attributes: Mapping[str, traces.Value | None] = {
            span_names.METHOD: method,
            span_names.ROUTE: path,
            span_names.HTTP_STATUS: status,
            span_names.ENTITY: call.about.entity,
            span_names.ACCOUNT: call.about.account,
            span_names.ERROR: None if error is None else type(error).__name__,
        }
        end = time.time_ns()
        start = end - round((time.perf_counter() - call.began) * 1e9)
        failed = f"answered with {status}" if status >= 500 else None
        self._tracer.record(f"{method} {path}", call.about.trace, parent, start, end, kind="server", attributes=attributes, error=failed)


def headers(trace: trace_context.Context | None) -> tuple[tuple[str, str], ...]:
    """The header of an answer that has the ID of the request's trace."""
    return () if trace is None else ((span_names.RESPONSE_HEADER, trace.trace_id),)


def named(reply: Reply, trace: trace_context.Context | None) -> Reply:
    """An answer with that header."""
    return Reply(reply.status, reply.body, reply.headers + headers(trace), reply.media_type, reply.time_s)


def current() -> trace_context.Context | None:
    """The trace of the request that the current task serves; None if it serves none."""
    about = log_fields.current()
    return None if about is None else about.trace
