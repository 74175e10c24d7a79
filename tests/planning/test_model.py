"""A model's plans: fetch it, once, and say how that went."""

from __future__ import annotations

import json

import pytest

from dyff.cluster import port
from dyff.entities import registry
from dyff.kernel import settings
from dyff.operator import plan
from dyff.workflows import addresses
from tests.planning import world
from tests.planning.world import ID, World

REQUEST = plan.Request("Model", f"model-{ID}")
FETCH = f"model-{ID}-fetch"
PARTS = {"Model model-ID", "Job model-ID-fetch", "ConfigMap model-ID-fetch"}


def begun():
    """Created and looked at."""
    return World(world.a_model(resources={"storage": "1Gi", "memory": "2Gi"})).settle()


def test_a_model_is_fetched_by_a_job_with_its_spec():
    """The Job gets the whole spec as its manifest and asks for the memory that the model names."""
    there = begun()
    assert there.names() == PARTS
    manifest = json.loads(there.get(port.CONFIG_MAP, FETCH)["data"]["manifest.json"])
    assert manifest["spec"]["source"]["huggingFaceHub"]["repoID"] == "acme/tiny"
    [container] = there.get(port.JOB, FETCH)["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["fetch-model", "--manifest", "/dyff/manifest/manifest.json"]
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "2Gi", "ephemeral-storage": "64Mi"}


