"""Spans of records that are handled in batches: one for each record, in the trace of its command, with a link to that of the batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from dyff.bus import port
from dyff.kernel.telemetry import span_names, trace_context, traces
from dyff.kernel.telemetry.trace_context import Context


class Handled(msgspec.Struct, frozen=True):
    """A record whose trace is recorded. `link`: the trace of its entity, if that is another one; None if it is the same."""

    name: str
    context: Context
    began_ns: int
    attributes: Mapping[str, traces.Value | None]
    link: Context | None = None


def context_of(record: port.Record) -> Context | None:
    """The span that published the command in a record, or the last command in a state; None if that belongs to no trace."""
    return trace_context.of_headers(dict(record.headers))


def place(record: port.Record) -> dict[str, traces.Value | None]:
    """Where a record is, whose it is, and how long it waited in the log, as attributes."""
    waited_ms = max(0, time.time_ns() // 1_000_000 - record.timestamp_ms)
    return {
        span_names.ENTITY: record.key.decode("utf-8", "replace"),
        span_names.TOPIC: record.topic,
        span_names.PARTITION: record.partition,
        span_names.OFFSET: record.offset,
        span_names.WAITED_MS: waited_ms,
    }


def record(tracer: traces.Tracer, batch_name: str, handled: Sequence[Handled], size: int, partition: int) -> None:
    """Record the spans of a batch that was just written, if any of its records has one. `size`: of the whole batch."""
    if not handled:
        return
    batch, end = traces.of_batch(tracer, [each.context for each in handled]), time.time_ns()
    for each in handled:
        links = (batch,) if each.link is None else (batch, each.link)
        tracer.record(
            each.name,
            tracer.child(each.context),
            each.context,
            each.began_ns,
            end,
            kind="consumer",
            attributes=each.attributes,
            links=links,
        )
    began = min(each.began_ns for each in handled)
    attributes = {span_names.SIZE: size, span_names.PARTITION: partition}
    tracer.record(batch_name, batch, None, began, end, attributes=attributes, links=tuple(each.context for each in handled))
