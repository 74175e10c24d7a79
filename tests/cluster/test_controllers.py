"""The controllers on the embedded cluster, with a kubelet that runs nothing and only says what it would have seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import anyio
import httpx
import pytest

from dyff.cluster import port, watching
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.cluster.embedded.controllers import jobs
from dyff.kernel import clock, errors, ids
from tests import waiting
from tests.cluster import builders
from tests.narrowing import sure

DEADLINE_S = 20.0
KUBELET = "dyff.io/kubelet"
DELAYS = jobs.Delays(first_s=0.02, ceiling_s=0.1)
Outcome = Callable[[port.Object], int | None]


class Kubelet:
    """Takes each Pod over, makes Deployments' Pods ready, ends Jobs' Pods as `outcome` says; None: it goes on running."""

    def __init__(self, cluster: port.Cluster, outcome: Outcome, local_port: int = 0) -> None:
        self._cluster, self._outcome, self._local_port = cluster, outcome, local_port
        self._changed = anyio.Event()
        self.seen: list[str] = []
        self.most_running = 0

    async def run(self, *, task_status) -> None:
        self._cache = watching.Cache(self._cluster, port.POD, lambda _: self._changed.set())
        async with anyio.create_task_group() as group:
            await group.start(self._cache.run)
            task_status.started()
            while True:
                self._changed = anyio.Event()
                for pod in list(self._cache.objects.values()):
                    with contextlib.suppress(errors.StaleVersion, errors.NotFound):
                        await self._look_at(pod)
                await self._changed.wait()

    async def _look_at(self, pod: port.Object) -> None:
        metadata, phase = pod["metadata"], pod["status"]["phase"]
        held = KUBELET in metadata.get("finalizers", ())
        if phase in ("Succeeded", "Failed"):
            if held:
                await self._patch(pod, finalizers=[each for each in metadata["finalizers"] if each != KUBELET])
        elif "deletionTimestamp" in metadata:
            await self._status(pod, builders.failed(pod, 137)["status"])
        elif not held:
            self.seen.append(metadata["name"])
            annotations = {"dyff.io/local-port": str(self._local_port)} if self._local_port else {}
            await self._patch(pod, finalizers=[*metadata.get("finalizers", []), KUBELET], annotations=annotations)
        elif phase == "Pending":
            await self._status(pod, builders.running(pod)["status"])
            running = [each for each in (await self._cluster.list(port.POD)).items if each["status"]["phase"] == "Running"]
            self.most_running = max(self.most_running, len(running))
        elif (code := self._outcome(pod)) is not None:
            ended = builders.failed(pod, code) if code else builders.succeeded(pod)
            await self._status(pod, ended["status"])

    async def _patch(self, pod: port.Object, **metadata) -> None:
        version = pod["metadata"]["resourceVersion"]
        await self._cluster.patch(port.POD, pod["metadata"]["name"], {"metadata": {"resourceVersion": version, **metadata}})

    async def _status(self, pod: port.Object, status: port.Object) -> None:
        version = {"resourceVersion": pod["metadata"]["resourceVersion"]}
        await self._cluster.patch(port.POD, pod["metadata"]["name"], {"metadata": version, "status": status}, status=True)


@contextlib.asynccontextmanager
async def running(path, outcome: Outcome = lambda pod: None, local_port: int = 0):
    """A cluster with controllers and kubelet."""
    time = clock.SystemClock()
    async with EmbeddedCluster.open(path / "cluster.sqlite", clock=time, ids=ids.RandomIds()) as cluster:
        kubelet = Kubelet(cluster, outcome, local_port)
        async with anyio.create_task_group() as group:
            await group.start(kubelet.run)
            await group.start(LocalControllers(cluster, clock=time, delays=DELAYS).run)
            yield cluster, kubelet
            group.cancel_scope.cancel()


async def until(check) -> None:
    """Wait until the async check holds."""
    with anyio.fail_after(DEADLINE_S):
        while not await check():
            await waiting.a_moment()


def has(cluster: port.Cluster, kind: port.Kind, name: str, condition: str):
    async def check() -> bool:
        status = (sure(await cluster.get(kind, name))).get("status") or {}
        return any(each["type"] == condition and each["status"] == "True" for each in status.get("conditions") or ())

    return check


def pods_are(cluster: port.Cluster, count: int):
    async def check() -> bool:
        return len((await cluster.list(port.POD)).items) == count

    return check


def gone(cluster: port.Cluster, kind: port.Kind, name: str):
    async def check() -> bool:
        return await cluster.get(kind, name) is None

    return check


def a_job(name: str = "job", **spec) -> port.Object:
    return {"metadata": {"name": name}, "spec": {"template": builders.a_template(restartPolicy="Never"), "backoffLimit": 2, **spec}}


def a_deployment(replicas: int = 2, image: str = "i") -> port.Object:
    template = builders.a_template(containers=[{"name": "main", "image": image}])
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "thing"}}, "template": template}
    return {"metadata": {"name": "deployment"}, "spec": spec}


def attempt(pod: port.Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


async def test_a_job_is_retried_until_it_succeeds(tmp_path):
    """Failures are retried one at a time, success completes the Job, and its counts are exact."""
    async with running(tmp_path, lambda pod: 1 if attempt(pod) < 2 else 0) as (cluster, kubelet):
        await cluster.create(port.JOB, a_job())
        await until(has(cluster, port.JOB, "job", "Complete"))

        async def counted() -> bool:
            status = (await cluster.get(port.JOB, "job"))["status"]
            return (status["succeeded"], status["failed"], status["active"]) == (1, 2, 0)

        await until(counted)
        assert [name.rpartition("-")[2] for name in kubelet.seen] == ["0", "1", "2"]
        assert kubelet.most_running == 1


async def test_a_job_gives_up(tmp_path):
    """A Job whose Pods keep failing has failed after its limit, and its Pods stay for their logs."""
    async with running(tmp_path, lambda pod: 1) as (cluster, kubelet):
        await cluster.create(port.JOB, a_job(backoffLimit=1))
        await until(has(cluster, port.JOB, "job", "Failed"))
        conditions = {each["type"]: each["reason"] for each in (await cluster.get(port.JOB, "job"))["status"]["conditions"]}
        assert conditions["Failed"] == "BackoffLimitExceeded"
        assert len(kubelet.seen) == 2
        assert len((await cluster.list(port.POD)).items) == 2


async def test_a_job_out_of_time_is_stopped(tmp_path):
    """At its deadline a Job's Pod is stopped, and the Job has failed when the Pod has ended."""
    async with running(tmp_path) as (cluster, _):
        await cluster.create(port.JOB, a_job(activeDeadlineSeconds=1))
        await until(has(cluster, port.JOB, "job", "Failed"))
        status = (await cluster.get(port.JOB, "job"))["status"]
        assert {each["type"]: each["reason"] for each in status["conditions"]}["Failed"] == "DeadlineExceeded"
        assert status["active"] == 0
        assert all(each["status"]["phase"] == "Failed" for each in (await cluster.list(port.POD)).items)


