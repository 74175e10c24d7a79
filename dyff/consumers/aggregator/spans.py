"""The spans of folding: of each command, and of the life of an entity that has ended."""

from __future__ import annotations

import time

import msgspec

from dyff.bus import port
from dyff.consumers.common import batch_spans
from dyff.entities import codecs, commands, folding, registry, statuses
from dyff.kernel.telemetry import span_names, traces
from dyff.kernel.telemetry.trace_context import Context


class Life(msgspec.Struct, frozen=True):
    """An entity that has ended. `creation`: the span that published its creation."""

    creation: Context
    kind: str
    entity: codecs.Json


class Folded(msgspec.Struct):
    """What a transaction has to record."""

    handled: list[batch_spans.Handled] = []
    lives: list[Life] = []

    def extend(self, later: Folded) -> None:
        """Add what a later part of the transaction has to record."""
        self.handled += later.handled
        self.lives += later.lives


def note(
    tracer: traces.Tracer,
    record: port.Record,
    before: folding.State | None,
    after: folding.State | None,
    outcome: folding.Outcome,
    began_ns: int,
) -> Folded:
    """What folding a record has to record, once the result is durable. Costs nothing if nothing is recorded."""
    found = Folded()
    if not tracer.recording:
        return found
    context, creation = batch_spans.context_of(record), None if after is None else after.creation
    if context is not None and context.sampled:
        name = _command(record)
        attributes = {
            **batch_spans.place(record),
            span_names.COMMAND: name,
            span_names.KIND: after.kind if after is not None else None,
            span_names.ACCOUNT: None if after is None else (after.entity or {}).get("account"),
            span_names.OUTCOME: outcome.value,
            span_names.STATUS_NEW: None if after is None else (after.entity or {}).get("status"),
        }
        link = creation if creation is not None and creation.trace_id != context.trace_id else None
        found.handled.append(batch_spans.Handled(span_names.FOLD.format(command=name), context, began_ns, attributes, link))
    if outcome is folding.Outcome.APPLIED and after is not None and _has_ended(before, after) and tracer.wants(creation):
        assert creation is not None
        found.lives.append(Life(creation, after.kind, after.entity or {}))
    return found


def record(tracer: traces.Tracer, folded: Folded, size: int, partition: int) -> None:
    """Record what a transaction has, which is durable now."""
    batch_spans.record(tracer, span_names.FOLD_BATCH, folded.handled, size, partition)
    for each in folded.lives:
        _record_life(tracer, each)


def _record_life(tracer: traces.Tracer, life: Life) -> None:
    entity = life.entity
    started, entity_id = traces.ns_of(entity.get("creationTime")), str(entity.get("id"))
    now, status, row = time.time_ns(), entity.get("status"), registry.BY_KIND.get(life.kind)
    attributes = {
        span_names.ENTITY: entity_id,
        span_names.KIND: life.kind,
        span_names.ACCOUNT: entity.get("account"),
        span_names.STATUS_NEW: status,
        span_names.REASON: entity.get("reason"),
    }
    failed = f"{status}: {entity.get('reason') or ''} {entity.get('message') or ''}".strip() if row and status == row.failure else None
    tracer.record(
        span_names.LIFE.format(kind=life.kind),
        traces.life(life.creation, entity_id),
        life.creation,
        now if started is None else started,
        now,
        attributes=attributes,
        error=failed,
    )


def _has_ended(before: folding.State | None, after: folding.State) -> bool:
    old, new = ((state.entity or {}).get("status", "") if state is not None else "" for state in (before, after))
    return statuses.is_terminal(new) and not statuses.is_terminal(old)


def _command(record: port.Record) -> str:
    """The name of the command in a record; one that is not ours counts as `other`, so that names of spans stay few."""
    try:
        name = codecs.decode_object(record.value or b"").get("command")
    except ValueError:
        return "other"
    return name if isinstance(name, str) and name in KNOWN else "other"


KNOWN = frozenset(
    {
        commands.CREATE, commands.UPDATE_STATUS, commands.EDIT_LABELS, commands.EDIT_DOCUMENTATION, commands.RESTORE,
        commands.RECORD_STORAGE, commands.FORGET, *registry.EDITS,
    }
)  # fmt: skip
