"""The operator alone on a real API server: no log, no database, nothing of Dyff but it, the definitions and its permissions.

Two processes of it run with the token of its service account, which may do what `dyff manifests rbac` grants and no more.
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import yaml

from dyff.cluster import port
from dyff.cluster.kubernetes import Connection, KubernetesCluster
from dyff.cluster.kubernetes.connecting import Access
from dyff.cluster.kubernetes.requests import MERGE_PATCH, Requests
from dyff.entities import custom_resource, registry
from dyff.kernel import errors
from tests import kinds
from tests.acceptance.conftest import DYFF
from tests.acceptance.deployment import Process
from tests.conftest import missing
from tests.contracts.cluster import namespaces
from tests.planning import world
from tests.roles import operated
from tests.serving.test_commands import SETTINGS

pytestmark = [pytest.mark.acceptance, pytest.mark.engines]

LEASE = "dyff-operator"
PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}


def by_hand(number: int) -> port.Object:
    """An Evaluation as a person writes it: no labels, no finalizers."""
    made = copy.deepcopy(world.an_evaluation(id=world.OTHER[:-1] + str(number)))
    made["metadata"] = {"name": custom_resource.name(registry.RESOURCE_BY_KIND["Evaluation"], made["spec"]["id"])}
    return made


class Operators:
    """Two processes, and hands to play the kubelet and the person with kubectl."""

    def __init__(self, there: operated.Operated, processes: list[Process], requests: Requests, namespace: str):
        self.there, self.processes = there, processes
        self._requests, self.namespace = requests, namespace

    async def apply(self, obj: port.Object) -> port.Object:
        path = f"/apis/dyff.io/v1alpha1/namespaces/{self.namespace}/evaluations"
        return await self._requests.send("POST", path, what="applying", body=obj)

    async def make(self, obj: port.Object, *, dry_run: bool = False) -> None:
        await make(self._requests, obj, {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {})

    async def restrict(self) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        path, patch = f"/api/v1/namespaces/{self.namespace}", {"metadata": {"labels": labels}}
        await self._requests.send("PATCH", path, what="labelling", body=patch, content_type=MERGE_PATCH)

    async def complete(self, number: int) -> None:
        """An Evaluation is applied, and done."""
        obj = by_hand(number)
        await self.apply(obj)
        assert (await self.there.ended(registry.RESOURCE_BY_KIND["Evaluation"], obj["spec"]["id"]))["type"] == "Complete"

    async def leader(self) -> Process:
        """Who works."""

        async def found():
            lease = await self.there.cluster.get(port.LEASE, LEASE)
            holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
            return [each for each in self.processes if holder and each.is_running and has_led(each, holder)]

        return (await self.there.until("a leader", found))[0]


async def printed(*arguments: str) -> list[port.Object]:
    """What `dyff manifests` prints."""
    command = [DYFF, "manifests", *arguments]
    done = await anyio.to_thread.run_sync(lambda: subprocess.run(command, check=True, capture_output=True, text=True))
    return list(yaml.safe_load_all(done.stdout))


async def make(requests: Requests, obj: port.Object, query: dict[str, str]) -> None:
    root = "/api/v1" if obj["apiVersion"] == "v1" else f"/apis/{obj['apiVersion']}"
    path = f"{root}/namespaces/{obj['metadata']['namespace']}/{PLURALS[obj['kind']]}"
    await requests.send("POST", path, what=f"making a {obj['kind']}", body=obj, query=query)


def has_led(process: Process, identity: str) -> bool:
    """Whether its log says that it leads, or has led, under this name."""
    return any(identity in line and '"event": "leader"' in line for line in process.log.read_text().splitlines())


@asynccontextmanager
async def deployed(tmp_path, kubeconfig):
    """The namespace with the permissions of the operator, and its two processes."""
    async with namespaces.fresh(kubeconfig) as cluster:
        assert isinstance(cluster, KubernetesCluster)
        namespace = cluster.namespace
        access = await Access.open(Connection(kubeconfig=kubeconfig, namespace=namespace))
        requests = Requests(access, 15.0)
        for each in await printed("rbac", "--namespace", namespace, "--role", "operator"):
            await make(requests, each, {})
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/dyff-operator/token"
        token = await requests.send("POST", path, what="asking for a token", body={"spec": {"expirationSeconds": 3600}})
        own = yaml.safe_load(Path(kubeconfig).read_text())
        own["users"][0]["user"] = {"token": token["status"]["token"]}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(own))
        settings = {
            "DYFF_CLUSTER__KUBERNETES__KUBECONFIG": str(tmp_path / "kubeconfig"),
            "DYFF_CLUSTER__KUBERNETES__NAMESPACE": namespace,
            "DYFF_OBJECTS__URL": "s3://bucket/dyff?endpoint=http://192.0.2.1:9",
            "DYFF_OPERATOR__STEPS_IMAGE": "registry.invalid/dyff:1",
            "DYFF_OPERATOR__STORAGE_SECRET": "storage",
        }
        processes = [Process(f"operator-{number}", "operator", tmp_path, settings) for number in range(2)]
        try:
            for process in processes:
                process.begin()
            for process in processes:
                await anyio.to_thread.run_sync(process.wait_ready)
            async with operated.Operated.open(cluster) as there:
                yield Operators(there, processes, requests, namespace)
        finally:
            for process in processes:
                await anyio.to_thread.run_sync(process.kill)
            await access.close()


@pytest.fixture
async def operators(tmp_path):
    kubeconfig = os.environ.get("DYFF_TEST_KUBECONFIG")
    if not kubeconfig:
        missing("no Kubernetes: DYFF_TEST_KUBECONFIG is not set; start one with make services, or run make test-engines")
    async with deployed(tmp_path, kubeconfig) as opened:
        yield opened


async def test_it_does_its_job_and_fails_over(operators):
    """An Evaluation that was applied by hand is run to its end; so is the next after the leader was killed, paused, woken, and stopped."""
    await operators.complete(1)
    killed = await operators.leader()
    await anyio.to_thread.run_sync(killed.kill)
    await operators.complete(2)
    killed.begin()
    await anyio.to_thread.run_sync(killed.wait_ready)

    paused = await operators.leader()
    paused.send(signal.SIGSTOP)
    await operators.complete(3)
    paused.send(signal.SIGCONT)
    await operators.complete(4)
    assert await operators.leader() is killed

    killed.send(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(killed.wait) == 0
    lease = await operators.there.cluster.get(port.LEASE, LEASE)
    with anyio.fail_after(10):
        assert await operators.leader() is paused  # at once: what has expired only is free after fifteen seconds
    assert lease["spec"]["leaseTransitions"] >= 2
    await operators.complete(5)
    for each in operators.processes:
        assert not [line for line in each.log.read_text().splitlines() if "role-failed" in line or "Traceback" in line]


async def test_the_server_takes_the_deployments(operators, tmp_path):
    """All that `dyff manifests deploy` prints is accepted, in a namespace that enforces the restricted Pod Security Standard."""
    await operators.restrict()
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS)
    for each in await printed("deploy", "--namespace", operators.namespace, "--config", str(file)):
        await operators.make(each, dry_run=True)
        if each["kind"] == "Deployment":  # the standard is enforced on pods
            about = {"name": each["metadata"]["name"], "namespace": operators.namespace}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": each["spec"]["template"]["spec"]}
            await operators.make(pod, dry_run=True)


async def test_a_wrong_resource_is_refused_by_the_server(operators):
    """What the operator could not run is a 422 that names the field, and nothing is there afterwards."""
    wrong = by_hand(1)
    wrong["spec"]["inferenceSession"]["replicas"] = 0
    with pytest.raises(errors.InvalidFields, match=r"spec\.inferenceSession\.replicas"):
        await operators.apply(wrong)
    both = by_hand(1)
    both["spec"]["inferenceSessionReference"] = world.ID
    with pytest.raises(errors.InvalidFields, match="exactly one of inferenceSession and inferenceSessionReference"):
        await operators.apply(both)
    assert (await operators.there.cluster.list(kinds.EVALUATION)).items == ()
