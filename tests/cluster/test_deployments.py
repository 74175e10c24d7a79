"""What the Deployment controller decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from dyff.cluster import port
from dyff.cluster.embedded.controllers import deployments, plan, podstates
from dyff.kernel import patches
from tests.cluster import builders

OTHER_IMAGE = builders.a_deployment(image="other")
RECREATE: dict[str, Any] = {"strategy": {"type": "Recreate"}}


def pods_of(deployment: port.Object, count: int, *, seconds: float = 0) -> list[port.Object]:
    """The Pods that a Deployment makes when it has none."""
    wanted = {**deployment, "spec": {**deployment["spec"], "replicas": count}}
    made = deployments.make(plan.Observed("deployment", wanted, ()), builders.at(seconds)).creates
    return [builders.made(port.POD, each, f"uid-{each['metadata']['name']}", seconds) for each in made]


A, B, C = pods_of(builders.a_deployment(), 3)
OLD_A, OLD_B = pods_of(OTHER_IMAGE, 2)
READY_A, READY_B = builders.running(A), builders.running(B)


def names(pods) -> tuple[str, ...]:
    return tuple(each["metadata"]["name"] for each in pods)


def streak(pod: port.Object, count: int) -> port.Object:
    return {**pod, "metadata": {**pod["metadata"], "annotations": {deployments.STREAK: str(count)}}}


@dataclass(frozen=True)
class Case:
    """What there is, and what is wanted of the plan; `want_status`: a part of it."""

    pods: tuple[port.Object, ...] = ()
    deployment: port.Object | None = field(default_factory=builders.a_deployment)
    now_s: float = 0.0
    want_creates: tuple[str, ...] = ()
    want_deletes: tuple[str, ...] = ()
    want_status: dict = field(default_factory=dict)


CASES = {
    "all Pods are made at once": Case(want_creates=names([A, B]), want_status={"readyReplicas": 0, "unavailableReplicas": 2}),
    "enough Pods are enough": Case(pods=(A, B), want_status={"replicas": 2, "updatedReplicas": 2, "readyReplicas": 0}),
    "a missing one is made under the free number": Case(pods=(READY_B,), want_creates=names([A]), want_status={"readyReplicas": 1}),
    "one that is being deleted is replaced at once, under another name": Case(
        pods=(builders.deleting(READY_A), READY_B), want_creates=names([C]), want_status={"readyReplicas": 1, "replicas": 1}
    ),
    "too many: those that do not serve go first": Case(
        pods=(READY_A, B, builders.running(C)), want_deletes=names([B]), want_status={"readyReplicas": 2}
    ),
    "scaled to none": Case(pods=(READY_A, READY_B), deployment=builders.a_deployment(replicas=0), want_deletes=names([A, B])),
    "one that failed is replaced after a second and kept for its logs": Case(
        pods=(builders.failed(A, seconds=-1), READY_B), want_creates=names([C]), want_status={"replicas": 1}
    ),
    "one that has just failed is not replaced yet": Case(pods=(builders.failed(A), READY_B)),
    "only the last that failed is kept": Case(
        pods=(builders.failed(A, seconds=-50), READY_B, builders.failed(C, seconds=-20)),
        want_creates=(names([A])[0].removesuffix("0") + "3",),
        want_deletes=names([A]),
    ),
    "a row of failures slows the replacement": Case(pods=(streak(builders.failed(A, seconds=-7), 3), READY_B)),
    "but does not end it": Case(pods=(streak(builders.failed(A, seconds=-8), 3), READY_B), want_creates=names([C])),
    "a long row waits for a minute at most": Case(pods=(streak(builders.failed(A, seconds=-60), 5000), READY_B), want_creates=names([C])),
    "a Pod that served for long is replaced at once": Case(
        pods=(streak(builders.failed(A, seconds=601), 9), READY_B), now_s=601.0, want_creates=names([C])
    ),
    "a new template: one more Pod than wanted, none fewer ready": Case(
        pods=(builders.running(OLD_A), builders.running(OLD_B)),
        want_creates=names([A]),
        want_status={"readyReplicas": 2, "updatedReplicas": 0},
    ),
    "a new template: nothing moves while the new Pod is not ready": Case(pods=(builders.running(OLD_A), builders.running(OLD_B), A)),
    "a new template: an old Pod goes for each new one that serves": Case(
        pods=(builders.running(OLD_A), builders.running(OLD_B), READY_A), want_deletes=names([OLD_A])
    ),
    "a new template: old Pods that do not serve go at once": Case(
        pods=(OLD_A, builders.running(OLD_B)), want_deletes=names([OLD_A]), want_creates=names([A])
    ),
    "Recreate: old Pods go first": Case(
        pods=(builders.running(OLD_A), OLD_B), deployment=builders.a_deployment(**RECREATE), want_deletes=names([OLD_A, OLD_B])
    ),
    "Recreate: nothing is made while an old Pod runs": Case(
        pods=(builders.deleting(builders.running(OLD_A)),), deployment=builders.a_deployment(**RECREATE)
    ),
    "Recreate: then the new ones are made": Case(deployment=builders.a_deployment(**RECREATE), want_creates=names([A, B])),
    "Recreate: a Pod of the new template that is being deleted does not hold up the others": Case(
        pods=(builders.deleting(READY_A),), deployment=builders.a_deployment(**RECREATE), want_creates=names([B, C])
    ),
    "a Deployment that is being deleted makes nothing": Case(
        pods=(READY_A,), deployment=builders.deleting(builders.a_deployment()), want_status={"readyReplicas": 1}
    ),
    "a Deployment that is gone leaves its Pods to the garbage": Case(pods=(READY_A,), deployment=None),
    "Pods of another Deployment are not counted": Case(
        pods=({**READY_A, "metadata": {**READY_A["metadata"], "ownerReferences": []}}, READY_B), want_creates=names([C])
    ),
    "a Pod that lost its label is of no template": Case(
        pods=(builders.labelled(READY_A, app="thing"), READY_B), want_creates=names([C]), want_status={"updatedReplicas": 1}
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_plan(case: Case):
    """The plan for each situation is the one that the case's name states."""
    made = deployments.make(plan.Observed("deployment", case.deployment, case.pods), builders.at(case.now_s))
    assert names(made.creates) == case.want_creates
    assert names(made.deletes) == case.want_deletes
    status = made.status or {}
    assert {key: status.get(key) for key in case.want_status} == case.want_status


