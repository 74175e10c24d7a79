from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dyff.cluster.pods import directory, lifecycle, refusals, specs, statuses
from dyff.kernel import clock, patches
from tests.narrowing import sure

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SINCE = clock.iso(NOW - timedelta(minutes=10))


def at(seconds_ago: float) -> str:
    return clock.iso(NOW - timedelta(seconds=seconds_ago)).replace("Z", "000Z")


def a_pod(policy: str = "Never", deadline_s: float | None = None, status: dict | None = None, init: bool = False) -> specs.Pod:
    spec = {"containers": [{"name": "main", "image": "x"}], "restartPolicy": policy, "activeDeadlineSeconds": deadline_s}
    spec["initContainers"] = [{"name": "fetch", "image": "x"}] if init else []
    return specs.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec, "status": status or {}})


def an_outcome(code: int | None = None, lasted_s: float = 1.0, ended_s_ago: float = 0.0) -> directory.Outcome:
    if code is None:
        return directory.Outcome(1, 1, at(lasted_s))
    reason = "Error" if code else "Completed"
    return directory.Outcome(1, 1, at(ended_s_ago + lasted_s), at(ended_s_ago), code, None, reason)


def facts(*, held: bool = False, finished: bool = True, cause: str | None = None, failures: int = 0, **outcomes) -> directory.Facts:
    intent = directory.Intent(0, "p", SINCE, [], "lock", 600.0, 1000, 5.0, failures=failures)
    return directory.Facts(intent, directory.Record(0, "boot", directory.Shim(1, 1), outcomes, finished, cause), held)


@pytest.mark.parametrize(
    ("pod", "seen", "want"),
    [
        (a_pod(), directory.Facts(), "new"),
        (a_pod(status={"startTime": SINCE}), directory.Facts(), "failed"),
        (a_pod("Always", status={"startTime": SINCE}), directory.Facts(), "new"),
        (a_pod(), directory.Facts(facts().intent), "unstarted"),
        (a_pod(), directory.Facts(facts().intent, held=True), "running"),
        (a_pod(), facts(held=True, finished=False, main=an_outcome()), "running"),
        (a_pod(), facts(finished=False, main=an_outcome()), "lost"),
        (a_pod(), facts(main=an_outcome(0)), "succeeded"),
        (a_pod(), facts(main=an_outcome(1)), "failed"),
        (a_pod("OnFailure"), facts(main=an_outcome(0)), "succeeded"),
        (a_pod("OnFailure"), facts(main=an_outcome(1)), "restarting"),
        (a_pod("Always"), facts(main=an_outcome(0)), "restarting"),
        (a_pod(), facts(cause="Shutdown", main=an_outcome(0)), "succeeded"),
        (a_pod(), facts(cause="Shutdown", main=an_outcome(143)), "failed"),
        (a_pod(), facts(cause="Shutdown", fetch=an_outcome(0)), "failed"),
        (a_pod("Always"), facts(cause="Shutdown", main=an_outcome(143)), "restarting"),
        (a_pod(), facts(cause="DeadlineExceeded", main=an_outcome(0)), "failed"),
        (a_pod("Always", deadline_s=599), facts(main=an_outcome(1)), "failed"),
        (a_pod("Always", deadline_s=601), facts(main=an_outcome(1)), "restarting"),
    ],
)
def test_what_a_directory_means(pod, seen, want):
    """Every state of a directory has one meaning for its pod."""
    assert lifecycle.stage(pod, seen, NOW).kind == want


@pytest.mark.parametrize(("cause", "want"), [("Shutdown", True), ("ServerGone", True), ("Rebooted", True), ("Lost", False), (None, False)])
def test_only_interruptions_are_disruptions(cause, want):
    """A failed pod counts as disrupted when the server or the machine ended it, and only then."""
    assert lifecycle.stage(a_pod(), facts(cause=cause, main=an_outcome(137)), NOW).disrupted is want


