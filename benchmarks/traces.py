"""What a trace costs a create, and what a span costs, measured in one process against the rest of the work of a create.

    .venv/bin/python benchmarks/traces.py [--rounds 7] [--number 20000]

`context`: of a request without an exporter, as most servers run: its IDs, the fields for log lines, the header of the answer, and the
headers of the command. `continued`: the same for a request with a `traceparent`. `recorded`: both spans of a create with an exporter,
without the thread that sends them. `command`: encoding the command of a create, the yardstick. The rounds alternate, so that load on
the machine affects all of them; the ratios are between medians of one run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from dyff.api import tracing
from dyff.api.calls import Call, json
from dyff.api.route import Route
from dyff.bus import envelope
from dyff.entities import codecs, commands
from dyff.kernel.telemetry import log_fields, trace_context, traces

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LIMIT_US = 2.5
NOW = datetime.now(UTC)
ENTITY: dict[str, Any] = {"id": "0" * 32, "kind": "Evaluation", "account": "a" * 32, "status": "Created", "text": "x" * 1500}
ENCODED = codecs.encode(ENTITY)
REPLY = json(ENTITY, status=201)


async def _never(_: Any) -> Any:
    raise AssertionError


ROUTE = Route(method="POST", path="/v0/evaluations", answer=_never, group="evaluations", operation="create", summary="")


def request(tracer: traces.Tracer, headers: list[tuple[bytes, bytes]], *, traced: bool = True) -> Callable[[], None]:
    """A create as far as traces are concerned; without them if not `traced`: what would be done in any case."""
    subject = tracing.Tracing(tracer)
    scope = {"method": "POST", "headers": headers, "query_string": b""}

    def with_trace() -> None:
        call = Call(scope, _never, 1, {})
        parent = subject.begin(call, "127.0.0.1")
        about = log_fields.current()
        span = tracer.child(about.trace) if about and about.trace else None
        trace_context.to_headers(span)
        if tracer.wants(span):
            tracer.record("publish CreateEntity", span, call.about.trace, 1, 2, kind="producer", attributes={"dyff.entity.id": "x"})
        subject.answered(ROUTE, call, parent, REPLY, None)

    def without() -> None:
        call = Call(scope, _never, 1, {})
        call.header(b"authorization")

    return with_trace if traced else without


def command() -> None:
    """Encode the command of a create."""
    envelope.command_message(commands.create("c" * 32, ENTITY, time=NOW, expires=NOW, principal="p", encoded=ENCODED))


def main() -> None:
    """Measure, print, and fail if a trace costs more than it may."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--number", type=int, default=20_000)
    chosen = parser.parse_args()
    plain, parent = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")], (b"traceparent", PARENT.encode())
    kept: list[traces.Span] = []
    recording = traces.Tracer(lambda span: kept.clear() or kept.append(span))
    work = {
        "without": request(traces.SILENT, plain, traced=False),
        "context": request(traces.SILENT, plain),
        "continued": request(traces.SILENT, [*plain, parent]),
        "recorded": request(recording, plain),
        "command": command,
    }
    found: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(chosen.rounds):
        for name, each in work.items():
            began = time.process_time()
            for _ in range(chosen.number):
                each()
            found[name].append((time.process_time() - began) / chosen.number * 1e6)
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name in ("context", "continued", "recorded"):
        extra = medians[name] - medians["without"]
        print(f"{name:<10} {extra:6.2f} µs, {extra / medians['command']:.2f} of encoding a command ({medians['command']:.2f} µs)")
    if medians["context"] - medians["without"] > LIMIT_US:
        sys.exit(f"a trace without an exporter costs more than {LIMIT_US} µs")


if __name__ == "__main__":
    main()