def test_rows_of_failures_are_counted():
    """A replacement carries how many failed before it, so that a restart of the server forgets nothing."""
    case = Case(pods=(streak(builders.failed(A, seconds=-60), 2), READY_B))
    (made,) = deployments.make(plan.Observed("deployment", case.deployment, case.pods), builders.NOW).creates
    assert made["metadata"]["annotations"] == {deployments.STREAK: "3"}


def test_a_delay_is_reported():
    """A plan that waits says when to look again."""
    made = deployments.make(
        plan.Observed("deployment", builders.a_deployment(), (builders.failed(A, seconds=-0.25), READY_B)), builders.NOW
    )
    assert made.again_s == pytest.approx(0.75)


def test_names_fit():
    """The Pods of a Deployment with the longest name have names that the API server takes."""
    deployment = builders.a_deployment()
    deployment["metadata"]["name"] = "d" * 253
    (pod, *_) = deployments.make(plan.Observed("d" * 253, deployment, ()), builders.NOW).creates
    assert len(pod["metadata"]["name"]) <= podstates.MAX_NAME
    builders.made(port.POD, pod, "uid")


def conditions(deployment: port.Object, pods: tuple[port.Object, ...], seconds: float) -> tuple[port.Object, dict[str, tuple[str, str]]]:
    """The Deployment with its new status, and the status and reason of each condition."""
    made = deployments.make(plan.Observed("deployment", deployment, pods), builders.at(seconds))
    status = patches.merged(deployment.get("status") or {}, made.status or {})
    return {**deployment, "status": status}, {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_conditions_follow_a_rollout():
    """Available follows the ready Pods; Progressing ends in success, and Pods that fail later do not undo that."""
    deployment, seen = conditions(builders.a_deployment(), (), 0)
    assert seen == {"Available": ("False", "MinimumReplicasUnavailable"), "Progressing": ("True", "ReplicaSetUpdated")}
    deployment, seen = conditions(deployment, (READY_A, B), 5)
    assert seen["Available"] == ("False", "MinimumReplicasUnavailable")
    deployment, seen = conditions(deployment, (READY_A, READY_B), 10)
    assert seen == {"Available": ("True", "MinimumReplicasAvailable"), "Progressing": ("True", "NewReplicaSetAvailable")}
    _, seen = conditions(deployment, (READY_A,), 5000)
    assert seen == {"Available": ("False", "MinimumReplicasUnavailable"), "Progressing": ("True", "NewReplicaSetAvailable")}


def test_a_rollout_that_stands_still_is_late():
    """After the progress deadline without any movement Progressing is False; movement starts it again."""
    deployment, _ = conditions(builders.a_deployment(progressDeadlineSeconds=60), (A, B), 0)
    _, seen = conditions(deployment, (A, B), 59)
    assert seen["Progressing"] == ("True", "ReplicaSetUpdated")
    deployment, seen = conditions(deployment, (A, B), 60)
    assert seen["Progressing"] == ("False", "ProgressDeadlineExceeded")
    _, seen = conditions(deployment, (READY_A, B), 61)
    assert seen["Progressing"] == ("True", "ReplicaSetUpdated")


def test_transition_times_are_those_of_transitions():
    """`lastTransitionTime` changes with the status of a condition, not with its message or at each look."""
    deployment, _ = conditions(builders.a_deployment(), (A, B), 0)
    before = deployment["status"]["conditions"][0]["lastTransitionTime"]
    deployment, _ = conditions(deployment, (READY_A, B), 10)
    assert deployment["status"]["conditions"][0]["lastTransitionTime"] == before
    deployment, _ = conditions(deployment, (READY_A, READY_B), 20)
    assert deployment["status"]["conditions"][0]["lastTransitionTime"] > before


def test_what_is_as_wanted_is_left_alone():
    """When everything is as it should be and the status says so, the plan is empty."""
    deployment, _ = conditions(builders.a_deployment(), (READY_A, READY_B), 10)
    assert deployments.make(plan.Observed("deployment", deployment, (READY_A, READY_B)), builders.at(20)) == plan.Plan()
