"""An evaluation's plans: what happens in which phase, how it fails, and that every plan comes to rest."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from dyff.cluster import port
from dyff.entities import registry
from dyff.kernel import clock
from dyff.operator import jobs, plan, reasons, steps
from dyff.operator.manifests import metadata
from tests import kinds
from tests.planning import world
from tests.planning.evaluations import CLIENT, SALVAGE, VERIFY, begun, inferring, verifying, with_reference
from tests.planning.world import ID, OTHER, World

SESSION = f"eval-{ID}-infer"


def published(there):
    """What was completed is published, if there may be something."""
    there.end_pods()
    there.settle()
    if there.get(port.JOB, SALVAGE) is not None:
        there.end_job("salvage").settle()
    return there


class Case(msgspec.Struct):
    """`arrange`: makes the world. `want`: condition type that is True, if any. `want_message`: a part of its message."""

    arrange: Callable[[], World]
    want: str | None = None
    want_reason: str = ""
    want_message: str = ""
    want_objects: set[str] = set()


EVALUATION = "Evaluation eval-ID"
STEP = {f"{kind} eval-ID-{step}" for kind in ("Job", "ConfigMap") for step in ("client",)}
STEPS = STEP | {"Job eval-ID-verify", "ConfigMap eval-ID-verify"}
SALVAGED = {"Job eval-ID-salvage", "ConfigMap eval-ID-salvage"}
SERVING = {"InferenceSession eval-ID-infer", "NetworkPolicy eval-ID-infer", "Deployment eval-ID-infer", "Service eval-ID-infer"}
OTHERS = {f"{kind} session-OTHER" for kind in ("InferenceSession", "NetworkPolicy", "Deployment", "Service")}


def pulled_never():
    return inferring_with_pod(state={"waiting": {"reason": "ErrImageNeverPull", "message": "map it in pods.images"}})


def inferring_with_pod(**container):
    there = begun()
    there.show_pods(SESSION, **container)
    return there


def client_image_missing():
    there = begun()
    waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "map it"}}
    there.run_pod(port.JOB, CLIENT, phase="Pending", containerStatuses=[{"name": "step", "state": waiting}])
    return there.settle()


def client_killed_for_memory():
    there = inferring()
    for pod in there.pods("client"):
        pod["status"] = {
            "phase": "Failed",
            "containerStatuses": [{"name": "step", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}],
        }
    there.set_status(port.JOB, CLIENT, conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
    return there.settle()


def client_late():
    there = inferring()
    return there.end_job("client", exit_code=143, failed="DeadlineExceeded")


def reference_lost_early():
    return World(world.an_evaluation_of_a_running_session()).settle().after(seconds=901)


def reference_lost_midway():
    there = with_reference()
    there.patch(kinds.INFERENCE_SESSION, f"session-{OTHER}", {"metadata": {"finalizers": []}})
    there.delete(kinds.INFERENCE_SESSION, f"session-{OTHER}")
    return there.settle()


def reference_failed():
    there = World(world.an_evaluation_of_a_running_session(), world.a_session(OTHER, nodes=2))
    return there.settle()


def session_expired():
    there = World(world.an_evaluation({"expires": "2026-11-01T13:00:00Z"})).settle().serve()
    return there.after(hours=1)


FAILED = {EVALUATION}
CASES = {
    "a new evaluation makes session, client and manifest": Case(begun, want_objects={EVALUATION, *SERVING, *STEP}),
    "while the client runs everything stays": Case(inferring, want_objects={EVALUATION, *SERVING, *STEP}),
    "after the client the session goes and the verification comes": Case(verifying, want_objects={EVALUATION, *STEPS}),
    "after the verification it is complete and its Jobs stay for their logs": Case(
        lambda: verifying().end_job("verify"), "Complete", "Complete", want_objects={EVALUATION, *STEPS}
    ),
    "a running session is used and left alone": Case(
        with_reference,
        want_objects={EVALUATION, *STEP, *OTHERS},
    ),
    "an evaluation of a running session completes and leaves the session": Case(
        lambda: with_reference().end_job("client").end_job("verify"),
        "Complete",
        "Complete",
        want_objects={EVALUATION, *STEPS, *OTHERS},
    ),
    "items without output are Incomplete": Case(
        lambda: inferring().end_job("client", exit_code=20, words="3 of 9 missing"),
        "Failed",
        "Incomplete",
        "3 of 9 missing",
        {EVALUATION, *STEP},
    ),
    "outputs that cannot be stored fail the inference": Case(
        lambda: inferring().end_job("client", exit_code=10, words="disk full"),
        "Failed",
        "InferenceFailed",
        "disk full",
        {EVALUATION, *STEP},
    ),
    "a refused item fails the inference and says how to go on": Case(
        lambda: inferring().end_job("client", exit_code=76), "Failed", "InferenceFailed", "client.badRequestPolicy", {EVALUATION, *STEP}
    ),
    "a manifest that the client cannot use is a SchemaError": Case(
        lambda: inferring().end_job("client", exit_code=78, words="endpoint: is missing"), "Failed", "SchemaError", "endpoint: is missing"
    ),
    "a client that crashes fails the inference with its last words": Case(
        lambda: inferring().end_job("client", exit_code=1, words="Traceback: boom"),
        "Failed",
        "InferenceFailed",
        "boom",
        {EVALUATION, *STEP},
    ),
    "a client out of memory says what to raise": Case(
        client_killed_for_memory, "Failed", "InferenceFailed", "raise the memory", {EVALUATION, *STEP}
    ),
    "a client that is too slow says what to raise": Case(
        client_late, "Failed", "DeadlineExceeded", "client.totalTimeoutSeconds", {EVALUATION, *STEP}
    ),
    "a client that its own deadline did not end is ended by us": Case(
        lambda: inferring().after(seconds=900 + 7200 + 300 + 61), "Failed", "DeadlineExceeded", "8400 s"
    ),
    "a steps image that cannot be run fails at once": Case(client_image_missing, "Failed", "ImageNotRunnable", "map it"),
    "a service image that cannot be run fails at once": Case(pulled_never, "Failed", "ImageNotRunnable", "map it in pods.images"),
    "a failed session fails the evaluation with its reason": Case(
        lambda: begun().after(seconds=901), "Failed", "DeadlineExceeded", "no replica was ready for 900 s"
    ),
    "a session that expires midway fails the evaluation": Case(session_expired, "Failed", "SessionExpired", "`expires`"),
    "missing outputs found by the verification are Incomplete": Case(
        lambda: verifying().end_job("verify", exit_code=2), "Failed", "Incomplete", "are missing", {EVALUATION, *STEPS}
    ),
    "missing outputs and duplicates are Incomplete": Case(
        lambda: verifying().end_job("verify", exit_code=6), "Failed", "Incomplete", "are there twice", {EVALUATION, *STEPS}
    ),
    "duplicates fail the verification": Case(
        lambda: verifying().end_job("verify", exit_code=4), "Failed", "VerificationFailed", "are there twice", {EVALUATION, *STEPS}
    ),
    "an output error fails the verification": Case(
        lambda: verifying().end_job("verify", exit_code=1, words="no space"),
        "Failed",
        "VerificationFailed",
        "no space",
        {EVALUATION, *STEPS},
    ),
    "a reference to no session fails after a while": Case(
        reference_lost_early, "Failed", "SessionNotFound", "inferenceSessionReference", {EVALUATION}
    ),
    "a session that is ended midway fails its evaluations": Case(
        reference_lost_midway, "Failed", "SessionExpired", "was ended", {EVALUATION, "ConfigMap eval-ID-client"}
    ),
    "a reference to a failed session fails with its reason": Case(reference_failed, "Failed", "NotSupported", "nodes"),
    "a spec that names no session is refused": Case(
        lambda: World(world.an_evaluation(inferenceSessionReference=OTHER)).settle(), "Failed", "SchemaError", "exactly one", {EVALUATION}
    ),
    "a wrong field is refused by name": Case(
        lambda: World(world.an_evaluation(client={"totalTimeoutSeconds": "long"})).settle(),
        "Failed",
        "SchemaError",
        "client.totalTimeoutSeconds",
        {EVALUATION},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_phases(case: Case):
    """Each phase has its objects and its conditions, and ends in at most one of Complete and Failed."""
    there = published(case.arrange()) if case.want == "Failed" else case.arrange()
    found = {kind: there.condition(registry.RESOURCE_BY_KIND["Evaluation"], kind) for kind in ("Complete", "Failed")}
    assert {kind for kind, condition in found.items() if condition["status"] == "True"} == ({case.want} if case.want else set())
    if case.want:
        assert found[case.want]["reason"] == case.want_reason
        assert case.want_message in found[case.want]["message"]
        assert there.unfinished_jobs() == []
    if case.want_objects:
        assert there.names() - SALVAGED == case.want_objects


@pytest.mark.parametrize("arrange", [case.arrange for case in CASES.values()], ids=CASES)
def test_a_plan_that_was_applied_wants_nothing_more(arrange):
    """After apply the next plan is empty, now and a second later, and a rest that is not the end names its next look."""
    there = arrange()
    for request in there.requests():
        for _ in range(2):
            decided = there.decide(request)
            assert decided.empty
            finished = any(
                there.condition(registry.RESOURCE_BY_KIND["Evaluation"], kind)["status"] == "True" for kind in ("Complete", "Failed")
            )
            if request.kind == "Evaluation":
                assert (decided.requeue_after_s is None) == finished
            there.now = there.now.replace(microsecond=there.now.microsecond + 1)


@pytest.mark.parametrize("arrange", [case.arrange for case in CASES.values()], ids=CASES)
def test_deletion_leaves_nothing(arrange):
    """Wherever it is, a deleted evaluation gives up all its parts, its pods first, and then itself."""
    there = arrange()
    there.delete(kinds.EVALUATION, f"eval-{ID}")
    for _ in range(5):
        there.settle()
        for pod in there.pods("client") + there.pods("verify"):
            assert not there.living_pods() or pod["metadata"]["name"] not in there.living_pods()
    assert [name for name in there.names() if "eval-ID-" in name] == []
    there.patch(kinds.EVALUATION, f"eval-{ID}", {"metadata": {"finalizers": []}})
    assert [name for name in there.settle().names() if "eval-ID" in name] == []


def test_a_waiting_evaluation_says_what_it_waits_for():
    """The message of Complete=False follows the phase, and names the session's own message."""
    there = begun()
    waits = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")
    assert "waits to start" in waits["message"]
    assert "0 of 1 replicas ready" in waits["message"]
    there.show_pods(SESSION, state={"waiting": {"reason": "ContainerCreating"}})
    assert "ContainerCreating" in there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")["message"]
    there = verifying()
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")["message"] == "the verification is running"
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")["reason"] == reasons.UNVERIFIED


