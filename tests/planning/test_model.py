"""A model's plans: fetch it, once, and say how that went."""

from __future__ import annotations

import json

import pytest

from dyff.cluster import port
from dyff.entities import resources
from dyff.kernel import settings
from dyff.operator import plan
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
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "2Gi"}


def test_only_the_fetch_gets_the_fetchs_environment():
    """`operator.fetch_env` and `fetch_secret` are in the Job of a fetch; a secret's value is in no manifest."""
    chosen = settings.Operator(fetch_env={"HF_ENDPOINT": "http://hub"}, fetch_secret="hub-token")
    there = World(world.a_model(), setup=plan.Setup(chosen, {"DYFF_STORAGE_URL": "file:///store"})).settle()
    [container] = there.get(port.JOB, FETCH)["spec"]["template"]["spec"]["containers"]
    assert {"name": "HF_ENDPOINT", "value": "http://hub"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "hub-token"}}]
    [other] = begun().get(port.JOB, FETCH)["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in other


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
    found = there.condition(resources.MODEL, want)
    assert (found["status"], found["reason"]) == ("True", want_reason)
    assert want_message in found["message"]
    assert there.names() == PARTS
    assert there.get(port.JOB, FETCH)["metadata"]["finalizers"] == []
    assert there.decide(REQUEST) == plan.Plan()


def test_a_model_that_waits_says_what_for():
    """Complete=False carries what the fetch waits for."""
    there = begun()
    there.run_pod(port.JOB, FETCH, phase="Pending", message="waiting for a free job slot")
    message = there.settle().condition(resources.MODEL, "Complete")["message"]
    assert message == f"the fetch waits to start (pod {there.pods()[0]['metadata']['name']}: waiting for a free job slot)"


def test_a_model_without_a_source_is_refused():
    """A spec that lacks what is needed fails with the field's name."""
    model = world.a_model()
    del model["spec"]["source"]
    found = World(model).settle().condition(resources.MODEL, "Failed")
    assert found["reason"] == "SchemaError"
    assert "`source`" in found["message"]
