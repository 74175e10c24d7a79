"""The operator on a real API server with policies, a quota and a role of its own that refuse some objects."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest

from dyff.cluster import conditions, port
from dyff.cluster.kubernetes import Connection
from dyff.cluster.kubernetes.connecting import Access
from dyff.cluster.kubernetes.requests import Requests
from dyff.kernel import errors
from tests.conftest import missing
from tests.contracts.cluster import namespaces
from tests.narrowing import sure
from tests.roles import operated
from tests.roles.test_operator_and_answers import MODEL, a_model

pytestmark = pytest.mark.engines

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
WORDS = "jobs of this team need an owner"


@pytest.fixture
async def there():
    """A namespace with a kubelet that plays along, and plain requests to its API server."""
    kubeconfig = os.environ.get("DYFF_TEST_KUBECONFIG")
    if not kubeconfig:
        missing("no Kubernetes: DYFF_TEST_KUBECONFIG is not set; start one with make services, or run make test-engines")
    async with namespaces.fresh(sure(kubeconfig)) as cluster:
        access = await Access.open(Connection(kubeconfig=kubeconfig, namespace=cluster.namespace))
        try:
            async with operated.Operated.open(cluster) as opened:
                opened.requests = Requests(access, 15.0)
                yield opened
        finally:
            await access.close()


@asynccontextmanager
async def policy(there, job, reason):
    """A ValidatingAdmissionPolicy that refuses one Job, in force."""
    name = f"dyff-{there.cluster.namespace}"
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"object.metadata.name != '{job}'", "message": WORDS, "reason": reason}],
    }
    only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": there.cluster.namespace}}}
    send, about = there.requests.send, {"metadata": {"name": name}}
    await send("POST", POLICIES, what="making a policy", body={**about, "spec": spec})
    binding = {**about, "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": only}}
    await send("POST", BINDINGS, what="binding it", body=binding)
    try:
        path = f"/apis/batch/v1/namespaces/{there.cluster.namespace}/jobs"
        pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
        probe = {"metadata": {"name": job}, "spec": {"template": {"spec": pod}}}

        async def in_force():
            try:
                await send("POST", path, what="trying", body=probe, query={"dryRun": "All"})
            except (errors.Refused, errors.InvalidFields) as error:
                return WORDS in error.message
            return False

        await there.until("a policy in force", in_force)
        yield
    finally:
        for each in (BINDINGS, POLICIES):
            await send("DELETE", f"{each}/{name}", what="removing it")


async def refused(there, entity_id, words):
    """Wait until the status says it, while the resource continues."""

    async def check():
        found = conditions.true_condition(await there.get(MODEL, entity_id), "Refused")
        return found is not None and words in found["message"]

    await there.until("a status that says what is refused", check)
    assert not conditions.finished(await there.get(MODEL, entity_id))


async def test_a_policy_that_refuses_one_job(there):
    """With 403: the model says why and others complete; when the policy is gone it completes, too."""
    (refused_id, resource, job), (other_id, other, _) = a_model(1), a_model(2)
    async with there.operator():
        async with policy(there, job, "Forbidden"):
            await there.create(resource)
            await refused(there, refused_id, WORDS)
            await there.create(other)
            assert (await there.ended(MODEL, other_id))["type"] == "Complete"
        assert (await there.ended(MODEL, refused_id))["type"] == "Complete"


@pytest.mark.parametrize(("reason", "want"), [("Forbidden", "Refused"), ("RequestEntityTooLarge", "Refused"), ("Invalid", "SchemaError")])
async def test_a_policy_that_stays(there, reason, want):
    """The model fails with the words of the policy, whatever code it answers with; `Invalid` at once."""
    entity_id, resource, job = a_model(1)
    async with policy(there, job, reason), there.operator(refusal_patience_s=2.0):
        await there.create(resource)
        ended = await there.ended(MODEL, entity_id)
    assert (ended["type"], ended["reason"]) == ("Failed", want)
    assert WORDS in ended["message"]


async def test_a_quota_that_is_used_up(there):
    """It is waited for, with a message."""
    entity_id, resource, _ = a_model(1)
    path = f"/api/v1/namespaces/{there.cluster.namespace}/resourcequotas"
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    await there.requests.send("POST", path, what="making a quota", body=quota)
    async with there.operator():
        await there.create(resource)
        await refused(there, entity_id, "quota")
        await there.requests.send("DELETE", f"{path}/none", what="removing the quota")
        assert (await there.ended(MODEL, entity_id))["type"] == "Complete"


async def test_the_clock_is_that_of_the_server(there):
    """Its answers say their time, and it is about ours here."""
    await there.cluster.list(port.JOB)
    heard = there.cluster.now()
    created = await there.cluster.create(port.CONFIG_MAP, {"metadata": {"name": "clock"}, "data": {}})
    assert created["metadata"]["creationTimestamp"][:13] in (heard.isoformat()[:13], there.cluster.now().isoformat()[:13])