def test_only_the_fetch_gets_the_fetchs_environment():
    """`operator.fetch_env` and `fetch_secret` are in the Job of a fetch; a secret's value is in no manifest."""
    chosen = settings.Operator(fetch_env={"HF_ENDPOINT": "http://hub"}, fetch_secret="hub-token")
    there = World(world.a_model(), setup=plan.Setup(chosen, {"DYFF_STORAGE_URL": "file:///store"})).settle()
    [container] = there.get(port.JOB, FETCH)["spec"]["template"]["spec"]["containers"]
    assert {"name": "HF_ENDPOINT", "value": "http://hub"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "hub-token"}}]
    [other] = begun().get(port.JOB, FETCH)["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in other


def test_the_fetch_knows_which_internal_hosts_are_allowed():
    """`operator.fetch_allowed_hosts` reaches the program that fetches, whatever else its environment has."""
    chosen = settings.Operator(fetch_env={"DYFF_FETCH_ALLOWED_HOSTS": "theirs"}, fetch_allowed_hosts=("hub.internal", "10.0.0.7"))
    there = World(world.a_model(), setup=plan.Setup(chosen, {"DYFF_STORAGE_URL": "file:///store"})).settle()
    [container] = there.get(port.JOB, FETCH)["spec"]["template"]["spec"]["containers"]
    given = [each["value"] for each in container["env"] if each["name"] == addresses.VARIABLE]
    assert given == ["hub.internal,10.0.0.7"]


ENDINGS = {
    "fetched": ({"exit_code": 0}, "Complete", "Complete", ""),
    "a crash": ({"exit_code": 1, "words": "no such repository"}, "Failed", "FetchFailed", "no such repository"),
    "a wrong source": ({"exit_code": 78, "words": "source.kind: is missing"}, "Failed", "SchemaError", "source.kind"),
    "too slow": ({"exit_code": 143, "failed": "DeadlineExceeded"}, "Failed", "DeadlineExceeded", "operator.job_deadline_s"),
}


@pytest.mark.parametrize(("ending", "want", "want_reason", "want_message"), ENDINGS.values(), ids=ENDINGS)
def test_endings(ending, want, want_reason, want_message):
    """The outcome of the Job is that of the model, it is recorded before the Job is let go, and nothing more is planned."""
    there = begun().end_job("fetch", prefix="model", **ending)
    found = there.condition(registry.RESOURCE_BY_KIND["Model"], want)
    assert (found["status"], found["reason"]) == ("True", want_reason)
    assert want_message in found["message"]
    assert there.names() == PARTS
    assert there.get(port.JOB, FETCH)["metadata"]["finalizers"] == []
    assert there.decide(REQUEST) == plan.Plan()


@pytest.mark.parametrize(
    ("condition", "want"),
    [
        (
            {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"},
            "reached the specified backoff limit",
        ),
        ({"reason": "BackoffLimitExceeded"}, "failed: BackoffLimitExceeded. Create it again"),
        ({}, "failed: its pods are gone. Create it again"),
    ],
)
def test_a_step_whose_pods_are_gone_fails_with_what_is_known(condition, want):
    """As when a node was removed with its pods: the Job says that it failed, and nothing shows why."""
    there = begun()
    there.set_status(port.JOB, FETCH, conditions=[{"type": "Failed", "status": "True", **condition}])
    found = there.settle().condition(registry.RESOURCE_BY_KIND["Model"], "Failed")
    assert (found["status"], found["reason"]) == ("True", "FetchFailed")
    assert want in found["message"]


def test_a_model_that_waits_says_what_for():
    """Complete=False carries what the fetch waits for."""
    there = begun()
    there.run_pod(port.JOB, FETCH, phase="Pending", message="waiting for a free job slot")
    message = there.settle().condition(registry.RESOURCE_BY_KIND["Model"], "Complete")["message"]
    assert message == f"the fetch waits to start (pod {there.pods()[0]['metadata']['name']}: waiting for a free job slot)"


def late(there, *, pods_gone=True):
    """The Job's controller has decided that it is too late; its pods end."""
    if pods_gone:
        for pod in there.pods():
            there.delete(port.POD, pod["metadata"]["name"])
    target = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}
    there.set_status(port.JOB, FETCH, failed=1, conditions=[target])
    return there.settle()


def test_a_deadline_reports_what_the_pods_waited_for():
    """The pods that could say why are removed with the deadline: their last words are reported, and the Job keeps its end and its log."""
    there = begun()
    reported = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient cpu."}
    there.run_pod(port.JOB, FETCH, phase="Pending", conditions=[reported])
    found = late(there.settle()).condition(registry.RESOURCE_BY_KIND["Model"], "Failed")
    assert (found["status"], found["reason"]) == ("True", "DeadlineExceeded")
    assert "Insufficient cpu.; request less, or add a node that has it" in found["message"]
    assert "deletionTimestamp" not in there.get(port.JOB, FETCH)["metadata"]
    assert there.get(port.JOB, FETCH)["metadata"]["finalizers"]
    there.set_status(port.JOB, FETCH, conditions=[{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}])
    assert there.settle().get(port.JOB, FETCH)["metadata"]["finalizers"] == []


def test_a_pod_that_is_asked_to_end_does_not_hide_what_it_waited_for():
    """The kubelet forgets the reason when the pod is deleted; the status and the end by the deadline keep it."""
    there = begun()
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "storage" not found'}}
    pod = there.run_pod(port.JOB, FETCH, phase="Pending", containerStatuses=[{"name": "step", "state": waiting}])
    there.settle()
    pod["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    assert 'secret "storage" not found' in there.settle().condition(registry.RESOURCE_BY_KIND["Model"], "Complete")["message"]
    assert 'secret "storage" not found' in late(there, pods_gone=False).condition(registry.RESOURCE_BY_KIND["Model"], "Failed")["message"]


def test_a_node_that_does_not_answer_is_named():
    """While the pod of a lost node seems to run, and when the deadline comes, which nobody there notices."""
    there = begun()
    status = [{"name": "step", "ready": True, "state": {"running": {}}}]
    pod = there.run_pod(port.JOB, FETCH, phase="Running", containerStatuses=status, conditions=[{"type": "Ready", "status": "False"}])
    pod["spec"]["nodeName"] = "node-7"
    assert "(pod " in there.settle().condition(registry.RESOURCE_BY_KIND["Model"], "Complete")["message"]
    assert "its node node-7 does not answer" in there.condition(registry.RESOURCE_BY_KIND["Model"], "Complete")["message"]
    assert (
        "its node node-7 does not answer" in late(there, pods_gone=False).condition(registry.RESOURCE_BY_KIND["Model"], "Failed")["message"]
    )


def test_attempts_are_counted():
    """While another try runs or is to come, the failed ones are reported with the last line of the last; also one whose pod is gone."""
    there = begun()
    ended = [{"name": "step", "state": {"terminated": {"exitCode": 75, "message": "a\nthe hub does not answer"}}}]
    there.run_pod(port.JOB, FETCH, phase="Failed", containerStatuses=ended)
    reported = there.settle().condition(registry.RESOURCE_BY_KIND["Model"], "Complete")["message"]
    assert reported.startswith("the fetch waits to start (after 1 failed attempt; the last: container step of pod")
    assert reported.endswith("ended with exit code 75: the hub does not answer)")
    there = begun()
    there.set_status(port.JOB, FETCH, failed=2)
    there.run_pod(port.JOB, FETCH, phase="Running")
    reported = there.settle().condition(registry.RESOURCE_BY_KIND["Model"], "Complete")["message"]
    assert reported == "the fetch is running (after 2 failed attempts; the last was stopped and its pod removed)"


def test_a_model_without_a_source_is_refused():
    """A spec that lacks what is needed fails with the field's name."""
    model = world.a_model()
    del model["spec"]["source"]
    found = World(model).settle().condition(registry.RESOURCE_BY_KIND["Model"], "Failed")
    assert found["reason"] == "SchemaError"
    assert "`source`" in found["message"]
