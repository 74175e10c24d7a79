"""A stand-in for a collector: takes OTLP over HTTP, decodes it, and can be down, slow or refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import http_servers


class Received(msgspec.Struct, frozen=True):
    """A span as a collector sees it. Times are nanoseconds. `links`: trace and span IDs. `parent`: empty for none."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[tuple[str, dict[str, Any]], ...]
    error: str | None
    state: str
    service: str


class Collector:
    """Serves on a free port. `status`: what it answers. `leads_to`: where it
    redirects to. While `free` is not set, requests wait. `endless`: what the body repeats until the client goes, with a pause of so
    many seconds; `gone`: so many clients went away from it."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.heads: list[dict[str, str]] = []
        self.status = 200
        self.leads_to = ""
        self.endless: tuple[bytes, float] | None = None
        self.gone = 0
        self.changed = threading.Condition()
        self.free = threading.Event()
        self.free.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.free.wait(60)
                collector.take(self.path, dict(self.headers), body)
                self.send_response(collector.status)
                if collector.leads_to:
                    self.send_header("location", collector.leads_to)
                self.send_header("content-length", "0" if collector.endless is None else str(2**40))
                self.end_headers()
                if collector.endless is not None:
                    collector.babble(self.wfile, *collector.endless)
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http_servers.Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)
        self._thread.start()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self.changed:
            self.heads.append({"path": path, **{name.lower(): value for name, value in headers.items()}})
            if self.status == 200:
                self.spans += decoded(body)
            self.changed.notify_all()

    def babble(self, file: Any, piece: bytes, pause_s: float) -> None:
        try:
            while not threading.Event().wait(pause_s):
                file.write(piece)
        except OSError:
            with self.changed:
                self.gone += 1
                self.changed.notify_all()

    def until(self, condition: Any, limit_s: float = 60.0) -> Any:
        """Wait for spans until the condition is true of them; returns what it returned."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.spans), limit_s), [each.name for each in self.spans]
            return condition(self.spans)

    def close(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving() -> Iterator[Collector]:
    found = Collector()
    try:
        yield found
    finally:
        found.close()


def decoded(body: bytes) -> list[Received]:
    """The spans of a request."""
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _values(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                links = tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links)
                events = tuple((each.name, _values(each.attributes)) for each in span.events)
                error = span.status.message if span.status.code == 2 else None
                found.append(
                    Received(
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.name,
                        span.kind,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        _values(span.attributes),
                        links,
                        events,
                        error,
                        span.trace_state,
                        service,
                    )
                )
    return found


def _values(pairs: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in pairs}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, which)


def tree(spans: list[Received], trace: str) -> list[str]:
    """The spans of a trace as lines for people: offset, duration, role and name, indented by depth."""
    own = {each.id: each for each in spans if each.trace == trace}
    zero = min(each.start for each in own.values())
    lines: list[str] = []

    def add(parent: str, depth: int) -> None:
        for each in sorted((each for each in own.values() if each.parent == parent), key=lambda each: each.start):
            what = {key: value for key, value in each.attributes.items() if key.rpartition(".")[2] in ("waited_ms", "actions", "reason")}
            role = each.attributes.get("dyff.role", "")
            begun, took = (each.start - zero) / 1e6, (each.end - each.start) / 1e6
            lines.append(f"{begun:9.1f} ms {took:9.1f} ms  {'  ' * depth}{each.name}  [{role}] {what or ''} {each.error or ''}".rstrip())
            add(each.id, depth + 1)

    for root in {each.parent for each in own.values() if each.parent not in own}:
        add(root, 0)
    return lines
