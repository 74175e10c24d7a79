"""The spans of steps and pods, from what a cluster records of them."""

from __future__ import annotations

import pytest

from dyff.kernel.telemetry import trace_context, traces
from dyff.operator import pod_spans, tracing
from tests.narrowing import sure

LIFE = trace_context.Context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def at(seconds: int) -> str:
    return f"2026-11-25T10:00:{seconds:02}Z"


def ns(seconds: int) -> int:
    return sure(traces.ns_of(at(seconds)))


def meta(name: str, component: str, owner: str | None = None) -> dict:
    labels = {"dyff.io/component": component, "dyff.io/id": "e", "dyff.io/account": "a"}
    annotations = {"dyff.io/resource": "Evaluation/eval-e", **trace_context.to_annotations(LIFE)}
    owners = [{"kind": owner, "uid": "owner", "name": "x", "controller": True, "apiVersion": "v1"}] if owner else []
    return {
        "name": name, "uid": f"uid-{name}", "creationTimestamp": at(0), "labels": labels, "annotations": annotations,
        "ownerReferences": owners,
    }  # fmt: skip


def pod(component="client", owner="Job", phase="Succeeded", **status) -> dict:
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(1)}]
    return {
        "kind": "Pod", "metadata": meta("p", component, owner), "spec": {"nodeName": "n1"},
        "status": {"phase": phase, "startTime": at(1), "conditions": conditions, **status},
    }  # fmt: skip


def ended(name: str, start: int, end: int, code: int = 0, reason: str = "Completed", **more) -> dict:
    state = {"terminated": {"startedAt": at(start), "finishedAt": at(end), "exitCode": code, "reason": reason}}
    return {"name": name, "image": "i", "restartCount": 0, "state": state, **more}


def shown(parts) -> list[tuple]:
    return [(each.name, (each.start_ns - ns(0)) / 1e9, (each.end_ns - ns(0)) / 1e9, each.error) for each in parts]


def test_a_step_that_succeeded():
    """Its attempt is below the step; image and volumes count as the start; each container is a span."""
    subject = pod(initContainerStatuses=[ended("fetch-data", 4, 6)], containerStatuses=[ended("step", 7, 20)])
    parts = list(pod_spans.of_pod(subject, None))
    assert shown(parts) == [
        ("schedule", 0, 1, None), ("start", 1, 4, None), ("run fetch-data", 4, 6, None), ("run step", 7, 20, None),
        ("pod client", 0, 20, None),
    ]  # fmt: skip
    whole = parts[-1]
    assert {each.parent for each in parts[:-1]} == {whole.context}
    job = {
        "kind": "Job", "metadata": {**meta("j", "client"), "uid": "owner"},
        "status": {"completionTime": at(21), "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at(21)}]},
    }  # fmt: skip
    (step,) = pod_spans.of_job(job)
    assert (step.context, step.parent) == (whole.parent, LIFE)
    assert shown([step]) == [("step client", 0, 21, None)]


def test_a_container_that_failed_is_an_error():
    """With its exit code and the cluster's reason; the runs before a restart have spans of their own."""
    before = {"lastState": {"terminated": {"startedAt": at(2), "finishedAt": at(3), "exitCode": 1, "reason": "Error"}}}
    subject = pod(
        phase="Failed",
        reason="Evicted",
        message="too much",
        containerStatuses=[ended("step", 5, 9, 137, "OOMKilled", **before) | {"restartCount": 1}],
    )
    assert shown(pod_spans.of_pod(subject, None)) == [
        ("schedule", 0, 1, None), ("start", 1, 2, None), ("run step", 2, 3, "exit code 1 (Error)"),
        ("run step", 5, 9, "exit code 137 (OOMKilled)"), ("pod client", 0, 9, "Evicted: too much"),
    ]  # fmt: skip


def test_a_runner_ends_when_it_is_seen_to_be_gone():
    """It is below the entity, its end is no error, and until it is ready counts apart."""
    running = {"name": "runner", "image": "i", "restartCount": 0, "state": {"running": {"startedAt": at(5)}}}
    subject = pod("infer", "ReplicaSet", "Running", containerStatuses=[running])
    subject["status"]["conditions"].append({"type": "Ready", "status": "True", "lastTransitionTime": at(12)})
    assert shown(pod_spans.of_pod(subject, None)) == [("schedule", 0, 1, None), ("start", 1, 5, None), ("become ready", 5, 12, None)]
    *_, run, whole = pod_spans.of_pod(subject, ns(30))
    assert shown([run, whole]) == [("run runner", 5, 30, None), ("pod infer", 0, 30, None)]
    assert whole.parent == LIFE
    assert whole.attributes["dyff.end"] == "observed"


def test_a_pod_that_never_ran():
    """What it waited for is an event of its start, once for each reason."""
    waiting = {"name": "step", "image": "i", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}}
    subject = pod(phase="Pending", containerStatuses=[waiting])
    assert pod_spans.waits_for(subject) == ("ImagePullBackOff", "no such host")
    assert shown(pod_spans.of_pod(subject, None)) == [("schedule", 0, 1, None)]
    assert shown(pod_spans.of_pod(subject, ns(40)))[-1] == ("pod client", 0, 40, None)
    unscheduled = pod(
        phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}]
    )
    assert pod_spans.waits_for(unscheduled) == ("Unschedulable", "no cpu")


