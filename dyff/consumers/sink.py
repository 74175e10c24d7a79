"""The sink: writes the folded states into the query store, which is only a view of them.

The view alone decides where to continue, since only it knows its content; the group only assigns the partitions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio
import anyio.abc
import structlog

from dyff.bus import envelope, port, topics
from dyff.consumers.common import batch_spans, group_consumer
from dyff.entities import registry
from dyff.kernel import errors, liveness
from dyff.kernel.telemetry import log_fields, metrics, names, span_names, traces
from dyff.query import port as query_port

log = structlog.get_logger()

GROUP = "dyff.sink"


async def run(
    bus: port.Bus,
    query: query_port.QueryWriter,
    *,
    signs: liveness.Signs | None = None,
    tracer: traces.Tracer = traces.SILENT,
    measured: metrics.Metrics | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Write until cancelled. A view that lost documents is filled again from the log.

    `tracer`: records the spans of writing. `measured`: of this process.

    Raises:
        LogDiverged: the view has read further than the end of the log.
        NewerSchema: a newer release wrote a state.
        Unavailable: the bus or the database does not answer.
    """
    epoch = (await bus.topic(topics.STATE)).epoch
    reached = await query.reached()
    if reached.epoch not in (None, epoch):
        log.warning("view-reset", had=reached.epoch, log=epoch)
        await query.reset()
    ready, counted = group_consumer.ReadyOnce(task_status), _Counted(measured or metrics.Metrics())
    while True:
        async with anyio.create_task_group() as group:
            group.start_soon(_until_lost, query, group.cancel_scope)
            await group_consumer.consume(
                bus, GROUP, topics.STATE, lambda share: _serve(bus, query, share, epoch, tracer, counted), signs=signs, task_status=ready
            )


async def _until_lost(query: query_port.QueryWriter, scope: anyio.CancelScope) -> None:
    await query.lost()
    log.warning("view-lost", note="it is filled again from the log")
    scope.cancel()


class _Counted:
    def __init__(self, measured: metrics.Metrics) -> None:
        documents = measured.counter(names.SUNK)
        self.writes, self._written, self._known = measured.histogram(names.SINK_WRITE), documents.cell("written"), documents.cell("known")

    def wrote(self, documents: int, news: int) -> None:
        self._written.value += news
        self._known.value += max(0, documents - news)


async def _serve(
    bus: port.Bus, query: query_port.QueryWriter, share: group_consumer.Share, epoch: str, tracer: traces.Tracer, counted: _Counted
) -> None:
    async for batch in share.batches(await _start(bus, query, share.partition)):
        began_ns = time.time_ns()
        documents, reached = view_of(batch.records, epoch, share.partition, batch.position)
        with counted.writes.timed():
            news = await query.apply(documents, reached)
        counted.wrote(len(documents), news)
        log.debug("view-written", partition=share.partition, offset=batch.position, documents=len(documents), news=news)
        _record(tracer, batch, began_ns, len(documents), share.partition)


def _record(tracer: traces.Tracer, batch: group_consumer.Batch, began_ns: int, size: int, partition: int) -> None:
    if tracer.recording:
        contexts = ((each, batch_spans.context_of(each)) for each in batch.records)
        handled = [
            batch_spans.Handled(span_names.VIEW, context, began_ns, batch_spans.place(record))
            for record, context in contexts
            if context is not None and context.sampled
        ]
        batch_spans.record(tracer, span_names.VIEW_BATCH, handled, size, partition)


def view_of(
    records: Sequence[port.Record], epoch: str, partition: int, position: int
) -> tuple[list[query_port.Document], query_port.Reached]:
    """The documents of a view for records of the state topic, and its position after them.

    `epoch`: of the state topic. `position`: the offset to continue at.

    Raises:
        NewerSchema: a newer release wrote a record.
    """
    documents: list[query_port.Document] = []
    events = 0
    for record in records:
        try:
            heading = envelope.heading(record)
        except ValueError as error:
            # The aggregator, which owns the topic, overwrites it with the right state.
            about = log_fields.of_record(record.key, record.headers).fields()
            log.error("state-undecodable", partition=partition, offset=record.offset, **errors.details(error), **about)
            continue
        version = heading.source.offset
        if version >= events:
            events = version + 1
        if heading.kind is None:
            continue  # a progress record
        row = registry.BY_KIND.get(heading.kind)
        if row is None:
            about = log_fields.of_record(record.key, record.headers).fields()
            log.warning("kind-unknown", kind=heading.kind, offset=record.offset, **about)
            continue
        documents.append(query_port.Document(row.plural, record.key.decode(), version, envelope.body(record)))
    return documents, query_port.Reached(epoch, {partition: position}, {partition: events} if events else {})


async def _start(bus: port.Bus, query: query_port.QueryWriter, partition: int) -> int:
    """Where the view continues: at its own position, or at the first record if the log no longer has that position."""
    held = (await bus.ranges(topics.STATE))[partition]
    view = await query.reached()
    reached = view.state.get(partition, held.first)
    if reached > held.end:
        raise errors.LogDiverged(
            f"the view has seen {topics.STATE}/{partition} up to {reached}, but that ends at {held.end}: the log lost its end;"
            " restore a whole backup (`dyff restore`), or if this log is the one to keep, run `dyff replay` and then `dyff verify`"
        )
    return max(min(reached, view.again.get(partition, reached)), held.first)
