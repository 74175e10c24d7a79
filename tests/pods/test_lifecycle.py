from __future__ import annotations

import os
import signal
import socket
import sys

import anyio
import pytest

from dyff.cluster import port
from dyff.cluster.pods import kubelet, specs
from dyff.cluster.pods.isolation import describing
from dyff.kernel import clock, settings
from tests import waiting

SERVE = (
    "import http.server, os, sys; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ['PORT']), bind='127.0.0.1')"
)


async def test_a_deleted_pod_leaves_nothing(lab):
    """A deleted pod's processes get SIGTERM and its grace, then its finalizer, its object and its directory go."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("trap 'echo asked; exit 0' TERM; echo up; sleep 600 & wait")))
        await lab.started("p")
        assert specs.FINALIZER in (await lab.get("p"))["metadata"]["finalizers"]
        pid = lab.record(uid)["containers"]["main"]["pid"]
        await lab.file(lab.pods_dir / uid / "main.log")
        await lab.cluster.delete(port.POD, "p")
        await lab.gone("p")
        assert not lab.alive(pid)
        await lab.vanished(lab.pods_dir / uid)


async def test_the_grace_ends_with_a_kill(lab):
    """A pod that ignores SIGTERM is killed when its grace is over, and not before."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("trap '' TERM; echo up; sleep 600"), terminationGracePeriodSeconds=1))
        await lab.started("p")
        await lab.file(lab.pods_dir / uid / "main.log")
        begun = anyio.current_time()
        await lab.cluster.delete(port.POD, "p")
        await lab.gone("p")
    assert 0.9 < anyio.current_time() - begun < 10


class LateAnswer:
    """A cluster that answers the write of a running pod's status only after the pod was deleted and all watches have said so."""

    def __init__(self, cluster) -> None:
        self._cluster, self.deleted = cluster, False

    def __getattr__(self, name: str):
        return getattr(self._cluster, name)

    async def patch(self, kind, name, patch, *, status=False):
        answer = await self._cluster.patch(kind, name, patch, status=status)
        if status and patch["status"].get("phase") == "Running" and not self.deleted:
            self.deleted = True
            await self._cluster.delete(kind, name)
            await anyio.wait_all_tasks_blocked()
        return answer


async def test_an_answer_that_comes_late_hides_no_deletion(lab):
    """A pod that is deleted while its status is written goes, although what that write returned knows nothing of it."""
    async with lab.open() as opened, anyio.create_task_group() as group:
        late = LateAnswer(opened)
        subject = kubelet.Kubelet(
            late, lab.pods_dir, settings.Pods(images=lab.images), clock.SystemClock(), sandboxes=describing.UNCONFINED
        )
        await group.start(lambda *, task_status: subject.run(task_status=task_status))
        await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        await lab.gone("p")
        assert late.deleted
        group.cancel_scope.cancel()


async def test_logs_stay_until_the_pod_is_deleted(lab):
    """A pod that has ended keeps its logs, and gives back the space of its volumes and working directory."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("echo said; echo x > file")))
        await lab.ended("p")
        await lab.vanished(lab.pods_dir / uid / "work")
        assert await lab.logs("p") == ["said"]
        await lab.cluster.delete(port.POD, "p")
        await lab.gone("p")


async def test_a_pod_deleted_before_it_started_never_starts(lab):
    """A pod that waits (here for a ConfigMap) can be deleted at once."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", volumes=[{"name": "v", "configMap": {"name": "absent"}}]))
        await lab.until("p", lambda status: "waiting" in lab.state(status))
        await lab.cluster.delete(port.POD, "p")
        await lab.gone("p")
        assert lab.record(uid) == {}


async def test_a_deleted_pod_that_others_keep_has_ended(lab):
    """A pod that is deleted is Failed or Succeeded for those whose finalizers keep it, whether it ran or not."""
    waiting = lab.a_pod("waiting", volumes=[{"name": "v", "configMap": {"name": "absent"}}])
    running = lab.a_pod("running", lab.container("sleep 600"), restartPolicy="Always")
    async with lab.running():
        for pod in (waiting, running):
            pod["metadata"]["finalizers"] = ["example.com/other"]
            await lab.create(pod)
        await lab.until("waiting", lambda status: "waiting" in lab.state(status))
        await lab.started("running")
        for name in ("waiting", "running"):
            await lab.cluster.delete(port.POD, name)
            assert (await lab.ended(name))["reason"] == "Deleted"
        await lab.released("running")
        for name in ("waiting", "running"):
            assert (await lab.get(name))["metadata"]["finalizers"] == ["example.com/other"]
            await lab.cluster.patch(port.POD, name, {"metadata": {"finalizers": []}})
            await lab.gone(name)


