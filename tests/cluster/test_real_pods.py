"""The whole local cluster: resources, controllers and the kubelet with real processes."""

from __future__ import annotations

import contextlib
import sys

import anyio
import httpx

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.cluster.embedded.controllers import jobs
from dyff.cluster.pods import kubelet
from dyff.cluster.pods.isolation import describing
from dyff.kernel import clock, ids, settings
from tests import waiting

DEADLINE_S = 30.0
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["NAME"].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
PODS = settings.Pods(
    images={
        "test/sh": settings.Image(command=("/bin/sh", "-c"), readiness_path=None),
        "test/server": settings.Image(command=(sys.executable, "-I", "-S", "-c", SERVER), readiness_path="/"),
    }
)
NAME = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


@contextlib.asynccontextmanager
async def running(path):
    """A cluster that runs what it is given, and stops all of it in the end."""
    time = clock.SystemClock()
    async with (
        EmbeddedCluster.open(path / "cluster.sqlite", clock=time, ids=ids.RandomIds()) as cluster,
        anyio.create_task_group() as group,
    ):
        await group.start(LocalControllers(cluster, clock=time, delays=jobs.Delays(first_s=0.05)).run)
        await group.start(kubelet.Kubelet(cluster, cluster.pods_dir, PODS, time, sandboxes=describing.UNCONFINED).run)
        yield cluster
        for kind in (port.SERVICE, port.DEPLOYMENT, port.JOB):
            for each in (await cluster.list(kind)).items:
                await cluster.delete(kind, each["metadata"]["name"])
        await until(lambda: no_pods(cluster))
        group.cancel_scope.cancel()


async def until(check) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not await check():
            await waiting.a_moment()


async def no_pods(cluster: port.Cluster) -> bool:
    return not (await cluster.list(port.POD)).items


def template(image: str, policy: str, **container) -> port.Object:
    main = {"name": "main", "image": image, "env": [NAME], **container}
    spec = {"restartPolicy": policy, "terminationGracePeriodSeconds": 2, "containers": [main]}
    return {"metadata": {"labels": {"app": "thing"}}, "spec": spec}


async def test_a_job_runs_until_it_succeeds(tmp_path):
    """A Job's program runs again under a new name after it failed; the exit codes are counted and the logs of all attempts are there."""
    script = 'echo "I am $NAME"; case $NAME in *-1) exit 0;; *) exit 7;; esac'
    async with running(tmp_path) as cluster:
        await cluster.create(port.JOB, {"metadata": {"name": "job"}, "spec": {"template": template("test/sh", "Never", args=[script])}})

        async def counted() -> bool:
            status = (await cluster.get(port.JOB, "job")).get("status") or {}
            return (status.get("succeeded"), status.get("failed")) == (1, 1)

        await until(counted)
        pods = sorted(each["metadata"]["name"] for each in (await cluster.list(port.POD)).items)
        assert [each.rpartition("-")[2] for each in pods] == ["0", "1"]
        assert [line.message for name in pods for line in await cluster.logs(name)] == [f"I am {name}" for name in pods]


async def test_a_deployment_serves_through_its_service(tmp_path):
    """Requests to a Service reach all ready processes; a process that is replaced is replaced behind the same URL."""
    async with running(tmp_path) as cluster, httpx.AsyncClient() as http:
        await cluster.create(port.SERVICE, {"metadata": {"name": "s"}, "spec": {"selector": {"app": "thing"}, "ports": [{"port": 80}]}})
        serving = template("test/server", "Always", ports=[{"containerPort": 8000}])
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "thing"}}, "template": serving}
        await cluster.create(port.DEPLOYMENT, {"metadata": {"name": "d"}, "spec": spec})
        url = (await cluster.service_url("s")).url

        async def answering() -> set[str]:
            found = set()
            for _ in range(4):
                with contextlib.suppress(httpx.TransportError):
                    # A connection of its own for each request, since connections are what is balanced.
                    found.add((await http.get(url, headers={"Connection": "close"})).text)
            return found

        async def both() -> bool:
            return len(await answering()) == 2

        await until(both)
        victim = (await cluster.list(port.POD)).items[0]["metadata"]["name"]
        await cluster.delete(port.POD, victim)

        async def replaced() -> bool:
            found = await answering()
            return len(found) == 2 and victim not in found

        await until(replaced)
