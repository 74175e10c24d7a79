"""What the Job controller decides."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from dyff.cluster import owners, port
from dyff.cluster.embedded.controllers import jobs, plan, podstates
from dyff.kernel import patches
from tests.cluster import builders
from tests.narrowing import sure

DELAYS = jobs.Delays(first_s=10.0, ceiling_s=60.0)
POLICY = {
    "rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [3]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
}

POLICY_OF_FETCH = {"rules": [{"action": "FailJob", "onExitCodes": {"containerName": "fetch", "operator": "In", "values": [3]}}]}
BEFORE = builders.a_template(restartPolicy="Never", initContainers=[{"name": name, "image": "i"} for name in ("fetch", "run")])


def attempts(count: int) -> list[port.Object]:
    """The Pods that a Job makes, one after the other."""
    observed = [plan.Observed("job", builders.a_job({"attempts": number}), ()) for number in range(count)]
    templates = [jobs.make(each, builders.NOW, DELAYS).creates[0] for each in observed]
    return [builders.made(port.POD, each, f"uid-{number}") for number, each in enumerate(templates)]


FIRST, SECOND, THIRD = attempts(3)


@dataclass(frozen=True)
class Case:
    """What there is, and what is wanted of the plan; `want_status`: a part of it."""

    pods: tuple[port.Object, ...] = ()
    job: port.Object | None = field(default_factory=builders.a_job)
    now_s: float = 0.0
    want_creates: tuple[str, ...] = ()
    want_deletes: tuple[str, ...] = ()
    want_releases: tuple[str, ...] = ()
    want_conditions: tuple[tuple[str, str], ...] = ()
    want_status: dict = field(default_factory=dict)
    want_again_s: float | None = None


def names(pods) -> tuple[str, ...]:
    return tuple(each["metadata"]["name"] for each in pods)


CASES = {
    "a new Job gets its first Pod": Case(
        want_creates=names([FIRST]), want_status={"active": 0, "startTime": "2026-01-01T12:00:00.000000Z"}
    ),
    "a Pod that waits is left alone": Case(pods=(FIRST,), want_status={"active": 1, "attempts": 1}),
    "a Pod that runs is left alone": Case(pods=(builders.running(FIRST),), want_status={"active": 1, "ready": 1}),
    "after a success nothing more is started": Case(
        pods=(builders.succeeded(FIRST),),
        want_releases=names([FIRST]),
        want_status={"succeeded": 0, "uncountedTerminatedPods": {"succeeded": ["uid-0"], "failed": []}, "completionTime": None},
    ),
    "it is complete once the success is counted, in one write": Case(
        pods=(builders.released(builders.succeeded(FIRST)),),
        job=builders.a_job({"attempts": 1, "uncountedTerminatedPods": {"succeeded": ["uid-0"], "failed": []}}),
        want_conditions=(("Complete", "CompletionsReached"),),
        want_status={
            "succeeded": 1,
            "uncountedTerminatedPods": {"succeeded": [], "failed": []},
            "completionTime": "2026-01-01T12:00:00.000000Z",
        },
    ),
    "a retry waits for its delay": Case(
        pods=(builders.failed(FIRST, seconds=-4),), want_releases=names([FIRST]), want_again_s=6.0, want_status={"attempts": 1}
    ),
    "a retry follows after its delay": Case(
        pods=(builders.failed(FIRST, seconds=-10),), want_releases=names([FIRST]), want_creates=names([SECOND])
    ),
    "delays double": Case(
        pods=(builders.released(builders.failed(FIRST, seconds=-60)), builders.failed(SECOND, seconds=-1)),
        job=builders.a_job({"attempts": 1, "failed": 1}),
        want_releases=names([SECOND]),
        want_again_s=19.0,
    ),
    "a released failure is counted once its finalizer is gone": Case(
        pods=(builders.released(builders.failed(FIRST, seconds=-60)),),
        job=builders.a_job({"attempts": 1, "failed": 0, "uncountedTerminatedPods": {"failed": ["uid-0"], "succeeded": []}}),
        want_creates=names([SECOND]),
        want_status={"failed": 1, "uncountedTerminatedPods": {"failed": [], "succeeded": []}},
    ),
    "a retry waits for a Pod that is being deleted": Case(
        pods=(builders.deleting(builders.running(FIRST)),), want_status={"active": 1, "terminating": 1}
    ),
    "a number is used once, even if its Pod vanished": Case(job=builders.a_job({"attempts": 1}), want_creates=names([SECOND])),
    "one failure more than the limit fails the Job": Case(
        pods=(builders.failed(THIRD, seconds=-600),),
        job=builders.a_job({"attempts": 2, "failed": 2}),
        want_releases=names([THIRD]),
        want_conditions=(("FailureTarget", "BackoffLimitExceeded"),),
    ),
    "a backoffLimit of 0 allows no retry": Case(
        pods=(builders.failed(FIRST, seconds=-600),),
        job=builders.a_job(backoffLimit=0),
        want_releases=names([FIRST]),
        want_conditions=(("FailureTarget", "BackoffLimitExceeded"),),
    ),
    "an exit code of the policy fails the Job at once": Case(
        pods=(builders.failed(FIRST, code=3),),
        job=builders.a_job(podFailurePolicy=POLICY),
        want_releases=names([FIRST]),
        want_conditions=(("FailureTarget", "PodFailurePolicy"),),
    ),
    "an exit code of a container that runs before the others counts for that container only": Case(
        pods=(builders.failed_before(FIRST, "fetch", code=3),),
        job=builders.a_job(template=BEFORE, podFailurePolicy=POLICY_OF_FETCH),
        want_releases=names([FIRST]),
        want_conditions=(("FailureTarget", "PodFailurePolicy"),),
    ),
    "the same code of another container that runs before the others is retried": Case(
        pods=(builders.failed_before(FIRST, "run", code=3, seconds=-60),),
        job=builders.a_job(template=BEFORE, podFailurePolicy=POLICY_OF_FETCH),
        want_releases=names([FIRST]),
        want_creates=names([SECOND]),
    ),
    "another exit code is retried": Case(
        pods=(builders.failed(FIRST, code=4, seconds=-60),),
        job=builders.a_job(podFailurePolicy=POLICY),
        want_releases=names([FIRST]),
        want_creates=names([SECOND]),
    ),
    "a disrupted Pod is replaced without delay and not counted": Case(
        pods=(builders.failed(FIRST, code=143, disrupted=True),),
        job=builders.a_job(podFailurePolicy=POLICY, backoffLimit=0),
        want_releases=names([FIRST]),
        want_creates=names([SECOND]),
        want_status={"failed": 0, "uncountedTerminatedPods": {"failed": [], "succeeded": []}},
    ),
    "before the deadline it is waited for": Case(
        pods=(builders.running(FIRST),), job=builders.a_job(activeDeadlineSeconds=30), now_s=0.0, want_again_s=30.0
    ),
    "at the deadline the running Pod is deleted first": Case(
        pods=(builders.running(FIRST),),
        job=builders.a_job({"startTime": "2026-01-01T12:00:00Z", "attempts": 1}, activeDeadlineSeconds=30),
        now_s=30.0,
        want_deletes=names([FIRST]),
        want_conditions=(("FailureTarget", "DeadlineExceeded"),),
    ),
    "the Job has failed when the deleted Pod has ended and is counted": Case(
        pods=(builders.released(builders.failed(builders.deleting(FIRST))),),
        job=builders.a_job(
            {
                "startTime": "2026-01-01T12:00:00Z",
                "uncountedTerminatedPods": {"failed": ["uid-0"], "succeeded": []},
                "conditions": [{"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "m"}],
            },
            activeDeadlineSeconds=30,
        ),
        now_s=31.0,
        want_conditions=(("FailureTarget", "DeadlineExceeded"), ("Failed", "DeadlineExceeded")),
        want_status={"failed": 1, "uncountedTerminatedPods": {"failed": [], "succeeded": []}},
    ),
    "a success at the deadline is a success": Case(
        pods=(builders.released(builders.succeeded(FIRST)),),
        job=builders.a_job(
            {"startTime": "2026-01-01T12:00:00Z", "uncountedTerminatedPods": {"failed": [], "succeeded": ["uid-0"]}},
            activeDeadlineSeconds=30,
        ),
        now_s=31.0,
        want_conditions=(("Complete", "CompletionsReached"),),
    ),
    "a finished Job makes no more Pods": Case(
        pods=(builders.released(builders.succeeded(FIRST)),),
        job=builders.a_job(
            {"succeeded": 1, "attempts": 1, "conditions": [{"type": "Complete", "status": "True", "reason": "CompletionsReached"}]}
        ),
        want_conditions=(("Complete", "CompletionsReached"),),
    ),
    "a Job that is being deleted takes its Pods along": Case(
        pods=(builders.running(FIRST), builders.deleting(SECOND)),
        job=builders.deleting(builders.a_job()),
        want_deletes=names([FIRST]),
        want_releases=names([FIRST, SECOND]),
    ),
    "Pods of a Job that is gone are released to the garbage": Case(pods=(builders.running(FIRST),), job=None, want_releases=names([FIRST])),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_plan(case: Case):
    """The plan for each situation is the one that the case's name states."""
    made = jobs.make(plan.Observed("job", case.job, case.pods), builders.at(case.now_s), DELAYS)
    status = patches.merged((case.job or {}).get("status") or {}, made.status or {})
    assert names(made.creates) == case.want_creates
    assert names(made.deletes) == case.want_deletes
    assert names(made.releases) == case.want_releases
    assert tuple((each["type"], each["reason"]) for each in status.get("conditions") or ()) == case.want_conditions
    assert {key: status.get(key) for key in case.want_status} == case.want_status
    assert made.again_s == case.want_again_s


