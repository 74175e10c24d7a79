from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import httpx

from dyff.cluster import port
from dyff.cluster.embedded import LocalControllers
from dyff.kernel import clock
from tests import waiting

IGNORE_DISRUPTIONS = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}


@asynccontextmanager
async def controlled(lab):
    """A kubelet together with the controllers that make Pods."""
    async with lab.running(), anyio.create_task_group() as group:
        controllers = LocalControllers(lab.cluster, clock=clock.SystemClock())
        await group.start(lambda *, task_status: controllers.run(task_status=task_status))
        yield
        group.cancel_scope.cancel()


def a_job(lab, script: str, **spec) -> port.Object:
    template = {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [lab.container(script)]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"backoffLimit": 0, "template": template, **spec}}


async def job_ends(lab, condition: str, **want: int) -> None:
    """The Job gets the condition, and its counts become those wanted."""
    with anyio.fail_after(30):
        while True:
            status = (await lab.cluster.get(port.JOB, "j")).get("status") or {}
            held = {each["type"] for each in status.get("conditions") or ()}
            if condition in held and all(status.get(field) == count for field, count in want.items()):
                return
            await waiting.a_moment()


async def pods_of(lab) -> list[str]:
    return [each["metadata"]["name"] for each in (await lab.cluster.list(port.POD)).items]


async def test_a_job_runs_to_its_end(lab):
    """A Job's pod is made, run and counted."""
    async with controlled(lab):
        await lab.cluster.create(port.JOB, a_job(lab, "exit 0"))
        await job_ends(lab, "Complete", succeeded=1, failed=0)


async def test_a_job_that_fails_too_often_fails(lab):
    """Each failed pod is one of the tries that the Job has."""
    async with controlled(lab):
        await lab.cluster.create(port.JOB, a_job(lab, "exit 1", backoffLimit=0))
        await job_ends(lab, "Failed", failed=1)


async def test_a_shutdown_costs_a_job_nothing(lab, tmp_path):
    """A Job without a single retry survives the server's end: its pod was disrupted, the next start makes another, which completes."""
    script = f"echo begun >> {tmp_path}/starts; test -e {tmp_path}/go && exit 0; sleep 600"
    async with controlled(lab):
        await lab.cluster.create(port.JOB, a_job(lab, script, podFailurePolicy=IGNORE_DISRUPTIONS))
        with anyio.fail_after(30):
            while not await pods_of(lab):
                await waiting.a_moment()
        await lab.file(tmp_path / "starts")
        await lab.kubelet.stop_all(10.0)
    (tmp_path / "go").touch()
    async with controlled(lab):
        await job_ends(lab, "Complete", succeeded=1, failed=0)
    assert (tmp_path / "starts").read_text().splitlines() == ["begun", "begun"]


async def test_a_deployment_serves(lab):
    """A Deployment's pod becomes ready and answers at its Service's stable port."""
    probe = {"httpGet": {"path": "/ready", "port": 8000}}
    labels = {"app": "mock"}
    mock = {"name": "main", "image": "dyff/workflows/inferenceservice-mock", "ports": [{"containerPort": 8000}], "readinessProbe": probe}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [mock], "terminationGracePeriodSeconds": 2}},
        },
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}
    async with controlled(lab), httpx.AsyncClient(trust_env=False) as client:
        await lab.cluster.create(port.SERVICE, service)
        await lab.cluster.create(port.DEPLOYMENT, deployment)
        with anyio.fail_after(30):
            while not (await lab.cluster.get(port.DEPLOYMENT, "d")).get("status", {}).get("readyReplicas"):
                await waiting.a_moment()
        url = (await lab.cluster.service_url("s")).url
        with anyio.fail_after(30):
            while not await answers(client, f"{url}/ready"):
                await waiting.a_moment()
        await lab.cluster.delete(port.DEPLOYMENT, "d")
        with anyio.fail_after(30):
            while await pods_of(lab):
                await waiting.a_moment()


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
