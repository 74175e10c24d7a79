"""Records the spans of steps and pods when they are over, and of reconciliations that changed something."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from dyff.cluster import port
from dyff.kernel.telemetry import span_names, trace_context, traces
from dyff.operator import pod_spans

AGAIN_S = 600.0
"""After its start an operator records what ended at most this long ago, which no other may have recorded. A span that was recorded
before is recorded again with the same ID.
"""


class Parts:
    """The Jobs and pods that the operator watches."""

    def __init__(self, tracer: traces.Tracer) -> None:
        """`tracer`: records the spans; if it records nothing, nothing is remembered."""
        self._tracer = tracer
        self._oldest_ns = time.time_ns() - round(AGAIN_S * 1e9)
        self._done: dict[str, set[str]] = {}
        self._waits: dict[str, list[traces.Event]] = {}

    def seen(self, obj: port.Object, *, gone: bool) -> None:
        """Take the present state of an object; `gone`: its last state."""
        if not self._tracer.recording or obj["kind"] not in (port.JOB.kind, port.POD.kind):
            return
        if not self._tracer.wants(trace_context.of_object(obj)):
            return
        now, uid = time.time_ns(), str(obj["metadata"].get("uid"))
        if obj["kind"] == port.POD.kind:
            self._note(uid, obj, now)
            self._record(uid, pod_spans.of_pod(obj, now if gone else None))
        else:
            self._record(uid, pod_spans.of_job(obj))
        if gone:
            self._done.pop(uid, None)
            self._waits.pop(uid, None)

    def _note(self, uid: str, pod: port.Object, now: int) -> None:
        found = pod_spans.waits_for(pod)
        events = self._waits.setdefault(uid, [])
        if found is not None and (not events or events[-1].attributes.get(span_names.REASON) != found[0]):
            events.append(traces.Event(span_names.WAITING_EVENT, now, {span_names.REASON: found[0], "message": found[1]}))
            del events[: -traces.MAX_EVENTS]

    def _record(self, uid: str, parts: Iterable[pod_spans.Part]) -> None:
        done = self._done.setdefault(uid, set())
        for each in parts:
            if each.key in done:
                continue
            done.add(each.key)
            if each.end_ns >= self._oldest_ns:
                events = tuple(self._waits.get(uid, ())) if each.waits else ()
                self._tracer.record(
                    each.name,
                    each.context,
                    each.parent,
                    each.start_ns,
                    each.end_ns,
                    attributes=each.attributes,
                    events=events,
                    error=each.error,
                )


def reconciled(
    tracer: traces.Tracer, resource: port.Object | None, began_ns: int, actions: Sequence[str], reason: str | None, error: str | None
) -> None:
    """Record a reconciliation that changed something. `reason`: that of the written status; None if there is none. `error`: the refusal."""
    life = trace_context.of_object(resource)
    if resource is None or life is None or not tracer.wants(life):
        return
    meta = resource["metadata"]
    labels = meta.get("labels") or {}
    attributes: dict[str, traces.Value | None] = {
        span_names.ENTITY: labels.get("dyff.io/id"),
        span_names.ACCOUNT: labels.get("dyff.io/account"),
        span_names.RESOURCE_NAME: f"{resource['kind']}/{meta['name']}",
        span_names.ACTIONS: list(actions) or None,
        span_names.REASON: reason,
    }
    name = span_names.RECONCILE.format(kind=resource["kind"])
    tracer.record(name, tracer.child(life), life, began_ns, attributes=attributes, error=error)
