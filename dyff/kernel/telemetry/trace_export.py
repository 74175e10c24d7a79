"""Sends spans to a collector, over OTLP. A thread does it: the server never waits for the collector.

While the collector is slow or down, spans wait in bounded memory. What does not fit there, or is refused, is lost and counted.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dyff.kernel import extras, lines, telemetry_settings
from dyff.kernel.telemetry import trace_answers
from dyff.kernel.telemetry.traces import MAX_VALUE_CHARS, Span, Tracer, Value

MAX_BATCH = 512
"""The most spans in one request to the collector."""
LINGER_S = 1.0
"""How long spans are collected before they are sent."""
FLUSH_S = 2.0
"""How long the end of a process waits until the last spans are sent."""
_LOGGER = "opentelemetry.exporter.otlp"
_SAID_CHARS = 300
_GRPC_PORT = ":4317"
_LATE = 3.0
"""A request with its retries and its answer takes at most twice `export_timeout_s`, unless the head of the answer has no end."""

Send = Callable[[Sequence[Span]], str | None]
"""Sends spans; may block. Returns why they were not taken; None if they were."""


class Client(Protocol):
    """The connection to a collector. Only the thread calls `send`."""

    def send(self, spans: Sequence[Span]) -> str | None:
        """See `Send`."""

    def close(self) -> None:
        """Nothing more comes; a `send` that is under way ends soon."""


class Exporter:
    """A bounded queue of spans, and the thread that sends them. Any thread may use it."""

    def __init__(self, client: Client, max_waiting: int, late_s: float = 30.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`max_waiting`: how many spans wait; further ones are lost. `late_s`: a request that takes longer is a reason to report."""
        self._client, self._max_waiting, self._late_s, self._monotonic = client, max_waiting, late_s, monotonic
        self._began: float | None = None
        self._waiting: deque[Span] = deque()
        self._lock = threading.Lock()
        self._lost = self._sending = 0
        self._reason: str | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Send a span soon. Never blocks."""
        with self._lock:
            if len(self._waiting) >= self._max_waiting or self._closing.is_set():
                self._lost += 1
                return
            self._waiting.append(span)
        if not self._wake.is_set():
            self._wake.set()

    def look(self) -> lines.State:
        """How many spans were lost, and why none can be sent at present."""
        began = self._began
        took_s = 0.0 if began is None else self._monotonic() - began
        late = f"the collector has not answered a request for {took_s:.0f} s" if took_s > self._late_s else None
        return lines.State(self._lost, late or self._reason)

    def close(self) -> None:
        """Send what waits, for a while. What is left then, or is put later, is lost."""
        self._closing.set()
        self._wake.set()
        self._thread.join(FLUSH_S)
        self._client.close()
        with self._lock:
            self._lost += len(self._waiting) + self._sending
            self._waiting.clear()
            self._sending = 0

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._closing.wait(LINGER_S)
            self._wake.clear()
            while batch := self._batch():
                reason = self._sent(batch)
                with self._lock:
                    if reason is not None and self._sending:
                        self._lost += len(batch)
                    self._sending = 0
                self._reason = reason
            if self._closing.is_set():
                return

    def _batch(self) -> list[Span]:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            self._sending = len(batch)
            return batch

    def _sent(self, batch: list[Span]) -> str | None:
        self._began = self._monotonic()
        try:
            return self._client.send(batch)
        except Exception as error:  # a fault of the exporter must not end the thread: it would look as if all were well
            return f"{type(error).__name__}: {error}"[:_SAID_CHARS]
        finally:
            self._began = None


def open_exporter(chosen: telemetry_settings.Telemetry, version: str) -> tuple[Tracer, Exporter] | None:
    """The tracer and the exporter that are set; None if none is. `version`: of this program.

    Raises:
        Misconfigured: the packages that export are missing; the message names the extra to install.
    """
    if chosen.otlp_endpoint is None:
        return None
    exporter = Exporter(Otlp(chosen, version), chosen.max_waiting_spans, late_s=_LATE * chosen.export_timeout_s)
    return Tracer(exporter.put, chosen.sample_ratio), exporter


class Otlp:
    """Sends spans by OTLP over HTTP, with OpenTelemetry's exporter. Its other variables, as for certificates, count."""

    def __init__(self, chosen: telemetry_settings.Telemetry, version: str) -> None:
        """`version`: of this program.

        Raises:
            Misconfigured: the packages are missing.
        """
        extras.require("otlp", "telemetry.otlp_endpoint (or OTEL_EXPORTER_OTLP_ENDPOINT)")
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource

        self._said = _Said()
        for name in (_LOGGER, "opentelemetry.sdk"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [self._said], False
        assert chosen.otlp_endpoint is not None
        self._url = telemetry_settings.traces_url(chosen.otlp_endpoint)
        session = requests.Session()
        session.max_redirects = 0  # another host would get the credentials
        send = trace_answers.bounded(session.send, chosen.export_timeout_s)
        session.send = self._said.noting(send)  # type: ignore[method-assign]  # the exporter keeps to itself why it failed
        headers = dict(chosen.otlp_headers)
        self._exporter = OTLPSpanExporter(self._url, headers=headers, timeout=chosen.export_timeout_s, session=session)
        self._secrets = tuple(each for each in chosen.otlp_headers.values() if each)
        self._resource = Resource.create(
            {
                "service.name": chosen.service_name,
                "service.version": version,
                "service.instance.id": f"{socket.gethostname()}/{os.getpid()}",
            }
        )

    def send(self, spans: Sequence[Span]) -> str | None:
        """See `Send`. The exporter tries again within its time limit."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        self._said.first = ""
        if self._exporter.export([_readable(each, self._resource) for each in spans]) is SpanExportResult.SUCCESS:
            return None
        hint = "; this is the port of gRPC, use 4318, that of HTTP" if _GRPC_PORT in self._url else ""
        said = self._said.first or "the collector did not take them"
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return f"{self._url}: {said[:_SAID_CHARS]}{hint}"

    def close(self) -> None:
        """See `Client`."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _Said(logging.Handler):
    """Keeps the first thing that the exporter logged of a batch, which has the cause; what follows only says that it gave up.

    As lines of the log they would repeat with every batch.
    """

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()

    def noting(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which also notes why it fails."""

        def noted(*arguments: Any, **options: Any) -> Any:
            try:
                return send(*arguments, **options)
            except Exception as error:
                self.first = self.first or str(error)
                raise

        return noted


def _readable(span: Span, resource: Any) -> Any:
    """A span in the form that OpenTelemetry's exporters take."""
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    context = _span_context(span.context)
    parent = None if span.parent is None else _span_context(span.context.child(span.parent))
    failed = span.error is not None
    return ReadableSpan(
        span.name,
        context,
        parent,
        resource,
        _attributes(span.attributes),
        [Event(each.name, _attributes(each.attributes), each.at_ns) for each in span.events],
        [api.Link(_span_context(each)) for each in span.links],
        api.SpanKind[span.kind.upper()],
        status=api.Status(api.StatusCode.ERROR, (span.error or "")[:MAX_VALUE_CHARS]) if failed else api.Status(api.StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("dyff"),
    )


def _span_context(context: Any) -> Any:
    from opentelemetry import trace as api

    state = api.TraceState.from_header([context.state]) if context.state else None
    flags = api.TraceFlags(int(context.parent[53:55], 16))
    return api.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=flags, trace_state=state)


def _attributes(given: Mapping[str, Value | None]) -> dict[str, Any]:
    return {key: _cut(value) for key, value in given.items() if value is not None}


def _cut(value: Value) -> Value:
    if isinstance(value, str):
        return value[:MAX_VALUE_CHARS]
    return [each[:MAX_VALUE_CHARS] for each in value[:32]] if isinstance(value, list) else value
