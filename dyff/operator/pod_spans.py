"""The spans of steps and pods, from what the cluster records of them. Pure.

    step client                 the Job, from its creation until it ended
      pod client                one attempt, from its creation until its last container ended
        schedule                until a node had room for it
        start                   until the first container ran: the image is pulled, volumes are mounted
        run fetch-data, step    a container, from its start to its end
        become ready            of a runner: from the start of its container until it answered its probe

Kubernetes has these times in whole seconds, so that a span can seem to begin up to a second before its parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dyff.cluster import conditions, owners, port
from dyff.kernel.telemetry import span_names, trace_context, traces
from dyff.kernel.telemetry.trace_context import Context
from dyff.operator import jobs, pods
from dyff.operator.manifests import metadata


class Part(msgspec.Struct, frozen=True):
    """A span. `key`: distinguishes it among those of its object. `waits`: whether what the object waited for belongs to it."""

    key: str
    name: str
    context: Context
    parent: Context
    start_ns: int
    end_ns: int
    attributes: Mapping[str, traces.Value | None]
    error: str | None = None
    waits: bool = False


def of_job(job: port.Object) -> Iterator[Part]:
    """The span of a step that has ended; nothing if it has not, or if it belongs to no trace."""
    life, meta = trace_context.of_object(job), job["metadata"]
    how = jobs.ended(job)
    start = traces.ns_of(meta.get("creationTimestamp"))
    if life is None or how is None or start is None:
        return
    condition, status = conditions.get(job, how) or {}, job.get("status") or {}
    end = traces.ns_of(status.get("completionTime")) or traces.ns_of(condition.get("lastTransitionTime")) or start
    failed = f"{condition.get('reason') or how}: {condition.get('message') or ''}" if how == conditions.FAILED else None
    name = span_names.STEP.format(component=_component(meta))
    yield Part("step", name, _step(life, meta["uid"]), life, start, end, {**_whose(meta), span_names.RESOURCE_NAME: meta["name"]}, failed)


def of_pod(pod: port.Object, gone_ns: int | None) -> Iterator[Part]:
    """The spans of a pod that are over by now; nothing if it belongs to no trace. `gone_ns`: when it was seen to be gone, or None."""
    life, meta, status = trace_context.of_object(pod), pod["metadata"], pod.get("status") or {}
    created = traces.ns_of(meta.get("creationTimestamp"))
    if life is None or created is None:
        return
    context, uid = life.derived("pod", meta["uid"]), meta["uid"]
    ran = list(_containers(status))
    first = min((each.start_ns for each in ran if each.start_ns is not None), default=None)
    # A cluster can note that it had room for a pod later than that the pod started.
    times = [each for each in (_since(pod, "PodScheduled"), traces.ns_of(status.get("startTime")), first) if each is not None]
    scheduled = min(times) if times and _since(pod, "PodScheduled") is not None else None
    whose = {**_whose(meta), span_names.POD_NAME: meta["name"], span_names.NODE: (pod.get("spec") or {}).get("nodeName")}
    if scheduled is not None and (first is not None or scheduled > created):
        yield Part("schedule", span_names.SCHEDULE, context.derived("schedule", uid), context, created, scheduled, whose)
    if first is not None:
        begun = scheduled if scheduled is not None else created
        yield Part("start", span_names.START, context.derived("start", uid), context, min(begun, first), first, whose, waits=True)
    ready = _since(pod, "Ready")
    if ready is not None and first is not None and _parent(pod, life) is life:
        yield Part("ready", span_names.READY, context.derived("ready", uid), context, first, max(first, ready), whose)
    is_asked = pods.deleting(pod)
    for each in ran:
        end = each.end_ns if each.end_ns is not None else gone_ns
        if each.start_ns is None or end is None:
            continue
        key = f"run {each.name} {each.restarts}"
        more = {span_names.IMAGE: each.image, span_names.EXIT_CODE: each.exit_code, span_names.END: None if each.end_ns else "observed"}
        failed = None if is_asked or not each.exit_code else f"exit code {each.exit_code} ({each.reason})"
        name = span_names.RUN.format(container=each.name)
        yield Part(key, name, context.derived(key, uid), context, each.start_ns, end, {**whose, **more}, failed)
    if gone_ns is not None or not pods.live(pod):
        ends = [each.end_ns for each in ran if each.end_ns is not None]
        is_over = not pods.live(pod) and bool(ends)
        end = max(ends) if is_over else gone_ns if gone_ns is not None else created
        seen = {span_names.END: None if is_over else "observed", span_names.REASON: status.get("reason")}
        failed = f"{status.get('reason') or 'Failed'}: {status.get('message') or ''}" if status.get("phase") == "Failed" else None
        name = span_names.POD.format(component=_component(meta))
        yield Part("pod", name, context, _parent(pod, life), created, end, {**whose, **seen}, None if is_asked else failed)


def waits_for(pod: port.Object) -> tuple[str, str] | None:
    """Why a pod does not run yet, if the cluster names a reason that is not the usual course; with the message."""
    status = pod.get("status") or {}
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return str(waiting["reason"]), str(waiting.get("message") or "")
    scheduled = conditions.get(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return str(scheduled.get("reason") or "Unschedulable"), str(scheduled.get("message") or "")
    return None


class _Container(msgspec.Struct, frozen=True):
    name: str
    image: str | None
    restarts: int
    start_ns: int | None
    end_ns: int | None
    exit_code: int | None
    reason: str


def _containers(status: Mapping[str, Any]) -> Iterator[_Container]:
    """All runs of containers that the status still has: the present or last one, and the one before it."""
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        restarts = int(each.get("restartCount") or 0)
        for back, state in ((1, each.get("lastState") or {}), (0, each.get("state") or {})):
            ended, running = state.get("terminated") or {}, state.get("running") or {}
            if not (ended or running) or (back and not restarts):
                continue
            start, end = traces.ns_of((ended or running).get("startedAt")), traces.ns_of(ended.get("finishedAt"))
            code = ended.get("exitCode")
            yield _Container(each["name"], each.get("image"), restarts - back, start, end, code, str(ended.get("reason") or "Error"))


def _since(pod: port.Object, condition: str) -> int | None:
    found = conditions.true_condition(pod, condition)
    return None if found is None else traces.ns_of(found.get("lastTransitionTime"))


def _step(life: Context, uid: str) -> Context:
    return life.derived("step", uid)


def _parent(pod: port.Object, life: Context) -> Context:
    """The span of the pod's step; that of the entity for a pod that belongs to no step."""
    owner = owners.controller(pod)
    return _step(life, owner["uid"]) if owner is not None and owner["kind"] == port.JOB.kind else life


def _component(meta: Mapping[str, Any]) -> str:
    return str((meta.get("labels") or {}).get("dyff.io/component") or "other")


def _whose(meta: Mapping[str, Any]) -> dict[str, traces.Value | None]:
    labels = meta.get("labels") or {}
    kind = (meta.get("annotations") or {}).get(metadata.RESOURCE, "").partition("/")[0]
    return {
        span_names.ENTITY: labels.get("dyff.io/id"),
        span_names.ACCOUNT: labels.get("dyff.io/account"),
        span_names.KIND: kind or None,
    }