async def test_a_deleted_job_takes_its_pods_along(tmp_path):
    """When a Job is deleted its running Pod is stopped and goes, and so do those that had ended."""
    async with running(tmp_path, lambda pod: 1 if attempt(pod) == 0 else None) as (cluster, _):
        await cluster.create(port.JOB, a_job())
        await until(pods_are(cluster, 2))
        await cluster.delete(port.JOB, "job")
        await until(pods_are(cluster, 0))


async def test_a_held_job_takes_its_pods_along_first(tmp_path):
    """The Pods of a Job that a finalizer holds go before the Job does."""
    async with running(tmp_path) as (cluster, _):
        job = a_job()
        job["metadata"]["finalizers"] = ["dyff.io/operator"]
        await cluster.create(port.JOB, job)
        await until(pods_are(cluster, 1))
        await cluster.delete(port.JOB, "job")
        await until(pods_are(cluster, 0))
        await cluster.patch(port.JOB, "job", {"metadata": {"finalizers": None}})
        assert await cluster.get(port.JOB, "job") is None


async def test_many_jobs_at_once(tmp_path):
    """Fifty Jobs complete, each with one Pod."""
    async with running(tmp_path, lambda pod: 0) as (cluster, kubelet):
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(cluster.create, port.JOB, a_job(f"job-{number}"))

        async def complete() -> bool:
            listing = await cluster.list(port.JOB)
            return all((each.get("status") or {}).get("succeeded") == 1 for each in listing.items)

        await until(complete)
        assert len(kubelet.seen) == 50