def test_the_client_learns_the_address_and_its_whole_spec():
    """The client's manifest holds the evaluation's spec and the session's address, the verifier's only the spec."""
    there = verifying()
    spec = there.get(kinds.EVALUATION, f"eval-{ID}")["spec"]
    manifests = {name: json.loads(there.get(port.CONFIG_MAP, name)["data"]["manifest.json"]) for name in (CLIENT, VERIFY)}
    assert manifests == {CLIENT: {"spec": spec, "session": {"url": f"http://{SESSION}:80"}}, VERIFY: {"spec": spec}}


def test_the_client_of_a_running_session_learns_its_replicas():
    """How many workers are of use depends on the session, which the evaluation's own spec does not describe."""
    there = World(world.an_evaluation_of_a_running_session(), world.a_session(OTHER, replicas=3)).settle()
    manifest = json.loads(there.get(port.CONFIG_MAP, CLIENT)["data"]["manifest.json"])
    assert manifest["session"] == {"url": f"http://session-{OTHER}:80", "replicas": 3}


def test_a_changed_address_reaches_the_manifest():
    """If the session's Service was made again elsewhere, the next attempt of the client must find it."""
    there = inferring()
    there.get(port.CONFIG_MAP, CLIENT)["data"] = {"manifest.json": '{"session":{"url":"http://old"}}'}
    there.settle()
    assert f"http://{SESSION}:80" in there.get(port.CONFIG_MAP, CLIENT)["data"]["manifest.json"]


