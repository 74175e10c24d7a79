"""What the embedded cluster refuses of the types that it runs itself, and what it fills in."""

from __future__ import annotations

from typing import Any

import pytest

from dyff.cluster import port
from dyff.cluster.embedded import kinds, semantics
from dyff.kernel import errors, patches
from tests.cluster import builders


def created(kind: port.Kind, spec: Any, name: str = "thing") -> port.Object:
    return builders.made(kind, {"metadata": {"name": name}, "spec": spec}, builders.JOB_UID)


def job(**spec: Any) -> dict[str, Any]:
    return {"template": builders.a_template(restartPolicy="Never"), **spec}


def deployment(**spec: Any) -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": "thing"}}, "template": builders.a_template(), **spec}


def pod(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "i", **container}]}


def rules(**rule: Any) -> dict[str, Any]:
    return job(podFailurePolicy={"rules": [rule]})


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        pytest.param(port.POD, {}, "spec.containers", id="a Pod without containers"),
        pytest.param(port.POD, "text", "body.spec: ", id="a spec that is no object"),
        pytest.param(port.POD, pod(name="Main"), "containers.0.name", id="a container name with a capital"),
        pytest.param(port.POD, pod(image=""), "containers.0.image", id="no image"),
        pytest.param(port.POD, pod(env=[{"value": "x"}]), "env.0.name", id="a variable without a name"),
        pytest.param(port.POD, pod(env=[{"name": "n", "value": 1}]), "env.0.value", id="a variable that is no text"),
        pytest.param(port.POD, pod(volumeMounts=[{"name": "v", "mountPath": "/v"}]), "volumeMounts.0.name", id="a mount of no volume"),
        pytest.param(port.POD, {**pod(), "initContainers": pod()["containers"]}, "containers.0.name", id="two containers of one name"),
        pytest.param(port.POD, {**pod(), "volumes": [{"name": "v"}, {"name": "v"}]}, "volumes.1.name", id="two volumes of one name"),
        pytest.param(port.POD, {**pod(), "restartPolicy": "Maybe"}, "spec.restartPolicy", id="an unknown restart policy"),
        pytest.param(port.POD, {**pod(), "terminationGracePeriodSeconds": -1}, "terminationGracePeriodSeconds", id="a negative grace"),
        pytest.param(port.NETWORK_POLICY, {}, "spec.podSelector", id="a policy for no pods"),
        pytest.param(
            port.NETWORK_POLICY, {"podSelector": {"matchLabels": {"a": 1}}}, "matchLabels", id="a policy with a label that is no text"
        ),
        pytest.param(port.NETWORK_POLICY, {"podSelector": {}, "policyTypes": ["In"]}, "policyTypes", id="an unknown direction"),
        pytest.param(port.NETWORK_POLICY, {"podSelector": {}, "egress": [{"to": [{}]}]}, "egress.0.to.0", id="a peer that says nothing"),
        pytest.param(port.JOB, {}, "spec.template", id="a Job without a template"),
        pytest.param(port.JOB, job(template=builders.a_template()), "restartPolicy", id="a Job whose Pods restart for ever"),
        pytest.param(port.JOB, job(backoffLimit=-1), "spec.backoffLimit", id="a negative backoffLimit"),
        pytest.param(port.JOB, job(backoffLimit=True), "spec.backoffLimit", id="a backoffLimit that is no number"),
        pytest.param(port.JOB, job(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds", id="no time at all"),
        pytest.param(port.JOB, job(completions=2), "spec.completions", id="several completions, which the local cluster lacks"),
        pytest.param(port.JOB, job(parallelism=2), "spec.parallelism", id="several Pods at once, which it lacks"),
        pytest.param(port.JOB, job(suspend=True), "spec.suspend", id="suspension, which it lacks"),
        pytest.param(port.JOB, rules(action="Explode"), "rules.0.action", id="an unknown action"),
        pytest.param(
            port.JOB,
            rules(action="FailJob", onExitCodes={"containerName": "other", "operator": "In", "values": [1]}),
            "onExitCodes.containerName",
            id="a rule for a container that is not there",
        ),
        pytest.param(port.JOB, rules(action="FailJob"), "onExitCodes or onPodConditions", id="a rule about nothing"),
        pytest.param(
            port.JOB,
            rules(action="FailJob", onExitCodes={"operator": "In", "values": ["1"]}),
            "onExitCodes",
            id="texts as exit codes",
        ),
        pytest.param(
            port.JOB, rules(action="Ignore", onPodConditions=[{"status": "True"}]), "onPodConditions.0", id="a condition without a type"
        ),
        pytest.param(port.DEPLOYMENT, deployment(replicas=-1), "spec.replicas", id="fewer than no replicas"),
        pytest.param(
            port.DEPLOYMENT, deployment(selector={"matchLabels": {"app": "other"}}), "template.metadata.labels", id="another label"
        ),
        pytest.param(port.DEPLOYMENT, deployment(selector={}), "spec.selector", id="an empty selector"),
        pytest.param(port.DEPLOYMENT, deployment(strategy={"type": "BlueGreen"}), "strategy.type", id="an unknown strategy"),
        pytest.param(port.SERVICE, {}, "spec.ports", id="a Service without a port"),
        pytest.param(port.SERVICE, {"ports": [{"port": 80}, {"port": 81}]}, "spec.ports", id="two ports, which the local cluster lacks"),
        pytest.param(port.SERVICE, {"ports": [{"port": 0}]}, "ports.0.port", id="no port number"),
        pytest.param(port.SERVICE, {"ports": [{"port": 80, "protocol": "UDP"}]}, "ports.0.protocol", id="UDP"),
        pytest.param(port.SERVICE, {"ports": [{"port": 80}], "type": "NodePort"}, "spec.type", id="a NodePort"),
    ],
)
def test_refusals(kind, spec, field):
    """Each problem is named by its path and says how to fix it."""
    with pytest.raises(errors.InvalidFields, match=field):
        created(kind, spec)


