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
        self._tracer = tracer

    def begin(self, call: Call, client: str | None) -> traces.Entered:
        """Give a request its trace, and its log lines the fields. `client`: its address."""
        entered = self._entered(call)
        about = call.about
        about.trace, about.client = entered.context, client
        if call.path and ids.is_id(named := call.path.get("id")):
            about.entity = named
        log_fields.begin(about)
        return entered

    def identified(self, call: Call) -> None:
        """Note for log lines whose request it is."""
        account = call.principal.account
        if account is not None:
            call.about.account = account.id

    def answered(self, route: Route, call: Call, entered: traces.Entered, reply: Reply, error: Exception | None) -> Reply:
        """Record the span of a request, which ends when its answer begins; returns the answer, with the ID of the trace."""
        if entered.recorded and not (route.open and route.operation in auditing.PUBLIC):
            self._record(route.method, route.template, call, entered, reply.status, error)
        return named(reply, entered)

    def unrouted(self, call: Call, reply: Reply) -> Reply:
        """The answer to a request that belongs to no route, with the ID of its trace. It has no span: its path is anything."""
        return named(reply, self._entered(call))

    def conversed(self, path: str, call: Call, entered: traces.Entered, status: int, error: Exception | None) -> None:
        """Record the span of a request for a WebSocket, until it was opened or refused."""
        if entered.recorded:
            self._record("GET", path, call, entered, status, error)

    def _entered(self, call: Call) -> traces.Entered:
        parent = call.header(b"traceparent")
        return self._tracer.entered(parent, call.joined(b"tracestate") if parent is not None else None)

    def _record(self, method: str, path: str, call: Call, entered: traces.Entered, status: int, error: Exception | None) -> None:
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
        self._tracer.record(
            f"{method} {path}", entered.context, entered.parent, start, end, kind="server", attributes=attributes, error=failed
        )


def header(entered: traces.Entered) -> tuple[str, str]:
    """The header of an answer that has the ID of the request's trace."""
    return span_names.RESPONSE_HEADER, entered.context.trace_id


def named(reply: Reply, entered: traces.Entered) -> Reply:
    """An answer with that header."""
    return Reply(reply.status, reply.body, (*reply.headers, header(entered)), reply.media_type, reply.time_s)


def current() -> trace_context.Context | None:
    """The trace of the request that the current task serves; None if it serves none."""
    about = log_fields.current()
    return None if about is None else about.trace
