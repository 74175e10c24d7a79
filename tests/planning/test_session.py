"""A session's plans: readiness that follows the pods, and every way in which it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import msgspec
import pytest

from dyff.cluster import port
from dyff.entities import registry
from dyff.entities.kinds import inference_service
from dyff.kernel import clock
from dyff.operator import plan
from dyff.operator.manifests import runners
from tests import kinds
from tests.planning import world
from tests.planning.world import ID, World

NAME = f"session-{ID}"
SESSION, SERVING = "InferenceSession session-ID", {"NetworkPolicy session-ID", "Deployment session-ID", "Service session-ID"}
REQUEST = plan.Request("InferenceSession", NAME)


def begun(**spec):
    """Created and looked at."""
    return World(world.a_session(**spec)).settle()


def serving(**spec):
    """One replica is ready."""
    return begun(**spec).serve(NAME)


def crashed(restarts, *, ready_before=False, exit_code=1, reason="Error", words="boom"):
    """The runner has ended that often and waits for its next turn."""
    there = serving().serve(NAME, ready=0) if ready_before else begun()
    ended = {"exitCode": exit_code, "reason": reason, "message": words}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    return there.show_pods(NAME, restartCount=restarts, state=waiting, lastState={"terminated": ended})


def fetch_crashed():
    """The init container that fetches the data fails again and again."""
    volume = {"kind": "Data", "name": "weights", "mountPath": "/weights", "source": {"kind": "Model", "id": world.OTHER}}
    there = begun(volumes=[volume])
    ended = {"exitCode": 75, "message": "no such bucket"}
    status = [{"name": "fetch-weights", "restartCount": 3, "state": {"terminated": ended}}]
    there.run_pod(port.DEPLOYMENT, NAME, phase="Pending", initContainerStatuses=status)
    return there.settle()


def fetch_refused():
    """The first try to fetch the data says that no other can help."""
    there = begun()
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    ended = {"terminated": {"exitCode": 65, "message": "no such model"}}
    there.run_pod(
        port.DEPLOYMENT, NAME, phase="Pending", initContainerStatuses=[{"name": "fetch-weights", "state": waiting, "lastState": ended}]
    )
    return there.settle()


def invalid_here():
    """The local kubelet can never run the pod, and says why."""
    there = begun()
    there.run_pod(port.DEPLOYMENT, NAME, phase="Failed", reason="InvalidSpec", message="memory: 'much' is not a quantity")
    return there.settle()


def waiting_for(reason, message="details"):
    """The runner's container cannot start, and says why."""
    return begun().show_pods(NAME, state={"waiting": {"reason": reason, "message": message}})


def logged_elsewhere():
    """The runner crashed, and its words are only in its log."""
    there = begun()
    there.run_pod(port.DEPLOYMENT, NAME, phase="Running")
    [pod] = there.pods()
    there.logs[pod["metadata"]["name"]] = "\n".join(f"line {number}" for number in range(1000))
    ended = {"terminated": {"exitCode": 3}}
    pod["status"]["containerStatuses"] = [{"name": "runner", "restartCount": 3, "state": {"waiting": {}}, "lastState": ended}]
    return there.settle()


