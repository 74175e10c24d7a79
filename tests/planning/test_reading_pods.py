"""What the state of a pod says: what it waits for, which container is at work, and whose last words are missing."""

from __future__ import annotations

from typing import Any

import pytest

from dyff.operator import plan, pods
from tests.planning import world

RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-11-30T00:00:00Z"}}
PROBED = {"httpGet": {"port": 80, "path": "/health"}}


def terminated(code, message=""):
    return {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}


def container(name, state, **more):
    return {"name": name, "state": state, "restartCount": 0, "ready": False, **more}


def a_pod(*containers, initial=(), phase="Running", probes=(), message="", **status):
    """A pod that is not ready. `probes`: the containers with a probe over HTTP."""
    ready = {"type": "Ready", "status": "False", "message": message}
    spec = [{"name": each["name"], "image": "i", **({"readinessProbe": PROBED} if each["name"] in probes else {})} for each in containers]
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": spec, "nodeName": "n1"},
        "status": {
            "phase": phase, "conditions": [ready], "initContainerStatuses": list(initial), "containerStatuses": list(containers), **status,
        },
    }  # fmt: skip


UNREADY = {
    "its node is lost": (a_pod(container("a", RUNNING, ready=True)), "pod p: its node n1 does not answer"),
    "the probe of the second is not answered": (
        a_pod(container("a", RUNNING, ready=True), container("b", RUNNING), probes=("a", "b")),
        "pod p: container b runs and does not answer yet at port 80, /health",
    ),
    "it is answered in the wrong way": (
        a_pod(container("a", RUNNING), probes=("a",), message="it is answered with status 500"),
        "pod p: container a runs and does not answer as it should at port 80, /health: it is answered with status 500",
    ),
    "it has failed once and runs again": (
        a_pod(container("a", RUNNING, lastState=terminated(1, "out of luck")), probes=("a",)),
        "pod p: it runs again; container a of pod p ended with exit code 1: out of luck",
    ),
    "the first has ended, and the second is about to be asked": (
        a_pod(container("a", terminated(0)), container("b", RUNNING), probes=("b",)),
        "pod p: container b runs and does not answer yet at",
    ),
    "nothing is asked": (a_pod(container("a", RUNNING)), ""),
    "nothing is known of it": (a_pod(), ""),
}


@pytest.mark.parametrize(("pod", "want"), UNREADY.values(), ids=UNREADY)
def test_why_a_pod_that_runs_is_not_ready(pod, want):
    """The first container that keeps it from that is named; without a probe over HTTP nothing is claimed."""
    found = pods.waiting([pod])
    assert found.startswith(want)
    assert bool(found) == bool(want)


AT_WORK = {
    "the first runs": (a_pod(container("b", {}), initial=[container("a", RUNNING)]), "a"),
    "the second is about to start": (
        a_pod(container("b", {"waiting": {"reason": "PodInitializing"}}), initial=[container("a", terminated(0))]),
        "b",
    ),
    "the second waits for its image": (
        a_pod(container("b", {"waiting": {"reason": "ImagePullBackOff"}}), initial=[container("a", terminated(0))]),
        None,
    ),
    "the first waits": (a_pod(container("b", {}), initial=[container("a", {"waiting": {"reason": "PodInitializing"}})]), None),
    "the first has failed": (a_pod(container("b", {}), initial=[container("a", terminated(1))]), None),
    "all have ended": (a_pod(container("b", terminated(0)), initial=[container("a", terminated(0))]), None),
    "it has none yet": (a_pod(), None),
}


@pytest.mark.parametrize(("pod", "want"), AT_WORK.values(), ids=AT_WORK)
def test_which_container_is_at_work(pod, want):
    """One that runs, or that comes next without waiting for anything but the kubelet."""
    assert pods.at_work(pod) == want


LACKING = {
    "none has failed": (a_pod(container("a", RUNNING), initial=[container("i", terminated(0))]), None),
    "one has failed without a word": (a_pod(container("a", terminated(1))), "a"),
    "one has failed with its last words": (a_pod(container("a", terminated(1, "words"))), None),
    "one runs again after a failure without a word": (a_pod(container("a", RUNNING, lastState=terminated(137))), "a"),
    "the first that failed counts": (a_pod(container("b", terminated(1)), initial=[container("a", terminated(2, "words"))]), None),
}


@pytest.mark.parametrize(("pod", "want"), LACKING.values(), ids=LACKING)
def test_whose_log_has_to_be_read(pod, want):
    """Of a container that failed and whose status does not say why."""
    assert pods.lacks_words(pod) == want


def test_what_is_gone_is_not_present():
    """A plan that takes a resource for granted says which one is missing."""
    gone = plan.Observed(plan.Request("Model", f"model-{world.ID}"), plan.Wanted((), ()), None)
    with pytest.raises(ValueError, match=f"Model model-{world.ID} is gone"):
        _ = gone.present
