"""Starting local pods against starting bare Python, and the cost of idle pods, in one run."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster
from dyff.cluster.pods import kubelet
from dyff.cluster.pods.isolation import describing
from dyff.kernel import clock, ids, logs, settings

STARTS = 20
IDLE = 10
IDLE_S = 20.0
IMAGE = settings.Image(command=("/bin/sh", "-c"), readiness_path=None)
TICKS = os.sysconf("SC_CLK_TCK")


def a_pod(name: str, script: str, limits: port.Object) -> port.Object:
    """Return a pod that runs a shell script."""
    container = {"name": "main", "image": "sh", "args": [script], "resources": {"limits": limits}}
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}}


async def until(cluster: port.Cluster, name: str, holds: Callable[[str], bool]) -> None:
    """Wait for a pod's phase."""
    while True:
        pod = await cluster.get(port.POD, name)
        if pod is not None and holds(pod.get("status", {}).get("phase", "")):
            return
        await anyio.sleep(0.001)


def bare_ms() -> float:
    """Return the median milliseconds to start and end an empty interpreter."""
    times = []
    for _ in range(STARTS):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


async def starts(cluster: port.Cluster) -> None:
    """Measure the time from the creation of a Pod until its program runs."""
    times = []
    for index in range(STARTS):
        begun = time.time()
        await cluster.create(port.POD, a_pod(f"start-{index}", "date +%s.%N", {}))
        await until(cluster, f"start-{index}", lambda phase: phase == "Succeeded")
        times.append((float((await cluster.logs(f"start-{index}"))[0].message) - begun) * 1000)
    python = bare_ms()
    print(f"pod created to its program running: median {statistics.median(times):.0f} ms, best {min(times):.0f} ms")
    print(f"  bare Python alone: {python:.0f} ms; the pod costs {statistics.median(times) / python:.1f} times that")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def live_shims(root: Path) -> list[int]:
    """Return the process IDs of the running shims."""
    records = [json.loads(path.read_text()) for path in root.glob("*/record.json")]
    return [record["shim"]["pid"] for record in records if not record["finished"]]


async def idle(cluster: port.Cluster, root: Path) -> None:
    """Measure the cost of idle pods. Half of them have a memory limit, which is monitored."""
    for index in range(IDLE):
        await cluster.create(port.POD, a_pod(f"idle-{index}", "exec sleep 600", {"memory": "100Mi"} if index % 2 else {}))
    for index in range(IDLE):
        await until(cluster, f"idle-{index}", lambda phase: phase == "Running")
    shims = live_shims(root)
    before, own = {pid: cpu_s(pid) for pid in shims}, resource.getrusage(resource.RUSAGE_SELF).ru_utime
    await anyio.sleep(IDLE_S)
    used = sum(cpu_s(pid) - before[pid] for pid in shims)
    server = resource.getrusage(resource.RUSAGE_SELF).ru_utime - own
    print(f"{IDLE} pods for {IDLE_S:.0f} s: {used / IDLE_S * 100:.2f} % of a core in shims, {server / IDLE_S * 100:.2f} % in the server")
    print(f"  a shim: {statistics.median(map(resident_mib, shims)):.1f} MiB resident, most of it shared with every other Python")


async def main() -> None:
    """Run everything in one directory, with the real cluster and kubelet."""
    logs.configure("warning")
    with tempfile.TemporaryDirectory() as folder:
        root, now = Path(folder) / "pods", clock.SystemClock()
        database = Path(folder) / "cluster.sqlite"
        async with (
            EmbeddedCluster.open(database, clock=now, ids=ids.RandomIds(), pods_dir=root) as cluster,
            anyio.create_task_group() as group,
        ):
            subject = kubelet.Kubelet(cluster, root, settings.Pods(images={"sh": IMAGE}), now, sandboxes=describing.UNCONFINED)
            await group.start(lambda *, task_status: subject.run(task_status=task_status))
            await starts(cluster)
            await idle(cluster, root)
            begun = time.perf_counter()
            await subject.stop_all(10.0)
            print(f"stopping {IDLE} pods: {(time.perf_counter() - begun) * 1000:.0f} ms")
            group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
