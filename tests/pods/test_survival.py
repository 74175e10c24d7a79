from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from dyff.cluster import port
from dyff.cluster.pods import directory, environment, kubelet, starting
from dyff.cluster.pods.isolation import describing
from dyff.kernel import clock, errors, settings
from tests import waiting
from tests.narrowing import sure

COUNTED = "echo begun >> $0; "


def counted(lab, tmp_path: Path, script: str, name: str = "main"):
    """A container that leaves a line in a file outside the pod each time when it is started."""
    made = lab.container(COUNTED + script, name)
    made["args"].append(str(tmp_path / "starts"))
    return made


def starts(tmp_path: Path) -> int:
    path = tmp_path / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def kill(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGKILL)
    server.wait()


async def given(lab, *pods) -> list[str]:
    """The pods' uids, created while no server runs."""
    async with lab.open():
        return [await lab.create(pod) for pod in pods]


async def test_a_running_pod_is_found_again(lab, tmp_path):
    """After kill -9 of the server a pod runs on, the next server adopts that very process, and it ends as if nothing had happened."""
    (uid,) = await given(lab, lab.a_pod("p", counted(lab, tmp_path, "while [ ! -e go ]; do sleep 0.02; done; exit 5")))
    server = lab.server()
    before = (await lab.recorded(uid))["containers"]["main"]
    kill(server)
    assert lab.alive(before["pid"])
    async with lab.running():
        await lab.started("p")
        assert lab.record(uid)["containers"]["main"] == before
        (lab.pods_dir / uid / "work" / "go").touch()
        status = await lab.ended("p")
    assert (lab.terminated(status)["exitCode"], starts(tmp_path)) == (5, 1)


async def test_an_outcome_without_a_server_is_not_lost(lab, tmp_path):
    """A pod that ended while no server ran has its exit code, and is not run again."""
    (uid,) = await given(lab, lab.a_pod("p", counted(lab, tmp_path, "while [ ! -e go ]; do sleep 0.02; done; echo done; exit 9")))
    server = lab.server()
    shim = (await lab.recorded(uid))["shim"]["pid"]
    kill(server)
    (lab.pods_dir / uid / "work" / "go").touch()
    await lab.until_dead(shim)
    async with lab.running():
        status = await lab.ended("p")
        assert await lab.logs("p") == ["done"]
    assert (lab.terminated(status)["exitCode"], starts(tmp_path)) == (9, 1)


@pytest.mark.parametrize("name", ["intent.json", "record.json"])
async def test_a_pod_whose_files_were_cut_fails_and_is_not_run_again(lab, tmp_path, name):
    """How it ended is not known, so it ends as Lost; it neither waits forever nor runs twice, and the file is kept for people."""
    go = tmp_path / "go"
    (uid,) = await given(lab, lab.a_pod("p", counted(lab, tmp_path, f"until [ -e '{go}' ]; do sleep 0.1; done")))
    server = lab.server()
    shim = (await lab.recorded(uid))["shim"]["pid"]
    kill(server)
    go.touch()
    await lab.until_dead(shim)
    file = lab.pods_dir / uid / name
    os.truncate(file, file.stat().st_size - 7)
    async with lab.running():
        status = await lab.ended("p")
        assert file.with_name(f"{name}.damaged").exists()
    assert (status["phase"], starts(tmp_path)) == ("Failed", 1)
    assert lab.terminated(status)["reason"] == "Lost"


async def test_a_running_pod_whose_intent_was_cut_is_ended(lab, tmp_path):
    """It could not be asked to stop any more: its processes are killed, it ends as Lost, and can be deleted."""
    (uid,) = await given(lab, lab.a_pod("p", counted(lab, tmp_path, "sleep 1000")))
    server = lab.server()
    found = await lab.recorded(uid)
    kill(server)
    file = lab.pods_dir / uid / "intent.json"
    os.truncate(file, file.stat().st_size - 7)
    async with lab.running():
        status = await lab.ended("p")
        assert lab.terminated(status)["reason"] == "Lost"
        await lab.until_dead(found["shim"]["pid"])
    assert starts(tmp_path) == 1