async def test_a_pod_that_listens_has_a_port(lab):
    """A container with a port gets a free loopback port: in its annotation, in PORT and for `$(PORT)`."""
    listening = lab.container("echo $PORT; echo $0", ports=[{"containerPort": 8000}], env=[{"name": "PORT", "value": "8000"}])
    listening["args"].append("$(PORT)")
    async with lab.running():
        await lab.create(lab.a_pod("p", listening))
        await lab.ended("p")
        number = (await lab.get("p"))["metadata"]["annotations"][specs.LOCAL_PORT]
        assert await lab.logs("p") == [number, number]
    assert 1024 < int(number) < 32768


async def test_pods_have_different_ports(lab):
    """Ports of pods that were started at the same time and do not listen yet differ."""
    async with lab.running():
        for index in range(6):
            await lab.create(lab.a_pod(f"p{index}", lab.container("sleep 600", ports=[{"containerPort": 80}])))
        for index in range(6):
            await lab.started(f"p{index}")
        numbers = {(await lab.get(f"p{index}"))["metadata"]["annotations"][specs.LOCAL_PORT] for index in range(6)}
    assert len(numbers) == 6


async def test_ready_follows_the_probe(lab):
    """A pod with a readiness probe is Ready while the mapping's path answers well, and no longer when it does not."""
    mount = [{"name": "site", "mountPath": "/site"}]
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1, "failureThreshold": 1}
    web = {"name": "main", "image": "test/web", "ports": [{"containerPort": 8000}], "readinessProbe": probe, "volumeMounts": mount}
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", web, volumes=[{"name": "site", "emptyDir": {}}], restartPolicy="Always"))
        await lab.started("p")
        said = "Readiness probe failed: GET /ready.txt is answered with status 404"
        status = await lab.until("p", lambda status: lab.condition(status, "Ready").get("message") == said)
        assert lab.condition(status, "Ready")["status"] == "False"
        page = lab.pods_dir / uid / "volumes" / "site" / "ready.txt"
        page.write_text("yes")
        status = await lab.ready("p")
        assert status["containerStatuses"][0]["ready"] is True
        assert status["podIP"] == "127.0.0.1"
        assert "message" not in lab.condition(status, "Ready")
        page.unlink()
        await lab.until("p", lambda status: lab.condition(status, "Ready").get("message") == said)


async def test_a_mapping_without_a_path_probes_by_connecting(lab):
    """Where the mapping has no readiness path, a pod with a probe is ready when its port accepts connections."""
    program = f'{sys.executable} -c "{SERVE}"'
    probe = {"httpGet": {"path": "/ready", "port": 8000}}
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(program, ports=[{"containerPort": 8000}], readinessProbe=probe)))
        await lab.ready("p")


async def test_without_a_probe_a_pod_is_ready_when_it_runs(lab):
    """As in Kubernetes, a container without a readiness probe is ready as soon as it runs."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        status = await lab.ready("p")
    assert lab.condition(status, "ContainersReady")["status"] == "True"


async def test_our_own_images_run(lab):
    """The mock service and the steps are run by our own interpreter, which finds this package in a pod's clean environment."""
    probe = {"httpGet": {"path": "/ready", "port": 8000}}
    mock = {
        "name": "main",
        "image": "any.host/dyff/workflows/inferenceservice-mock",
        "ports": [{"containerPort": 8000}],
        "readinessProbe": probe,
    }
    step = {"name": "main", "image": "dyff/workflows/steps", "args": ["no-such-step"]}
    async with lab.running():
        await lab.create(lab.a_pod("mock", mock, restartPolicy="Always"))
        await lab.create(lab.a_pod("step", step, job=True))
        status = await lab.ended("step")
        assert lab.terminated(status)["exitCode"] == 64
        assert "'no-such-step' is no step" in lab.terminated(status)["message"]
        await lab.ready("mock")


