"""The metrics of the operator: its reconciliations, and the pods that it sees. Those are other processes, so nothing else counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

from dyff.cluster import port, watching
from dyff.kernel import clock, keyed
from dyff.kernel.telemetry import metrics, names
from dyff.operator import plan, steps
from dyff.operator.kinds import inference_session

STEPS = frozenset(step.component for step in steps.STEPS)
COMPONENTS = STEPS | {inference_session.COMPONENT}
STATES = ("Pending", "Running", "Succeeded", "Failed", "Unknown", "Terminating")
REASONS = ("Error", "OOMKilled", "Completed")
"""Why a container ended before it was started again; any other reason is `other`."""

_RESULTS = {"Succeeded": "succeeded", "Failed": "failed"}


class Counted:
    """The metrics of one operator."""

    def __init__(self, measured: metrics.Metrics, now: Callable[[], datetime]) -> None:
        """`now`: the cluster's clock. Steps that ended before this moment were counted by another operator, or by none."""
        self._durations, self._errors = measured.histogram(names.RECONCILE), measured.counter(names.RECONCILE_ERRORS)
        self._steps, self._since, self._seen = measured.histogram(names.STEP_DURATION), now(), dict[str, str]()
        self._restarts, self._restarted = measured.counter(names.CONTAINER_RESTARTS), dict[str, tuple[str, dict[str, int]]]()
        for component in sorted(COMPONENTS):
            for reason in REASONS:
                self._restarts.cell(component, reason)
        for component in sorted(STEPS):
            for result in _RESULTS.values():
                self._steps.child(component, result)

    def reconciled(self, request: plan.Request, seconds: float) -> None:
        """Count a reconciliation."""
        self._durations.observe(seconds, request.kind)

    def failed(self, request: plan.Request, error: str) -> None:
        """Count one that failed. `error`: the class."""
        self._errors.add(request.kind, error)

    def changed(self, pod: port.Object, *, is_there: bool) -> None:
        """A pod has changed, or is gone. Each end of a step and each restart of a container is counted once."""
        metadata, name = pod["metadata"], pod["metadata"]["name"]
        result = _RESULTS.get((pod.get("status") or {}).get("phase", ""))
        component = _component(pod)
        if result is not None and component in STEPS and self._seen.get(name) != metadata.get("uid", ""):
            self._seen[name] = metadata.get("uid", "")
            span = _span(pod)
            if span is not None and span[1] >= self._since:
                self._steps.observe(max(0.0, (span[1] - span[0]).total_seconds()), component, result)
        if "dyff.io/id" in (metadata.get("labels") or {}):
            self._count_restarts(pod, component)
        if not is_there:
            self._seen.pop(name, None)
            self._restarted.pop(name, None)

    def _count_restarts(self, pod: port.Object, component: str) -> None:
        pod_name, uid = pod["metadata"]["name"], str(pod["metadata"].get("uid"))
        last_uid, known = self._restarted.get(pod_name, ("", {}))
        is_counted = last_uid == uid or self._is_new(pod)
        known = known if last_uid == uid else {}
        self._restarted[pod_name] = uid, known
        for each in _statuses(pod):
            name, number = str(each.get("name")), _number(each.get("restartCount"))
            before = known.get(name, 0)
            known[name] = max(before, number)
            if is_counted and number > before:
                self._restarts.add(component, _reason(each), by=number - before)

    def _is_new(self, pod: port.Object) -> bool:
        """Whether it was made after this operator began, so that all its restarts are still to be counted."""
        try:
            return clock.parse_iso(pod["metadata"]["creationTimestamp"]) >= self._since
        except (KeyError, ValueError, TypeError):
            return False

    def samples(self, queue: keyed.Statistics, pods: watching.Cache) -> list[metrics.Sample]:
        """The gauges: the work queue, and all pods of workflows."""
        states = {"waiting": queue.waiting, "active": queue.active, "delayed": queue.delayed, "failing": queue.failing}
        found = [metrics.Sample(names.QUEUE, float(number), (state,)) for state, number in states.items()]
        found.append(metrics.Sample(names.QUEUE_AGE, queue.oldest_s))
        counts = Counter({(component, state): 0 for component in COMPONENTS for state in STATES})
        counts.update(_place(each) for each in pods.objects.values() if "dyff.io/id" in (each["metadata"].get("labels") or {}))
        return found + [metrics.Sample(names.PODS, float(number), labels) for labels, number in counts.items()]


def _component(pod: port.Object) -> str:
    found = str((pod["metadata"].get("labels") or {}).get("dyff.io/component"))
    return found if found in COMPONENTS else metrics.OTHER


def _place(pod: port.Object) -> tuple[str, str]:
    phase = (pod.get("status") or {}).get("phase", "Pending")
    is_ending = bool(pod["metadata"].get("deletionTimestamp"))
    return _component(pod), "Terminating" if is_ending else phase if phase in STATES else "Unknown"


def _span(pod: port.Object) -> tuple[datetime, datetime] | None:
    """From the first start of a container to the last end; None if the cluster does not say when, as of a pod that was evicted."""
    ended = [found for each in _statuses(pod) if (found := _terminated(each)) is not None]
    try:
        started, finished = ([clock.parse_iso(each[key]) for each in ended if each.get(key)] for key in ("startedAt", "finishedAt"))
    except (ValueError, TypeError):
        return None
    return (min(started), max(finished)) if started and finished else None


def _statuses(pod: port.Object) -> list[Mapping[str, object]]:
    """Those of its containers, in the order in which they run."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _reason(container: Mapping[str, object]) -> str:
    reason = (_terminated(container, "lastState") or {}).get("reason")
    return reason if reason in REASONS else metrics.OTHER


def _terminated(container: Mapping[str, object], key: str = "state") -> dict[str, str] | None:
    state = container.get(key)
    found = state.get("terminated") if isinstance(state, dict) else None
    return found if isinstance(found, dict) else None