async def test_a_ready_pod_is_ready_again(lab, tmp_path):
    """A serving pod that is found again becomes Ready again under its old port, without being restarted."""
    mount = [{"name": "site", "mountPath": "/site"}]
    probe = {"httpGet": {"path": "/x", "port": 80}}
    web = {"name": "main", "image": "test/web", "ports": [{"containerPort": 80}], "readinessProbe": probe, "volumeMounts": mount}
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", web, volumes=[{"name": "site", "emptyDir": {}}], restartPolicy="Always"))
        before = await lab.recorded(uid)
    (lab.pods_dir / uid / "volumes" / "site" / "ready.txt").write_text("yes")
    async with lab.running():
        status = await lab.ready("p")
        assert lab.record(uid) == before
    assert status["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.faults
async def test_killing_the_server_at_any_moment_never_starts_a_pod_twice(lab, tmp_path):
    """However often the server is killed while it starts pods, each is started exactly once and each outcome arrives."""
    names = [f"p{index}" for index in range(8)]
    pods = []
    for index, name in enumerate(names):
        (tmp_path / name).mkdir()
        pods.append(lab.a_pod(name, counted(lab, tmp_path / name, f"sleep 0.3; exit {index + 1}")))
    await given(lab, *pods)
    for promised, begun in ((0, 0), (1, 0), (2, 1), (5, 3), (8, 4), (8, 6)):
        server = lab.server(max_job_pods=8)
        with anyio.fail_after(30):
            while not lab.reached(promised, begun):
                # real time: finer than `a_moment`: the kill must come in the middle of what follows
                await anyio.sleep(0.002)
        kill(server)  # in the middle of what comes next
    async with lab.running():
        codes = [lab.terminated(await lab.ended(name))["exitCode"] for name in names]
    assert codes == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [starts(tmp_path / name) for name in names] == [1] * 8


async def test_shims_that_start_together_run_a_pod_once(lab, tmp_path):
    """Of any number of shims that are started for the same run, at the same time or later, one runs it."""
    place = directory.Directory(lab.pods_dir, "6b1f6a4e-0000-4000-8000-000000000000")
    argv = ["/bin/sh", "-c", COUNTED + "sleep 0.2", str(tmp_path / "starts")]
    process = environment.Process("main", argv, {"PATH": environment.PATH}, str(place.place.work), None, "")
    config = starting.NodeConfig(str(lab.pods_dir / "server.lock"), sys.executable, settings.Pods(), describing.UNCONFINED)
    starting.promise(
        place, directory.Intent(0, "p", clock.iso(clock.SystemClock().now()), [process], config.server_lock, 60.0, 10**6, 1.0), {}
    )
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(partial(anyio.to_thread.run_sync, starting.spawn, config, place, 0))
    await lab.until_dead((await lab.recorded(place.uid))["shim"]["pid"])
    starting.spawn(config, place, 0)
    assert sure(place.facts().record).finished
    assert starts(tmp_path) == 1


async def test_a_killed_shim_takes_its_pod_along(lab, tmp_path):
    """When a shim is killed, its container dies with it, the rest of the pod is found and killed, and the pod is Lost, not run again."""
    script = "setsid sh -c 'echo $$ > child; exec sleep 600' & while [ ! -s child ]; do sleep 0.02; done; cat child; sleep 600"
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", counted(lab, tmp_path, script)))
        record = await lab.recorded(uid)
        child = int(await lab.file(lab.pods_dir / uid / "work" / "child"))
        os.kill(record["shim"]["pid"], signal.SIGKILL)
        status = await lab.ended("p")
        assert not lab.alive(record["containers"]["main"]["pid"])
        assert not lab.alive(child)
    assert (status["phase"], status["reason"]) == ("Failed", "Lost")
    assert lab.condition(status, "DisruptionTarget") == {}
    assert starts(tmp_path) == 1


async def test_server_and_shim_killed_together(lab):
    """A shim that was killed while no server ran: the next start ends what is left of the pod and says that it is Lost."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("setsid sh -c 'echo $$ > child; exec sleep 600' & sleep 600")))
        record = await lab.recorded(uid)
        child = int(await lab.file(lab.pods_dir / uid / "work" / "child"))
    os.kill(record["shim"]["pid"], signal.SIGKILL)
    await lab.until_dead(record["containers"]["main"]["pid"])
    assert lab.alive(child)
    async with lab.running():
        status = await lab.ended("p")
        assert not lab.alive(child)
    assert status["reason"] == "Lost"


async def test_a_lost_serving_pod_is_started_again(lab):
    """A pod that restarts always is run again after its shim was killed, and the restart is counted."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("sleep 600"), restartPolicy="Always"))
        record = await lab.recorded(uid)
        os.kill(record["shim"]["pid"], signal.SIGKILL)
        status = await lab.until("p", lambda status: "running" in lab.state(status) and status["containerStatuses"][0]["restartCount"] == 1)
        assert not lab.alive(record["containers"]["main"]["pid"])
    assert status["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "Lost"


async def test_a_stop_request_that_a_power_cut_emptied_stops_nothing(lab):
    """Requests are not synced, since they mean nothing after a power cut; what one leaves of them keeps no later run from starting."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("exit 1"), restartPolicy="Always"))
        await lab.until("p", lambda status: (status.get("containerStatuses") or [{}])[0].get("restartCount") == 1)
        (lab.pods_dir / uid / "stop.json").write_bytes(b"")
        await lab.until("p", lambda status: status["containerStatuses"][0]["restartCount"] == 3)


async def test_an_interruption_counts_as_no_restart(lab):
    """A runner that the server's end stopped before it was ready has not crashed, so it may not be counted as one that always does."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("sleep 600"), restartPolicy="Always"))
        await lab.started("p")
        await lab.kubelet.stop_all(10.0)
    async with lab.running():
        status = await lab.until("p", lambda status: "running" in lab.state(status) and "lastState" in status["containerStatuses"][0])
    assert status["containerStatuses"][0]["restartCount"] == 0
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 143


async def left_alone(lab):
    """A pod that ran and whose server and shim are gone: its uid and its record."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        record = await lab.recorded(uid)
        await lab.started("p")
    os.kill(record["shim"]["pid"], signal.SIGKILL)
    await lab.until_dead(record["shim"]["pid"], record["containers"]["main"]["pid"])
    return uid, record


async def test_a_recycled_pid_is_never_killed(lab):
    """A process that has a recorded number but another start time is left alone, although the record names it."""
    bystander = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        uid, record = await left_alone(lab)
        record["containers"]["main"]["pid"] = record["shim"]["pid"] = bystander.pid
        (lab.pods_dir / uid / "record.json").write_text(json.dumps(record))
        async with lab.running():
            assert (await lab.ended("p"))["reason"] == "Lost"
        assert lab.alive(bystander.pid)
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_restart_of_the_machine_is_nobodys_fault(lab):
    """A run that another boot of the machine ended is a disruption: the pod's failure is not the program's."""
    uid, record = await left_alone(lab)
    (lab.pods_dir / uid / "record.json").write_text(json.dumps({**record, "boot": "another"}))
    async with lab.running():
        status = await lab.ended("p")
    assert (status["phase"], status["reason"]) == ("Failed", "Rebooted")
    assert lab.condition(status, "DisruptionTarget")["status"] == "True"


async def test_pods_that_nobody_knows_are_removed(lab):
    """Processes and directories of pods that the cluster does not have (any more) are ended and removed at the start."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        pid = (await lab.recorded(uid))["containers"]["main"]["pid"]
    for path in lab.root.glob("cluster.sqlite*"):
        path.unlink()
    async with lab.running():
        await lab.until_dead(pid)
        await lab.vanished(lab.pods_dir / uid)


async def test_a_pod_whose_directory_is_gone_is_not_run_again(lab, tmp_path):
    """A pod that was started once and whose directory is gone is ended and Lost, not run again: it may have had effects."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", counted(lab, tmp_path, "sleep 600")))
        await lab.started("p")
        pid = lab.record(uid)["containers"]["main"]["pid"]
    shutil.rmtree(lab.pods_dir / uid)
    async with lab.running():
        status = await lab.ended("p")
        assert not lab.alive(pid)
    assert (status["reason"], starts(tmp_path)) == ("Lost", 1)


async def test_a_deletion_without_a_server_is_made_up_for(lab):
    """A pod that was deleted while no server ran is stopped and removed by the next one."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        pid = (await lab.recorded(uid))["containers"]["main"]["pid"]
    async with lab.open():
        await lab.cluster.delete(port.POD, "p")
        assert (await lab.get("p"))["metadata"]["deletionTimestamp"]
    async with lab.running():
        await lab.gone("p")
        assert not lab.alive(pid)


async def test_pods_do_not_outlive_a_server_that_never_returns(lab):
    """When no server holds the directory for longer than the grace, a pod ends by itself, as an interruption."""
    (uid,) = await given(lab, lab.a_pod("p", lab.container("sleep 600")))
    server = lab.server(orphan_grace_s=0.5)
    record = await lab.recorded(uid)
    # real time: the grace of a process passes by its own clock
    await anyio.sleep(1.0)
    assert lab.alive(record["containers"]["main"]["pid"])  # while there is a server it runs
    kill(server)
    await lab.until_dead(record["containers"]["main"]["pid"])
    async with lab.running():
        status = await lab.ended("p")
    assert status["reason"] == "ServerGone"
    assert lab.condition(status, "DisruptionTarget")["status"] == "True"


async def test_cancelling_the_kubelet_stops_no_pod(lab):
    """A kubelet that is restarted inside the server finds its pods as they were."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        await lab.started("p")
    before = lab.record(uid)
    async with lab.running():
        await lab.started("p")
    assert lab.record(uid) == before
    assert lab.alive(before["containers"]["main"]["pid"])


async def test_stopping_for_the_servers_end(lab, tmp_path):
    """At the server's end pods stop gently: a Job's pod fails as a disruption, a serving pod is started again by the next start."""
    async with lab.running():
        await lab.create(lab.a_pod("job", counted(lab, tmp_path, "trap 'echo asked; exit 1' TERM; echo up; sleep 600 & wait"), job=True))
        await lab.create(lab.a_pod("serving", lab.container("sleep 600"), restartPolicy="Always"))
        for name in ("job", "serving"):
            await lab.started(name)
        with anyio.fail_after(20):
            while await lab.logs("job") != ["up"]:
                await waiting.a_moment()
        begun = anyio.current_time()
        await lab.kubelet.stop_all(10.0)
        assert anyio.current_time() - begun < 5
        assert lab.processes() == []
        status = await lab.status("job")
        assert await lab.logs("job") == ["up", "asked"]
        assert (status["phase"], status["reason"]) == ("Failed", "Shutdown")
        assert lab.condition(status, "DisruptionTarget")["status"] == "True"
        status = await lab.status("serving")
        assert status["phase"] == "Running"
        assert lab.condition(status, "Ready")["status"] == "False"
        await lab.create(lab.a_pod("late"))
        status = await lab.until("late", lambda status: "waiting" in lab.state(status))
        assert lab.state(status)["waiting"]["reason"] == "NodeShutdown"
    async with lab.running():
        status = await lab.until("serving", lambda status: "running" in lab.state(status))
        assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 143
        assert (await lab.ended("late"))["phase"] == "Succeeded"
    assert starts(tmp_path) == 1


async def test_stopping_kills_what_does_not_end(lab):
    """The server's deadline counts more than a pod's own grace."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("trap '' TERM; sleep 600"), terminationGracePeriodSeconds=300))
        await lab.started("p")
        with anyio.fail_after(4.0):
            await lab.kubelet.stop_all(3.0)
        assert (await lab.status("p"))["reason"] == "Shutdown"


async def test_stopping_without_a_running_kubelet(lab):
    """Pods can be stopped even if the kubelet has failed before; the next start writes down how they ended."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        await lab.started("p")
    await lab.kubelet.stop_all(10.0)
    assert lab.processes() == []
    async with lab.running():
        assert (await lab.ended("p"))["reason"] == "Shutdown"


async def test_without_process_descriptors(lab, monkeypatch):
    """Where the system cannot pin a process, ends are still noticed and pods still stopped, a little later."""
    monkeypatch.delattr(os, "pidfd_open")
    async with lab.running():
        await lab.create(lab.a_pod("short", lab.container("sleep 0.1")))
        uid = await lab.create(lab.a_pod("long", lab.container("sleep 600")))
        assert (await lab.ended("short"))["phase"] == "Succeeded"
        pid = (await lab.recorded(uid))["containers"]["main"]["pid"]
        await lab.started("long")
        await lab.cluster.delete(port.POD, "long")
        await lab.gone("long")
        assert not lab.alive(pid)


async def test_one_kubelet_for_a_directory(lab):
    """A second kubelet for the same directory is refused."""
    async with lab.running():
        second = kubelet.Kubelet(lab.cluster, lab.pods_dir, settings.Pods(), clock.SystemClock(), sandboxes=describing.UNCONFINED)
        with pytest.raises(errors.InUse, match="another server runs pods"):
            await second.run()


async def test_the_shim_needs_little(lab):
    """A shim needs little memory of its own, apart from what it shares with the template: it is there once for each pod."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("sleep 600")))
        record = await lab.recorded(uid)
        rolled = Path(f"/proc/{record['shim']['pid']}/smaps_rollup").read_text()
        own = sum(int(kib) for kib in re.findall(r"Private_\w+:\s+(\d+) kB", rolled)) * 1024
        assert own < 8 * 2**20