async def test_a_restart_forgets_nothing(tmp_path):
    """A Job that was running when the server stopped goes on with the same Pod."""
    async with running(tmp_path) as (cluster, kubelet):
        await cluster.create(port.JOB, a_job())
        await until(pods_are(cluster, 1))

        async def taken_over() -> bool:
            return len(kubelet.seen) == 1

        await until(taken_over)
    async with running(tmp_path, lambda pod: 0) as (cluster, kubelet):
        await until(has(cluster, port.JOB, "job", "Complete"))
        assert kubelet.seen == []
        assert len((await cluster.list(port.POD)).items) == 1


async def test_a_deployment_keeps_its_pods(tmp_path):
    """As many Pods serve as are wanted: when one is deleted, when it is scaled, and none when it is gone."""
    async with running(tmp_path) as (cluster, _):
        await cluster.create(port.DEPLOYMENT, a_deployment())
        await until(has(cluster, port.DEPLOYMENT, "deployment", "Available"))
        victim = (await cluster.list(port.POD)).items[0]
        await cluster.delete(port.POD, victim["metadata"]["name"])

        async def replaced() -> bool:
            pods = (await cluster.list(port.POD)).items
            return len(pods) == 2 and victim["metadata"]["uid"] not in {each["metadata"]["uid"] for each in pods}

        await until(replaced)
        await cluster.patch(port.DEPLOYMENT, "deployment", {"spec": {"replicas": 1}})
        await until(pods_are(cluster, 1))
        await cluster.delete(port.DEPLOYMENT, "deployment")
        await until(pods_are(cluster, 0))


async def test_a_deployment_rolls_out(tmp_path):
    """A new template replaces all Pods and never leaves fewer ready ones than wanted."""
    async with running(tmp_path) as (cluster, _):
        await cluster.create(port.DEPLOYMENT, a_deployment())
        await until(has(cluster, port.DEPLOYMENT, "deployment", "Available"))
        await cluster.patch(
            port.DEPLOYMENT, "deployment", {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "new"}]}}}}
        )
        fewest = 2

        async def rolled_out() -> bool:
            nonlocal fewest
            pods = (await cluster.list(port.POD)).items
            alive = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
            fewest = min(fewest, sum(each["status"]["phase"] == "Running" for each in alive))
            return [each["spec"]["containers"][0]["image"] for each in pods] == ["new", "new"]

        await until(rolled_out)
        assert fewest == 2


async def test_a_service_leads_to_ready_pods(tmp_path):
    """A Service refuses while no Pod is ready, answers when one is, keeps its port over a restart, and gives it back when deleted."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    backend = await asyncio.start_server(serve, "127.0.0.1", 0)
    local_port = backend.sockets[0].getsockname()[1]
    async with backend, httpx.AsyncClient() as http:
        async with running(tmp_path, local_port=local_port) as (cluster, _):
            service = {"metadata": {"name": "service"}, "spec": {"selector": {"app": "thing"}, "ports": [{"port": 80}]}}
            await cluster.create(port.SERVICE, service)
            url = (await cluster.service_url("service")).url
            assert url == await cluster.pod_service_url("service")
            with pytest.raises(httpx.ConnectError):
                await http.get(url)
            await cluster.create(port.DEPLOYMENT, a_deployment(1))
            await until(answers(http, url))
        with pytest.raises(httpx.ConnectError):
            await http.get(url)
        async with running(tmp_path, local_port=local_port) as (cluster, _):
            assert (await cluster.service_url("service")).url == url
            await until(answers(http, url))
            await cluster.patch(port.DEPLOYMENT, "deployment", {"spec": {"replicas": 0}})
            await until(refuses(http, url))
            await cluster.patch(port.DEPLOYMENT, "deployment", {"spec": {"replicas": 1}})
            await until(answers(http, url))
            await cluster.delete(port.SERVICE, "service")
            await until(refuses(http, url))


def answers(http: httpx.AsyncClient, url: str):
    async def check() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await http.get(url)).text == "ok"
        return False

    return check


def refuses(http: httpx.AsyncClient, url: str):
    async def check() -> bool:
        try:
            await http.get(url)
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            return False
        return False

    return check