async def test_a_crash_loop_backs_off(lab):
    """A container that is always restarted comes back after 0.5 s, then 1 s; meanwhile it waits in CrashLoopBackOff."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("date +%s.%N; exit 1"), restartPolicy="Always"))
        status = await lab.until("p", lambda status: lab.state(status).get("waiting", {}).get("reason") == "CrashLoopBackOff")
        assert status["phase"] == "Running"
        status = await lab.until("p", lambda status: status["containerStatuses"][0]["restartCount"] == 2)
        assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
        with anyio.fail_after(30):
            while len(await lab.logs("p")) < 3:  # the third run counts before it has written anything
                await waiting.a_moment()
        first, second, third = [float(line) for line in (await lab.logs("p"))[:3]]
    assert 0.5 <= second - first < 5
    assert 1.0 <= third - second < 10


async def test_init_containers_run_once(lab):
    """When the main container is restarted, init containers that have completed are not run again."""
    async with lab.running():
        init = (lab.container("echo prepared", "fetch"),)
        await lab.create(lab.a_pod("p", lab.container("exit 1"), init=init, restartPolicy="Always"))
        await lab.until("p", lambda status: (status.get("containerStatuses") or [{}])[0].get("restartCount") == 1)
        status = await lab.status("p")
        assert [line.message for line in await lab.cluster.logs("p", container="fetch")] == ["prepared"]
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


async def test_on_failure_restarts_until_success(lab):
    """With restartPolicy OnFailure a container is started again in the same pod until it succeeds."""
    mount = [{"name": "v", "mountPath": "/v"}]
    main = {**lab.container("", volumeMounts=mount), "args": ["test -e $0 && exit 0; touch $0; exit 1", "/v/tried"]}
    async with lab.running():
        await lab.create(lab.a_pod("p", main, volumes=[{"name": "v", "emptyDir": {}}], restartPolicy="OnFailure"))
        status = await lab.ended("p")
    assert (status["phase"], status["containerStatuses"][0]["restartCount"]) == ("Succeeded", 1)


async def test_a_taken_port_is_replaced_at_the_next_start(lab):
    """A program that found its port taken gets another one when it is restarted, in the annotation too."""
    listening = lab.container("sleep 600", ports=[{"containerPort": 8000}])
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", listening, restartPolicy="Always"))
        await lab.started("p")
        before = int((await lab.get("p"))["metadata"]["annotations"][specs.LOCAL_PORT])
        with socket.create_server(("127.0.0.1", before)):
            os.kill(lab.record(uid)["containers"]["main"]["pid"], signal.SIGKILL)
            status = await lab.until(
                "p", lambda status: status["containerStatuses"][0]["restartCount"] == 1 and "running" in lab.state(status)
            )
        after = int((await lab.get("p"))["metadata"]["annotations"][specs.LOCAL_PORT])
    assert after != before
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


async def test_job_pods_wait_for_a_slot_oldest_first(lab):
    """Pods of Jobs run as many at once as the setting says, in the order of their creation; the others say what they wait for."""
    async with lab.running(max_job_pods=1):
        for name in ("a", "b", "c"):
            await lab.create(lab.a_pod(name, lab.container("echo up; while [ ! -e go ]; do sleep 0.02; done"), job=True))
        for name in ("a", "b", "c"):
            await lab.started(name)
            waiting = [each for each in ("a", "b", "c") if each > name]
            for other in waiting:
                status = await lab.until(other, lambda status: bool(lab.condition(status, "PodScheduled")))
                assert status["phase"] == "Pending"
                scheduled = lab.condition(status, "PodScheduled")
                assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
                assert "waits for one of 1 job slots" in scheduled["message"]
            uid = (await lab.get(name))["metadata"]["uid"]
            (lab.pods_dir / uid / "work" / "go").touch()
            assert (await lab.ended(name))["phase"] == "Succeeded"


async def test_serving_pods_never_wait(lab):
    """Pods of no Job start however many Job pods run, so that an evaluation cannot wait for its own session."""
    async with lab.running(max_job_pods=1):
        await lab.create(lab.a_pod("job", lab.container("sleep 600"), job=True))
        await lab.started("job")
        for name in ("a", "b", "c"):
            await lab.create(lab.a_pod(name, lab.container("sleep 600")))
        for name in ("a", "b", "c"):
            await lab.started(name)


async def test_a_pod_that_cannot_start_holds_no_slot(lab):
    """A Job's pod that waits for something else than a slot does not keep younger ones from running."""
    async with lab.running(max_job_pods=1):
        await lab.create(lab.a_pod("stuck", lab.container(image="unknown/image"), job=True))
        await lab.until("stuck", lambda status: "waiting" in lab.state(status))
        await lab.create(lab.a_pod("next", job=True))
        assert (await lab.ended("next"))["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volume v: the local cluster has emptyDir and configMap volumes only"),
        ({"containers": [{"name": "a", "image": "test/sh"}, {"name": "b", "image": "test/sh"}]}, "the local cluster runs one, not 2"),
    ],
)
async def test_a_spec_that_can_never_run_fails(lab, spec, want):
    """A pod that asks for what the local cluster does not have fails at once and says what that is."""
    async with lab.running():
        await lab.create(lab.a_pod("p", **spec))
        status = await lab.ended("p")
    assert status["reason"] == "InvalidSpec"
    assert want in status["message"]
