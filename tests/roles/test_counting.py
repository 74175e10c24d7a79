"""The gauges of the orchestrator and the operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dyff.admission.outcome import Decision, Verdict
from dyff.consumers.orchestrator import counting
from dyff.kernel import clock, keyed
from dyff.kernel.telemetry import metrics, names
from dyff.operator import counting as operating
from dyff.operator import steps

START = datetime(2026, 1, 1, tzinfo=UTC)


def decision(number: int, reason: str | None, status: str = "Created") -> Decision:
    return Decision(str(number), Verdict.QUOTA_LIMIT, status, reason, None)


def entity(number: int, account: str = "a", **fields) -> Any:
    return SimpleNamespace(entity={"id": str(number), "account": account, **fields})


def values(samples, name: str) -> dict[tuple[str, ...], float]:
    return {each.labels: each.value for each in samples if each.name == name}


async def test_what_waits_is_counted_by_reason():
    """What admission decided, and what waits for its files; reasons that nothing waits for are zero, admitted ones are not there."""
    subject = counting.Counted(metrics.Metrics())
    decisions = [
        decision(1, "QuotaLimit"),
        decision(2, "QuotaLimit"),
        decision(3, "UnsatisfiedDependency"),
        decision(4, None, "Schedulable"),
    ]
    failed = decision(5, "FailedDependency", "Failed")
    live = [entity(6, status="WaitingForUpload"), entity(7, status="Created", reason="WaitingForUpload"), entity(1, status="Created")]
    subject.decided([*decisions, failed], live, [])
    assert values(await subject.read(), names.WAITING) == {
        ("QuotaLimit",): 2, ("UnsatisfiedDependency",): 1, ("AccountSuspended",): 0, ("WaitingForUpload",): 2,
    }  # fmt: skip
    subject.decided([], [], [])
    assert set(values(await subject.read(), names.WAITING).values()) == {0}


async def test_what_is_admitted_is_counted_for_fifty_accounts_at_most():
    """The others are one value together, and the sum is right; an account without anything admitted has no value."""
    subject = counting.Counted(metrics.Metrics())
    using = [entity(number, f"account-{number % 60}") for number in range(120)]
    subject.decided([], [], using)
    found = values(await subject.read(), names.ADMITTED)
    assert len(found) == names.MAX_ACCOUNTS + 1
    assert (found["other",], sum(found.values())) == (20, 120)
    subject.decided([], [], using[:1])
    assert values(await subject.read(), names.ADMITTED) == {("account-0",): 1}


def pod(name: str = "p", phase: str = "Succeeded", component: str = "client", *, seconds: float = 5.0, end=START, uid: str = "1", **status):
    ended = {"startedAt": clock.iso(end - timedelta(seconds=seconds)), "finishedAt": clock.iso(end)}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": uid, "labels": {"dyff.io/id": "e", "dyff.io/component": component}},
        "status": {"phase": phase, "containerStatuses": [{"name": "step", "state": {"terminated": ended}}], **status},
    }


class Operator:
    """Counts pods that change; its cluster's clock stands still."""

    def __init__(self):
        self.measured = metrics.Metrics()
        self.subject = operating.Counted(self.measured, lambda: START)

    def restarts(self) -> dict[tuple[str, ...], float]:
        return {labels: cell.value for labels, cell in self.measured.counter(names.CONTAINER_RESTARTS).cells.items() if cell.value}

    def steps(self) -> dict[tuple[str, ...], tuple[int, float]]:
        series = self.measured.histogram(names.STEP_DURATION).series
        return {labels: (sum(each.counts), each.sum) for labels, each in series.items() if sum(each.counts)}


def test_the_end_of_a_step_is_counted_once():
    """However often its pod is reported; a new pod of the same name is another; pods of services are no steps."""
    it = Operator()
    for phase in ("Pending", "Running", "Succeeded", "Succeeded"):
        it.subject.changed(pod(phase=phase), is_there=True)
    it.subject.changed(pod(), is_there=False)
    it.subject.changed(pod(uid="2", phase="Failed", component="verify", seconds=7.0), is_there=True)
    it.subject.changed(pod("other", component="infer"), is_there=True)
    it.subject.changed(pod("foreign", component="something"), is_there=True)
    assert it.steps() == {("client", "succeeded"): (1, 5.0), ("verify", "failed"): (1, 7.0)}


def test_every_step_is_timed_by_its_own_name():
    """Also those of analyses, whose pods have several containers; none is among the pods that are `other`."""
    it = Operator()
    known = {each.component for each in vars(steps).values() if isinstance(each, steps.Step)}
    for component in known:
        it.subject.changed(pod(component, component=component), is_there=True)
    assert it.steps() == {(component, "succeeded"): (1, 5.0) for component in known}
    idle = keyed.Statistics(waiting=0, active=0, delayed=0, failing=0, oldest_s=0.0)
    cache = cast("Any", SimpleNamespace(objects={each: pod(each, component=each) for each in known}))
    found = values(it.subject.samples(idle, cache), names.PODS)
    assert {component for (component, _), number in found.items() if number} == known