def evicted(times=1, **more):
    """The node has thrown out that many pods; the next is being started. `more`: of their status."""
    there = begun()
    killed = [{"name": "runner", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]
    why = 'Usage of EmptyDir volume "scratch" exceeds the limit "5Mi".'
    for _ in range(times):
        there.run_pod(port.DEPLOYMENT, NAME, phase="Failed", reason="Evicted", message=why, containerStatuses=killed, **more)
    waiting = [{"name": "runner", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    there.run_pod(port.DEPLOYMENT, NAME, phase="Pending", containerStatuses=waiting)
    return there.settle()


def running(*, ready=False, said="", **container):
    """The runner runs, but its pod is not ready. `ready`: as the node reported last. `said`: what it says of the probe."""
    there = begun()
    status = {"name": "runner", "ready": ready, "state": {"running": {}}, **container}
    unready = [{"type": "Ready", "status": "False", "message": said}]
    pod = there.run_pod(port.DEPLOYMENT, NAME, phase="Running", containerStatuses=[status], conditions=unready)
    pod["spec"]["nodeName"] = "node-7"
    return there.settle()


def unschedulable():
    """No node has what the runner asks for."""
    there = begun()
    reported = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient cpu."}
    there.run_pod(port.DEPLOYMENT, NAME, phase="Pending", conditions=[reported])
    return there.settle()


def refused_pods():
    """The namespace does not allow such a pod."""
    there = begun()
    reported = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden: exceeded quota"}
    there.set_status(port.DEPLOYMENT, NAME, conditions=[reported])
    return there.settle()


class Case(msgspec.Struct):
    """`want_true`: the condition types that are True; reason and message are those of the first of Failed, Complete and Ready."""

    arrange: Callable[[], World]
    want_true: set[str]
    want_reason: str
    want_message: str = ""
    want_serving: bool = True


CASES = {
    "a new session starts": Case(begun, set(), "Starting", "0 of 1 replicas ready"),
    "one ready pod makes it ready": Case(lambda: serving(replicas=2), {"Ready"}, "PodsReady", "1 of 2 replicas ready"),
    "it is not ready when its last ready pod is lost": Case(
        lambda: serving().serve(NAME, ready=0), set(), "PodsNotReady", "0 of 1 replicas ready"
    ),
    "a pod that waits says what for": Case(lambda: waiting_for("ContainerCreating"), set(), "Starting", "ContainerCreating: details"),
    "an image that cannot be pulled ends it at once": Case(
        lambda: waiting_for("ErrImagePull", "not found"), {"Failed"}, "ImageNotRunnable", "not found", False
    ),
    "an image that a registry does not have, reported between two tries, ends it": Case(
        lambda: waiting_for(
            "ImagePullBackOff", 'Back-off pulling image "a": ErrImagePull: rpc error: code = NotFound desc = "a": not found'
        ),
        {"Failed"},
        "ImageNotRunnable",
        "not found",
        False,
    ),
    "a registry that does not let us in is tried again": Case(
        lambda: waiting_for("ErrImagePull", "failed to authorize: 403 Forbidden"), set(), "Starting", "403"
    ),
    "but only for a while": Case(
        lambda: waiting_for("ImagePullBackOff", "failed to authorize: 401 Unauthorized").after(seconds=301),
        {"Failed"},
        "ImageNotRunnable",
        "401 Unauthorized",
        False,
    ),
    "a registry that does not answer is tried again": Case(
        lambda: waiting_for("ImagePullBackOff", "dial tcp: i/o timeout"), set(), "Starting", "ImagePullBackOff: dial tcp: i/o timeout"
    ),
    "but not forever, and the last word is reported": Case(
        lambda: waiting_for("ImagePullBackOff", "dial tcp: i/o timeout").after(seconds=901),
        {"Failed"},
        "DeadlineExceeded",
        "i/o timeout",
        False,
    ),
    "an image that is not mapped ends it at once": Case(
        lambda: waiting_for("ErrImageNeverPull", "add it to pods.images"), {"Failed"}, "ImageNotRunnable", "add it to pods.images", False
    ),
    "a pod that does not fit on a node says what to do": Case(
        unschedulable, set(), "Starting", "Insufficient cpu.; request less, or add a"
    ),
    "and still does at the end": Case(
        lambda: unschedulable().after(seconds=901), {"Failed"}, "DeadlineExceeded", "Insufficient cpu.; request less, or add a", False
    ),
    "a Secret that is missing says what to do": Case(
        lambda: waiting_for("CreateContainerConfigError", 'secret "a" not found'), set(), "Starting", 'secret "a" not found; create what'
    ),
    "pods that may not be made say why": Case(refused_pods, set(), "Starting", "no pod can be made: forbidden: exceeded quota"),
    "an eviction says what it took": Case(evicted, set(), "Starting", "failed (Evicted); it took more than it may"),
    "three evictions are no accident": Case(
        lambda: evicted(3), {"Failed"}, "RunnerFailed", 'Usage of EmptyDir volume "scratch" exceeds the limit', False
    ),
    "but they are where the node was needed for something else": Case(
        lambda: evicted(3, conditions=[{"type": "DisruptionTarget", "status": "True"}]), set(), "Starting", "Evicted"
    ),
    "a runner that does not answer is named": Case(running, set(), "Starting", "runs and does not answer yet at port 8000, /ready"),
    "a runner that answers something else says what": Case(
        lambda: running(said="Readiness probe failed: GET /v1/health is answered with status 404"),
        set(),
        "Starting",
        "does not answer as it should at port 8000, /ready: Readiness probe failed: GET /v1/health is answered with status 404",
    ),
    "a runner that runs again says how it ended before": Case(
        lambda: running(lastState={"terminated": {"exitCode": 3, "reason": "Error", "message": "one\nno weights"}}),
        set(),
        "Starting",
        "ended with exit code 3: no weights",
    ),
    "a back-off says how it ended": Case(lambda: crashed(2), set(), "Starting", "it starts again; container runner of pod"),
    "a node that does not answer is named": Case(lambda: running(ready=True), set(), "Starting", "its node node-7 does not answer"),
    "two crashes may be accidents": Case(lambda: crashed(2), set(), "Starting", "CrashLoopBackOff"),
    "three crashes are not": Case(lambda: crashed(3), {"Failed"}, "RunnerFailed", "boom", False),
    "a runner out of memory says what to raise": Case(
        lambda: crashed(3, exit_code=137, reason="OOMKilled", words=""), {"Failed"}, "RunnerFailed", "raise the memory", False
    ),
    "a runner that was ready before may crash more often": Case(
        lambda: crashed(5, ready_before=True), set(), "PodsNotReady", "CrashLoopBackOff"
    ),
    "but not for ever": Case(
        lambda: crashed(5, ready_before=True).after(seconds=901), {"Failed"}, "RunnerFailed", "no replica was ready for 900 s", False
    ),
    "words that the status lacks come from the log, the last ones": Case(logged_elsewhere, {"Failed"}, "RunnerFailed", "line 999", False),
    "data that cannot be fetched ends it": Case(fetch_crashed, {"Failed"}, "FetchFailed", "no such bucket", False),
    "data that can never be fetched ends it at once": Case(fetch_refused, {"Failed"}, "FetchFailed", "no such model", False),
    "a pod that can never run here ends it": Case(invalid_here, {"Failed"}, "NotSupported", "'much' is not a quantity", False),
    "what starts too slowly ends with what it waited for": Case(
        lambda: waiting_for("ContainerCreating", "volume busy").after(seconds=901), {"Failed"}, "DeadlineExceeded", "volume busy", False
    ),
    "the deadline counts from the loss of readiness": Case(
        lambda: serving().after(hours=2).serve(NAME, ready=0).after(seconds=899), set(), "PodsNotReady"
    ),
    "a ready session has no deadline of its own": Case(lambda: serving().after(days=2), {"Ready"}, "PodsReady"),
    "it expires when it should": Case(
        lambda: serving(expires="2026-11-01T13:00:00Z").after(hours=1), {"Complete"}, "Expired", "2026-11-01T13:00:00", False
    ),
    "it expires even if it never was ready": Case(
        lambda: begun(expires="2026-11-01T12:01:00Z").after(minutes=1), {"Complete"}, "Expired", "", False
    ),
    "several nodes are refused": Case(lambda: begun(nodes=2), {"Failed"}, "NotSupported", "runner.nodes = 1", False),
    "a container without an image is refused": Case(lambda: begun(image=None), {"Failed"}, "NotSupported", "runner.image", False),
    "a cached model that is no cache is refused": Case(
        lambda: begun(runner="vllm", model=world.OTHER), {"Failed"}, "NotSupported", "HuggingFaceCache", False
    ),
    "a wrong field is refused by name": Case(lambda: begun(replicas=0), {"Failed"}, "SchemaError", "replicas", False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_states(case: Case):
    """Each state has its conditions; what has ended has no Deployment and no Service any more."""
    there = case.arrange()
    found = {kind: there.condition(registry.RESOURCE_BY_KIND["InferenceSession"], kind) for kind in ("Failed", "Complete", "Ready")}
    assert {kind for kind, each in found.items() if each and each["status"] == "True"} == case.want_true
    telling = next((found[kind] for kind in found if kind in case.want_true), found["Ready"])
    assert telling["reason"] == case.want_reason
    assert case.want_message in telling["message"]
    assert len(telling["message"].encode()) < 3000
    assert there.names() == {SESSION, *(SERVING if case.want_serving else ())}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_plan_that_was_applied_wants_nothing_more(case: Case):
    """In each state the next plan is empty; one that goes on looks again within the resync time, an ended one never."""
    there = case.arrange()
    decided = there.decide(REQUEST)
    assert decided.empty
    assert (decided.requeue_after_s is None) == (not case.want_serving)
    assert decided.requeue_after_s is None or 0 <= decided.requeue_after_s <= 30


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_deletion_leaves_nothing(case: Case):
    """A session that is being deleted gives up its Deployment and Service."""
    there = case.arrange()
    there.delete(kinds.INFERENCE_SESSION, NAME)
    assert there.settle().names() == {SESSION}
    assert there.living_pods() == []


def test_it_looks_again_when_it_expires():
    """The next look is at the next moment that matters, if that is sooner than the resync."""
    there = serving(expires="2026-11-01T12:00:20Z")
    assert there.decide(REQUEST).requeue_after_s == 20


def test_the_first_readiness_is_remembered():
    """`readySince` is the moment of the first ready pod, whatever happens later."""
    there = begun().after(seconds=40).serve(NAME)
    first = clock.iso(there.now)
    there.after(seconds=40).serve(NAME, ready=0).after(seconds=40).serve(NAME)
    assert there.get(kinds.INFERENCE_SESSION, NAME)["status"]["readySince"] == first


def test_what_is_removed_by_hand_comes_back():
    """A Deployment, Service or NetworkPolicy that someone deletes is created again."""
    there = serving()
    there.delete(port.DEPLOYMENT, NAME)
    there.delete(port.SERVICE, NAME)
    there.delete(port.NETWORK_POLICY, NAME)
    assert there.settle().names() == {SESSION, *SERVING}


def test_an_ended_session_never_comes_back():
    """After Failed nothing is created again, even if the cause is gone."""
    there = begun(nodes=2)
    there.get(kinds.INFERENCE_SESSION, NAME)["spec"]["nodes"] = 1
    assert there.settle().names() == {SESSION}


def test_every_kind_of_runner_is_known():
    """Each that a request may name has a row in the table of runners, or is listed as one that runs as it is given."""
    (kinds_of,) = (field.type for field in msgspec.structs.fields(inference_service.InferenceServiceRunner) if field.name == "kind")
    fix = "add a row to TABLE in dyff/operator/manifests/runners.py, or its name to AS_GIVEN there"
    assert set(get_args(kinds_of)) == {*runners.TABLE, *runners.AS_GIVEN}, fix