def test_the_outcome_is_recorded_before_the_job_may_go():
    """In no state does a finished Job lose our finalizer without its outcome being in the status."""
    there = inferring()
    there.set_status(port.JOB, CLIENT, conditions=[{"type": "Complete", "status": "True"}])
    decided = there.decide(plan.Request("Evaluation", f"eval-{ID}"))
    released = [action for action in decided.actions if isinstance(action, plan.Patch) and action.kind == port.JOB]
    assert [action.patch["metadata"]["finalizers"] for action in released] == [[]]
    assert decided.status_patch["steps"] == {"client": "Succeeded"}


def test_a_recorded_outcome_outlives_its_job():
    """Once recorded, the client's success stands even if its Job is removed by a time limit."""
    there = verifying()
    there.delete(port.JOB, CLIENT)
    there.settle()
    assert there.get(port.JOB, CLIENT) is None
    there.end_job("verify")
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")["status"] == "True"


def test_a_deleted_job_is_started_again_when_its_pods_are_gone():
    """Someone deletes the running client: its pods go first, then it, then it starts again."""
    there = inferring()
    old = there.get(port.JOB, CLIENT)["metadata"]["uid"]
    there.delete(port.JOB, CLIENT)
    there.settle()
    assert there.get(port.JOB, CLIENT)["metadata"]["uid"] != old
    assert there.living_pods() == []