def test_what_ended_before_this_operator_is_not_counted_again():
    """The operator before has counted it: at a start, all pods are reported once."""
    it = Operator()
    it.subject.changed(pod(end=START - timedelta(seconds=1)), is_there=True)
    assert it.steps() == {}


def runner(restarts: int = 0, reason: str = "Error", *, uid: str = "1", created=START, component: str = "infer"):
    found = pod("r", "Running", component, uid=uid, initContainerStatuses=[{"name": "init", "restartCount": 0}])
    found["metadata"]["creationTimestamp"] = clock.iso(created)
    last = {"lastState": {"terminated": {"reason": reason, "exitCode": 137}}} if restarts else {}
    found["status"]["containerStatuses"] = [{"name": "runner", "restartCount": restarts, "state": {"running": {}}, **last}]
    return found


def test_a_container_that_is_started_again_is_counted_with_its_end():
    """Its pod stays and runs, so nothing else shows that a service was killed. Reports of the same restart count once."""
    it = Operator()
    assert set(it.measured.counter(names.CONTAINER_RESTARTS).cells) >= {("infer", "Error"), ("infer", "OOMKilled")}
    for number, reason in ((0, ""), (1, "Error"), (1, "Error"), (3, "OOMKilled"), (4, "whatever it says")):
        it.subject.changed(runner(number, reason), is_there=True)
    assert it.restarts() == {("infer", "Error"): 1, ("infer", "OOMKilled"): 2, ("infer", "other"): 1}
    it.subject.changed(runner(4), is_there=False)
    it.subject.changed(runner(1, uid="2"), is_there=True)
    assert it.restarts()["infer", "Error"] == 2


def test_a_restart_before_this_operator_is_not_counted_again():
    """At a start, all pods are reported once, with what happened to them so far; a pod that is younger is new to everybody."""
    it = Operator()
    it.subject.changed(runner(5, created=START - timedelta(hours=1)), is_there=True)
    assert it.restarts() == {}
    it.subject.changed(runner(6, created=START - timedelta(hours=1)), is_there=True)
    assert it.restarts() == {("infer", "Error"): 1}


@pytest.mark.parametrize("entry", [{}, {"restartCount": None}, {"restartCount": 2}, {"restartCount": 2, "lastState": {"terminated": None}}])
def test_a_container_whose_status_lacks_something_costs_nothing(entry):
    """A restart without a recorded end is counted as one of another cause; a count that goes down is none."""
    it = Operator()
    found = runner()
    found["status"]["containerStatuses"] = [{"name": "runner", **entry}]
    it.subject.changed(found, is_there=True)
    it.subject.changed(runner(0), is_there=True)
    it.subject.changed(found, is_there=True)
    assert it.restarts() == ({("infer", "other"): 2} if entry.get("restartCount") else {})


@pytest.mark.parametrize("terminated", [None, {}, {"startedAt": "nonsense", "finishedAt": "nonsense"}, {"startedAt": 5, "finishedAt": 6}])
def test_a_pod_that_does_not_say_when_it_ran_costs_nothing(terminated):
    """Such as one that was evicted, or whatever a cluster answers."""
    it = Operator()
    it.subject.changed(pod(containerStatuses=[{"name": "step", "state": {"terminated": terminated}}]), is_there=True)
    it.subject.changed(pod("q", containerStatuses=None), is_there=True)
    assert it.steps() == {}


def test_pods_are_counted_by_component_and_state():
    """What is neither of ours nor known is `other` or `Unknown`; a pod of nothing of ours is not counted."""
    pods = [pod("1", "Running"), pod("2", "Running"), pod("3", "Odd", "strange"), pod("4", "Running", "infer")]
    pods[3]["metadata"]["deletionTimestamp"] = clock.iso(START)
    foreign = {"metadata": {"name": "5"}, "status": {"phase": "Running"}}
    cache = SimpleNamespace(objects={each["metadata"]["name"]: each for each in [*pods, foreign]})
    samples = Operator().subject.samples(keyed.Statistics(1, 2, 3, 4, 5.0), cast(Any, cache))
    assert {labels: value for labels, value in values(samples, names.PODS).items() if value} == {
        ("client", "Running"): 2, ("other", "Unknown"): 1, ("infer", "Terminating"): 1,
    }  # fmt: skip
    assert values(samples, names.QUEUE) == {("waiting",): 1, ("active",): 2, ("delayed",): 3, ("failing",): 4}
    assert values(samples, names.QUEUE_AGE) == {(): 5.0}