@pytest.mark.parametrize(
    ("before", "ended_s_ago", "lasted_s", "cause", "want"),
    [
        (0, 0.0, 1.0, None, 0.5),
        (1, 0.0, 1.0, None, 1.0),
        (2, 1.5, 1.0, None, 0.5),
        (2, 99.0, 1.0, None, 0.0),
        (50, 0.0, 1.0, None, 30.0),
        (5, 0.0, 120.0, None, 0.5),
        (5, 0.0, 1.0, "Shutdown", 0.0),
        (1, -3600.0, 1.0, None, 1.0),
    ],
)
def test_the_back_off(before, ended_s_ago, lasted_s, cause, want):
    """It doubles from 0.5 s to 30 s, begins again after a long run, is not for interruptions, and bears a clock that was set."""
    seen = facts(cause=cause, failures=before, main=an_outcome(1, lasted_s, ended_s_ago))
    assert lifecycle.stage(a_pod("Always"), seen, NOW).wait_s == pytest.approx(want)


def observed(seen: directory.Facts, stage: lifecycle.Stage, **more) -> statuses.Observed:
    return statuses.Observed(seen, stage, clock.iso(NOW), **more)


@pytest.mark.parametrize(
    ("pod", "shown"),
    [
        (a_pod(), observed(directory.Facts(), lifecycle.Stage("new"), refusal=refusals.Refused(refusals.NO_IMAGE, "no"))),
        (a_pod(), observed(directory.Facts(), lifecycle.Stage("new"), refusal=refusals.Refused(refusals.UNSCHEDULABLE, "waits"))),
        (a_pod(init=True), observed(facts(held=True, finished=False, fetch=an_outcome()), lifecycle.Stage("running"))),
        (a_pod(), observed(facts(held=True, finished=False, main=an_outcome()), lifecycle.Stage("running"), ready=True)),
        (a_pod("Always"), observed(facts(main=an_outcome(1)), lifecycle.Stage("restarting", 0.5))),
        (a_pod(), observed(facts(main=an_outcome(0)), lifecycle.Stage("succeeded"))),
        (a_pod(), observed(facts(cause="Shutdown", main=an_outcome(143)), lifecycle.Stage("failed", reason="Shutdown", disrupted=True))),
    ],
)
def test_a_status_that_is_right_is_not_written_again(pod, shown):
    """Once a patch is applied, the same facts at a later time make no patch."""
    patch = statuses.patch(pod, shown)
    assert patch is not None
    status = patches.merged(pod.status, patch)
    later = statuses.Observed(shown.facts, shown.stage, clock.iso(NOW + timedelta(hours=1)), shown.ready, shown.refusal)
    assert statuses.patch(a_pod(pod.spec.restart_policy, status=status, init=bool(pod.spec.init_containers)), later) is None


def test_transition_times_change_with_the_condition_only():
    """A condition keeps its lastTransitionTime as long as its status stays."""
    running = facts(held=True, finished=False, main=an_outcome())
    first = patches.merged({}, statuses.patch(a_pod(), observed(running, lifecycle.Stage("running"))))
    later = statuses.Observed(running, lifecycle.Stage("running"), clock.iso(NOW + timedelta(hours=1)), ready=True)
    second = {each["type"]: each for each in sure(statuses.patch(a_pod(status=first), later))["conditions"]}
    assert second["PodScheduled"]["lastTransitionTime"] == clock.iso(NOW)
    assert second["Ready"] == {"type": "Ready", "status": "True", "lastTransitionTime": later.now}


@pytest.mark.parametrize(("status", "want"), [({}, "Failed"), ({"phase": "Pending"}, "Failed"), ({"phase": "Failed"}, None)])
def test_a_pod_that_is_not_understood_fails(status, want):
    """A pod whose spec cannot be read is failed once."""
    patch = statuses.invalid(status, "why", clock.iso(NOW))
    assert (patch and patch["phase"]) == want