def test_a_deleted_job_whose_pod_does_not_end_is_held():
    """While a pod of a lost node may still write, its Job keeps our finalizer and nothing new is started."""
    there = inferring()
    [pod] = there.pods("client")
    pod["metadata"]["finalizers"] = ["a lost node"]
    there.delete(port.JOB, CLIENT)
    there.settle()
    assert there.get(port.JOB, CLIENT)["metadata"]["finalizers"] == [metadata.FINALIZER]
    assert there.get(port.JOB, CLIENT)["metadata"]["deletionTimestamp"]
    there.patch(port.POD, pod["metadata"]["name"], {"metadata": {"finalizers": []}})
    there.settle()
    assert "deletionTimestamp" not in there.get(port.JOB, CLIENT)["metadata"]


def test_jobs_of_a_resource_that_is_gone_are_seen_off():
    """The parent was removed by force: its Jobs' pods are deleted, then our finalizer."""
    there = inferring()
    there.patch(kinds.EVALUATION, f"eval-{ID}", {"metadata": {"finalizers": []}})
    there.delete(kinds.EVALUATION, f"eval-{ID}")
    assert there.get(port.JOB, CLIENT) is not None
    there.settle()
    assert there.names() == set()
    assert there.living_pods() == []


def test_an_older_job_of_the_same_name_is_not_mistaken_for_ours():
    """A Job that an earlier resource of the name left behind is seen off before ours starts; its outcome is not used."""
    there = inferring()
    there.set_status(port.JOB, CLIENT, conditions=[{"type": "Complete", "status": "True"}])
    there.get(port.JOB, CLIENT)["metadata"]["ownerReferences"][0]["uid"] = "older"
    there.delete(port.JOB, CLIENT)
    there.settle()
    assert there.get(port.JOB, CLIENT)["metadata"]["ownerReferences"][0]["uid"] != "older"
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")["reason"] == reasons.INFERENCE


def test_a_name_that_is_taken_ends_the_evaluation():
    """What is not ours is never used and never deleted."""
    there = World(world.an_evaluation())
    stranger = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": CLIENT, "labels": {}}, "spec": {}}
    there.create(port.JOB, stranger)
    there.settle()
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Failed")["reason"] == reasons.NAME_TAKEN
    assert there.names() == {EVALUATION, "Job eval-ID-client"}


def test_transition_times_follow_the_status_alone():
    """A new message keeps lastTransitionTime, a new status changes it; observedGeneration is always there."""
    there = begun()
    first = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")
    there.after(seconds=60).serve()
    second = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")
    assert second["message"] != first["message"]
    assert second["lastTransitionTime"] == first["lastTransitionTime"] == clock.iso(world.START)
    there.end_job("client")
    there.end_job("verify")
    last = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")
    assert last["lastTransitionTime"] == clock.iso(there.now)
    assert last["observedGeneration"] == 1


def test_other_conditions_are_left_alone():
    """A condition that someone else maintains stays as it is."""
    there = begun()
    evaluation = there.get(kinds.EVALUATION, f"eval-{ID}")
    evaluation["status"]["conditions"].append({"type": "Admitted", "status": "True", "reason": "Quota", "message": ""})
    there.serve()
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Admitted")["reason"] == "Quota"
    assert len(evaluation["status"]["conditions"]) == 3


def test_the_message_has_what_the_client_retries():
    """The last line of a running client is a part of the message if it says what it retries or waits for, and otherwise not."""
    there = inferring()
    (request,) = [each for each in there.requests() if each.kind == "Evaluation"]
    (pod,) = there.pods("client")

    def message(line):
        observed = msgspec.structs.replace(there.observe(request), says={pod["metadata"]["name"]: line})
        return jobs.progress(observed, steps.CLIENT)

    assert message("no calls until noon: the service asks for a pause") == (
        "the evaluation client is running: no calls until noon: the service asks for a pause"
    )
    said = "retry: index=7 replication=r failures=7 errors=9 next=2026-01-01T00:00:30Z reason=status 500"
    assert message(said) == f"the evaluation client is running: {said}"
    assert message("all calls succeed again") == "the evaluation client is running"