def test_pods_carry_the_template():
    """A Pod has the template's spec and labels, the Job as its controller, and the finalizer that keeps it until it is counted."""
    job = builders.a_job()
    assert FIRST["spec"]["containers"] == job["spec"]["template"]["spec"]["containers"]
    assert FIRST["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert FIRST["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "job"
    assert FIRST["metadata"]["finalizers"] == [jobs.FINALIZER]
    assert sure(owners.controller(FIRST))["uid"] == builders.JOB_UID


def test_jobs_of_one_name_have_different_pods():
    """A Job that replaces one of its name does not reuse the names of that one's Pods."""
    again = builders.a_job()
    again["metadata"]["uid"] = "00000000-0000-4000-8000-0000000000ff"
    made = jobs.make(plan.Observed("job", again, (builders.running(FIRST),)), builders.NOW, DELAYS)
    assert names(made.creates) != names([FIRST])
    assert names(made.releases) == names([FIRST])


class World:
    """A cluster with one Job, on which plans are carried out, if need be not to their end."""

    def __init__(self, outcomes: list[int]) -> None:
        self.job = builders.a_job(backoffLimit=3)
        self.pods: dict[str, port.Object] = {}
        self.outcomes = iter(outcomes)
        self.most_active = 0
        self.created = 0

    def step(self, now: datetime, writes: int) -> bool:
        """One pass that is cut off after so many writes; False: there was nothing to do."""
        made = jobs.make(plan.Observed("job", self.job, tuple(self.pods.values())), now, DELAYS)
        todo = [*([("status", made.status)] if made.status else [])]
        todo += [("release", each) for each in made.releases] + [("create", each) for each in made.creates]
        for verb, what in todo[:writes]:
            getattr(self, verb)(what)
        return bool(todo)

    def status(self, patch) -> None:
        self.job = {**self.job, "status": patches.merged(self.job.get("status") or {}, patch)}
        ended = {"Complete", "Failed"} & {each["type"] for each in self.job["status"].get("conditions") or ()}
        counts = {key: self.job["status"][key] for key in ("succeeded", "failed", "uncountedTerminatedPods")}
        assert not ended or counts == {"succeeded": 1, "failed": 2, "uncountedTerminatedPods": {"succeeded": [], "failed": []}}

    def release(self, pod) -> None:
        self.pods[pod["metadata"]["name"]] = builders.released(self.pods[pod["metadata"]["name"]])

    def create(self, pod) -> None:
        assert pod["metadata"]["name"] not in self.pods, "a name was used twice"
        self.created += 1
        self.pods[pod["metadata"]["name"]] = builders.made(port.POD, pod, f"uid-{self.created}")
        self.most_active = max(self.most_active, sum(not podstates.has_ended(each) for each in self.pods.values()))

    def run(self, seconds: float) -> None:
        """End the Pods that run."""
        for name, pod in self.pods.items():
            if not podstates.has_ended(pod):
                code = next(self.outcomes)
                self.pods[name] = builders.failed(pod, code, seconds) if code else builders.succeeded(pod, seconds)


@pytest.mark.parametrize("cuts", list(itertools.product((1, 2, 9), repeat=4)), ids=str)
def test_counting_is_exact_over_crashes(cuts):
    """Wherever passes are cut off, each failure is counted once, never two Pods run, and the Job ends.

    It does so in the very write that makes the counts whole, and then nothing is left to do.
    """
    world, seconds = World([1, 1, 0]), 0.0
    for writes in itertools.chain(cuts, itertools.repeat(9, 40)):
        moved = world.step(builders.at(seconds), writes)
        if not moved and not world.pods:
            pytest.fail("nothing is done although there is no Pod")
        seconds += 70.0
        world.run(seconds)
    assert {key: world.job["status"][key] for key in ("succeeded", "failed")} == {"succeeded": 1, "failed": 2}
    assert world.job["status"]["uncountedTerminatedPods"] == {"succeeded": [], "failed": []}
    assert world.most_active == 1
    assert world.created == 3
    assert not world.step(builders.at(seconds), 9)


def test_delays_have_a_ceiling():
    """However many attempts failed, the next is not further away than the ceiling."""
    assert DELAYS.after(0) == timedelta(0)
    assert [DELAYS.after(failed).total_seconds() for failed in (1, 2, 3, 4, 1000)] == [10, 20, 40, 60, 60]
