"""The span of admission: from the creation of an entity until it may run, with what it had to wait for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import StateMirror
from dyff.entities import statuses
from dyff.kernel.telemetry import span_names, traces


class Waits:
    """Remembers, of entities that wait, the reasons and when this leader saw them. A new leader knows the last one, from the log."""

    def __init__(self, tracer: traces.Tracer) -> None:
        """`tracer`: records the spans; if it records nothing, nothing is remembered."""
        self._tracer = tracer
        self._waiting: dict[str, list[traces.Event]] = {}

    def decided(self, changes: Sequence[outcomes.Change], mirror: StateMirror) -> None:
        """Note the reasons of entities that have to wait, and record the spans of those that do not wait any more."""
        if not self._tracer.recording:
            return
        for each in changes:
            if each.status == statuses.CREATED:
                self._waits(each)
            else:
                self._record(each, mirror)
        if len(self._waiting) > 2 * len(changes) + 1000:  # deleted or terminated while they waited
            live = {each.entity.get("id") for each in mirror.live()}
            self._waiting = {name: events for name, events in self._waiting.items() if name in live}

    def _waits(self, change: outcomes.Change) -> None:
        events = self._waiting.setdefault(change.id, [])
        if not events or events[-1].attributes.get(span_names.REASON) != change.reason:
            said = {span_names.REASON: change.reason or "", "message": change.message or ""}
            events.append(traces.Event(span_names.WAITING_EVENT, time.time_ns(), said))
            del events[: -traces.MAX_EVENTS]

    def _record(self, change: outcomes.Change, mirror: StateMirror) -> None:
        events, life = self._waiting.pop(change.id, []), traces.life(change.creation, change.id)
        mirrored = mirror.get(change.id)
        if life is None or mirrored is None or not self._tracer.wants(life):
            return
        now = time.time_ns()
        created, last = traces.ns_of(mirrored.entity.get("creationTime")), mirrored.entity.get("reason")
        seen = [str(each.attributes[span_names.REASON]) for each in events]
        reasons = seen or ([str(last)] if last else [])
        attributes: dict[str, traces.Value | None] = {
            span_names.ENTITY: change.id,
            span_names.KIND: change.kind,
            span_names.ACCOUNT: change.account,
            span_names.STATUS_NEW: change.status,
            span_names.REASON: change.reason,
            span_names.REASONS: list(dict.fromkeys(reasons)) or None,
        }
        context = life.derived("admission")
        self._tracer.record(span_names.ADMISSION, context, life, created or now, now, attributes=attributes, events=tuple(events))
