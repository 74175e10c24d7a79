"""Runs that wait in a queue of the cluster, as Kueue's: suspended Jobs and pods with scheduling gates have no deadline meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dyff.cluster import conditions, port
from dyff.kernel import clock
from dyff.operator import pods
from tests.narrowing import sure
from tests.planning import world
from tests.planning.world import ID, World

FETCH, SESSION = f"model-{ID}-fetch", f"session-{ID}"
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty gates"}


def fetched():
    """A Model whose Job was suspended by a webhook when it was created."""
    there = World(world.a_model()).settle()
    there.get(port.JOB, FETCH)["spec"]["suspend"] = True
    suspension(there, "True")
    return there.settle()


def suspension(there, status, **fields):
    since = clock.iso(there.now)
    there.set_status(port.JOB, FETCH, conditions=[{"type": "Suspended", "status": status, "lastTransitionTime": since}], **fields)


def model(there):
    return there.objects[port.Kind("dyff.io/v1alpha1", "Model", "models"), f"model-{ID}"]


def test_a_suspended_job_is_not_overdue():
    """However long it waits, and the status says so; its time begins when it is resumed."""
    there = fetched().after(days=7)
    assert not conditions.finished(model(there))
    assert "suspended" in sure(conditions.get(model(there), "Complete"))["message"]
    there.get(port.JOB, FETCH)["spec"]["suspend"] = False
    there.settle()  # the condition follows the field a little later
    assert not conditions.finished(model(there))
    suspension(there, "False", startTime=clock.iso(there.now))
    there.after(seconds=3600)
    assert not conditions.finished(model(there))
    there.after(seconds=60)
    assert sure(conditions.get(model(there), "Failed"))["reason"] == "DeadlineExceeded"


def test_a_job_that_was_suspended_while_it_ran_begins_again():
    """The server removes its start, and sets another one when it is resumed."""
    there = World(world.a_model()).settle()
    there.set_status(port.JOB, FETCH, startTime=clock.iso(there.now))
    there.after(seconds=3000)
    there.get(port.JOB, FETCH)["spec"]["suspend"] = True
    there.get(port.JOB, FETCH)["status"] = {}
    there.after(seconds=7200)
    assert not conditions.finished(model(there))
    there.get(port.JOB, FETCH)["spec"]["suspend"] = False
    there.set_status(port.JOB, FETCH, startTime=clock.iso(there.now))
    there.after(seconds=3000)
    assert not conditions.finished(model(there))


def test_a_job_counts_from_its_start_and_not_from_its_creation():
    """Its controller can be late."""
    there = World(world.a_model()).settle()
    there.now += timedelta(seconds=3000)
    there.set_status(port.JOB, FETCH, startTime=clock.iso(there.now))
    there.after(seconds=3000)
    assert not conditions.finished(model(there))


def session(there):
    return there.objects[port.Kind("dyff.io/v1alpha1", "InferenceSession", "inferencesessions"), SESSION]


def test_a_session_whose_pods_are_gated_has_no_start_deadline():
    """It waits with a message, and its deadline begins when its pods may be scheduled."""
    there = World(world.a_session()).settle()
    pod = there.run_pod(port.DEPLOYMENT, SESSION, phase="Pending", conditions=[GATED])
    pod["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    there.settle().after(days=2)
    assert not conditions.finished(session(there))
    assert conditions.is_true(session(there), "Queued")
    assert "waits for its turn" in sure(conditions.get(session(there), "Ready"))["message"]
    del pod["spec"]["schedulingGates"]
    pod["status"]["conditions"] = [{**GATED, "reason": "Unschedulable"}]
    there.settle().after(seconds=890)
    assert not conditions.finished(session(there))
    there.after(seconds=20)
    assert sure(conditions.get(session(there), "Failed"))["reason"] == "DeadlineExceeded"


def pulling(message, reason="ImagePullBackOff", image="registry.example/team/denied-not-found:1"):
    status = {"name": "main", "image": image, "state": {"waiting": {"reason": reason, "message": message}}}
    began = "2026-11-01T12:00:00Z"
    return {
        "metadata": {"name": "p", "creationTimestamp": began},
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": {"phase": "Pending", "startTime": began, "containerStatuses": [status]},
    }


NAME = 'Back-off pulling image "registry.example/team/denied-not-found:1": ErrImagePull: '


@pytest.mark.parametrize(
    ("message", "at_once", "after_a_while"),
    [
        ("failed to authorize: failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized", False, True),
        ("unexpected status from HEAD request to https://registry.example: 403 Forbidden", False, True),
        ("pull access denied, repository does not exist or may require authorization", False, True),
        ("no basic auth credentials", False, True),
        ("toomanyrequests: You have reached your pull rate limit", False, False),
        ("unexpected status from HEAD request: 429 Too Many Requests", False, False),
        ("unexpected status code: 503 Service Unavailable: not found", False, False),
        ("received unexpected HTTP status: 500 Internal Server Error", False, False),
        ("dial tcp: lookup registry.example: no such host", False, False),
        ("net/http: TLS handshake timeout", False, False),
        ("failed to resolve reference: registry.example/team/denied-not-found:1: not found", True, True),
        ("manifest unknown: manifest unknown", True, True),
        ("no match for platform in manifest", True, True),
        ("", False, False),
    ],
)
def test_what_a_registry_says_is_final_only_if_it_cannot_pass(message, at_once, after_a_while):
    """A denial is tried again for `operator.image_pull_patience_s`, an outage until the deadline; the image's own name says nothing."""
    pod = pulling(NAME + message)
    assert (pods.not_runnable([pod], world.START + timedelta(seconds=1), 300.0) is not None) is at_once
    assert (pods.not_runnable([pod], world.START + timedelta(seconds=301), 300.0) is not None) is after_a_while


def test_an_invalid_name_is_final_at_once():
    """No registry is asked."""
    assert pods.not_runnable([pulling("", "InvalidImageName")], world.START, 300.0) is not None


def test_the_client_of_an_evaluation_does_not_run_while_its_session_is_queued():
    """Its time would run out before the session has any: it is stopped, and starts again afterwards."""
    there = World(world.an_evaluation()).settle()
    client = f"eval-{ID}-client"
    first = there.get(port.JOB, client)["metadata"]["uid"]
    pod = there.run_pod(port.DEPLOYMENT, f"eval-{ID}-infer", phase="Pending", conditions=[GATED])
    pod["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    there.settle()
    assert there.get(port.JOB, client) is None
    there.after(days=1)
    assert there.get(port.JOB, client) is None
    del pod["spec"]["schedulingGates"]
    pod["status"]["conditions"] = []
    there.settle()
    assert there.get(port.JOB, client)["metadata"]["uid"] != first