@pytest.mark.parametrize("broken", [{}, {"dyff.io/traceparent": "x"}])
def test_what_belongs_to_no_trace_has_no_spans(broken):
    """Neither a pod of an earlier release nor one with another annotation."""
    subject = pod(containerStatuses=[ended("step", 2, 3)])
    subject["metadata"]["annotations"] = broken
    assert list(pod_spans.of_pod(subject, ns(9))) == []


def test_a_span_is_recorded_once_however_often_a_pod_is_seen(monkeypatch):
    """What waited before is in the span of the start; of what ended long before this operator, nothing is recorded."""
    spans: list[traces.Span] = []
    parts = tracing.Parts(traces.Tracer(spans.append))
    parts._oldest_ns = ns(0)
    waiting = {"name": "step", "image": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}
    parts.seen(pod(phase="Pending", containerStatuses=[waiting]), gone=False)
    for gone in (False, False, True):
        parts.seen(pod(containerStatuses=[ended("step", 8, 20)]), gone=gone)
    assert sorted(each.name for each in spans) == ["pod client", "run step", "schedule", "start"]
    (start,) = [each for each in spans if each.name == "start"]
    assert [each.attributes["dyff.reason"] for each in start.events] == ["ErrImagePull"]
    spans.clear()
    later = tracing.Parts(traces.Tracer(spans.append))
    later._oldest_ns = ns(59)
    later.seen(pod(containerStatuses=[ended("step", 8, 20)]), gone=False)
    assert spans == []


def a_job(**changes) -> dict:
    whole = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at(21)}]}
    return {"kind": "Job", "metadata": {**meta("j", "client"), "uid": "owner"}, "status": whole, **changes}


@pytest.mark.parametrize(
    ("job", "want"),
    [
        (a_job(), [("step client", 0, 21, None)]),
        (a_job(status={}), []),
        (a_job(metadata={**meta("j", "client"), "annotations": {}}), []),
        (a_job(metadata={**meta("j", "client"), "creationTimestamp": None}), []),
    ],
    ids=["ended", "not ended", "of no trace", "without a time"],
)
def test_a_step_has_a_span_when_it_has_ended(job, want):
    """If it belongs to a trace, and it is known when it began."""
    assert shown(pod_spans.of_job(job)) == want


def test_a_cluster_need_not_say_when_it_had_room():
    """Then the start counts from the creation."""
    subject = pod(containerStatuses=[ended("step", 7, 20)], conditions=[])
    assert shown(pod_spans.of_pod(subject, None)) == [("start", 0, 7, None), ("run step", 7, 20, None), ("pod client", 0, 20, None)]
