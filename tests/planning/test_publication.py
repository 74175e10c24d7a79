"""What a failed evaluation completed is published: when, and what it says if that fails, too."""

from __future__ import annotations

from dyff.cluster import port
from dyff.entities import registry
from dyff.operator import plan, reasons
from dyff.operator.kinds import table
from tests import kinds
from tests.narrowing import sure
from tests.planning.evaluations import CLIENT, SALVAGE, inferring, with_reference
from tests.planning.world import ID, OTHER


def test_what_was_completed_is_published_before_the_end():
    """A failed client is recorded; then, without session, its outputs are published as incomplete; only then the evaluation has failed."""
    there = inferring().end_job("client", exit_code=20, words="3 of 9 missing").settle()
    condition = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Complete")
    assert (condition["status"], condition["reason"]) == ("False", reasons.UNVERIFIED)
    assert "is being published" in condition["message"]
    assert "3 of 9 missing" in condition["message"]
    assert there.names() == {
        "Evaluation eval-ID",
        *(f"{kind} eval-ID-{step}" for kind in ("Job", "ConfigMap") for step in ("client", "salvage")),
    }
    args = there.get(port.JOB, SALVAGE)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[0] == "publish-incomplete-output"
    there.end_job("salvage").settle()
    failed = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Failed")
    assert (failed["status"], failed["reason"]) == ("True", "Incomplete")
    assert failed["message"].endswith("3 of 9 missing")


def test_a_publication_that_fails_keeps_the_reason():
    """The evaluation fails for its first reason, and the message has the second."""
    there = inferring().end_job("client", exit_code=20, words="3 of 9 missing").settle()
    there.end_job("salvage", exit_code=75, words="the store does not answer").settle()
    failed = there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Failed")
    assert failed["reason"] == "Incomplete"
    assert "3 of 9 missing" in failed["message"]
    assert "could not be published: the publication of incomplete outputs: the store does not answer" in failed["message"]


def test_a_publication_that_cannot_begin_keeps_the_reason_too():
    """If the API server refuses one of its parts: that the client has failed counts more."""
    there = inferring().end_job("client", exit_code=20, words="3 of 9 missing").settle()
    observed = there.observe(plan.Request("Evaluation", f"eval-{ID}"))
    refused = table.refused(observed, "exceeded quota", there.now, reasons.REFUSED)
    (failed,) = [each for each in sure(refused.status_patch)["conditions"] if each["type"] == "Failed"]
    assert (failed["status"], failed["reason"]) == ("True", "Incomplete")
    assert failed["message"].endswith("3 of 9 missing\nWhat was completed could not be published: exceeded quota")


def stopping():
    """The session is lost, and the pod of the client does not end."""
    there = with_reference()
    there.run_pod(port.JOB, CLIENT)["metadata"]["finalizers"] = ["node.example/lost"]
    there.patch(kinds.INFERENCE_SESSION, f"session-{OTHER}", {"metadata": {"finalizers": []}})
    there.delete(kinds.INFERENCE_SESSION, f"session-{OTHER}")
    return there.settle()


def test_nothing_is_published_while_a_client_writes():
    """If the session is lost, the client is stopped, and the publication begins when its pod has ended."""
    there = stopping()
    assert there.get(port.JOB, SALVAGE) is None
    there.end_pods().settle()
    assert there.unfinished_jobs() == [SALVAGE]


def test_a_pod_that_does_not_end_delays_the_publication_for_a_minute():
    """A lost node keeps its pods; the evaluation ends nevertheless."""
    there = stopping().after(seconds=61)
    assert there.get(port.JOB, SALVAGE) is not None
    there.end_job("salvage").settle()
    assert there.condition(registry.RESOURCE_BY_KIND["Evaluation"], "Failed")["status"] == "True"