@pytest.mark.parametrize("name", ["job.with.dots", "j" * 64])
def test_names_that_become_labels_are_short_and_without_dots(name):
    """The name of a Job becomes a label of its Pods."""
    with pytest.raises(errors.InvalidFields, match=r"metadata\.name"):
        created(port.JOB, job(), name)


def test_all_problems_are_reported_at_once():
    """The author of a bad object can fix all of it in one go."""
    with pytest.raises(errors.InvalidFields) as caught:
        created(port.JOB, job(backoffLimit=-1, completions=3), "Name")
    assert {problem.loc for problem in caught.value.problems} == {
        ("body", "metadata", "name"),
        ("body", "spec", "backoffLimit"),
        ("body", "spec", "completions"),
    }


def test_unknown_types_are_refused():
    """A type that is not served is an error that lists those that are."""
    with pytest.raises(errors.InvalidFields, match="batch/v1/jobs"):
        kinds.resource(port.Kind("v1", "Secret", "secrets"))


@pytest.mark.parametrize("wrong", [{"kind": "Job"}, {"apiVersion": "v2"}, {"metadata": None}, {"metadata": "name"}])
def test_envelopes_must_fit(wrong):
    """An object sent as a type that it is not, or without metadata, is refused."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, **wrong}
    with pytest.raises(errors.InvalidFields):
        semantics.created(kinds.resource(port.CONFIG_MAP), obj, builders.JOB_UID, builders.NOW)


@pytest.mark.parametrize(
    ("kind", "spec", "change"),
    [
        pytest.param(port.POD, pod(), {"containers": [{"name": "main", "image": "i", "args": ["new"]}]}, id="a Pod's arguments"),
        pytest.param(port.JOB, job(), {"template": {"spec": {"restartPolicy": "OnFailure"}}}, id="a Job's template"),
        pytest.param(port.JOB, job(), {"selector": {"matchLabels": {"a": "b"}}}, id="a Job's selector"),
        pytest.param(
            port.DEPLOYMENT,
            deployment(template={**builders.a_template(), "metadata": {"labels": {"app": "thing", "a": "b"}}}),
            {"selector": {"matchLabels": {"a": "b"}}},
            id="a Deployment's selector",
        ),
    ],
)
def test_what_is_fixed_cannot_change(kind, spec, change):
    """What Kubernetes fixes at creation is refused later."""
    old = created(kind, spec)
    with pytest.raises(errors.InvalidFields, match="cannot change"):
        semantics.updated(kinds.resource(kind), old, patches.merged(old, {"spec": change}))


@pytest.mark.parametrize(
    ("kind", "spec", "change"),
    [
        pytest.param(port.POD, pod(), {"containers": [{"name": "main", "image": "new"}]}, id="a Pod's image"),
        pytest.param(port.POD, pod(), {"activeDeadlineSeconds": 5}, id="a Pod's deadline"),
        pytest.param(port.JOB, job(), {"backoffLimit": 1}, id="a Job's backoffLimit"),
        pytest.param(port.DEPLOYMENT, deployment(), {"replicas": 5}, id="a Deployment's replicas"),
    ],
)
def test_the_rest_can_change(kind, spec, change):
    """What Kubernetes allows to change changes, and counts as a new generation."""
    old = created(kind, spec)
    new = semantics.updated(kinds.resource(kind), old, patches.merged(old, {"spec": change}))
    assert patches.merged(new["spec"], change) == new["spec"]
    assert new["metadata"]["generation"] == 2


def test_silence_is_filled_in():
    """What a client leaves out has the value that Kubernetes gives it."""
    made = created(port.JOB, job())
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert (made["spec"]["backoffLimit"], made["spec"]["parallelism"]) == (6, 1)
    assert labels["batch.kubernetes.io/job-name"] == labels["job-name"] == "thing"
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": builders.JOB_UID}}
    assert created(port.DEPLOYMENT, deployment())["spec"]["replicas"] == 1
    assert created(port.POD, pod())["spec"]["restartPolicy"] == "Always"
    assert created(port.POD, pod())["status"] == {"phase": "Pending"}
    assert created(port.SERVICE, {"ports": [{"port": 80}]})["spec"]["ports"] == [{"port": 80, "targetPort": 80, "protocol": "TCP"}]


def test_a_pods_end_is_when_its_grace_has_run_out():
    """A Pod with finalizers is marked with the end of its grace, other things with the moment."""
    resource = kinds.resource(port.POD)
    marked = semantics.marked(resource, created(port.POD, {**pod(), "terminationGracePeriodSeconds": 7}), builders.NOW)
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:07.000000Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    assert semantics.marked(resource, marked, builders.at(99)) == marked
    other = semantics.marked(kinds.resource(port.JOB), created(port.JOB, job()), builders.NOW)
    assert other["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:00.000000Z"
    assert other["metadata"]["generation"] == 2
