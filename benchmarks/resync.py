"""The operator's start with 10,000 custom resources that need nothing, compared with kopf with an empty handler, on one API server.

Needs `DYFF_TEST_KUBECONFIG`: python -m tests.engines run --only kubernetes -- env PYTHONPATH=. .venv/bin/python benchmarks/resync.py
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time

import anyio

from dyff.cluster import port
from dyff.cluster.kubernetes import Connection, KubernetesCluster
from dyff.entities import custom_resource
from dyff.kernel import clock, settings
from dyff.operator import controller, plan
from tests.contracts.cluster import namespaces
from tests.engines.kubernetes.recipe import access

RESOURCES = int(os.environ.get("BENCH_RESOURCES", "10000"))
ROUNDS = 3
IN_FLIGHT = 32
MODEL = port.Kind(custom_resource.GROUP_VERSION, "Model", "models")
DONE = {
    "conditions": [
        {"type": "Complete", "status": "True", "reason": "Complete", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]
}


def model(number: int) -> port.Object:
    """Return a model that was fetched."""
    spec = {
        "id": f"{number:032x}",
        "account": "bench",
        "source": {"kind": "HuggingFaceHub", "huggingFaceHub": {"repoID": "a/b", "revision": "c"}},
        "artifact": {"kind": "Volume"},
    }
    return {"metadata": {"name": f"model-{number:032x}", "labels": {"dyff.io/id": f"{number:032x}"}}, "spec": spec}


async def fill(cluster: port.Cluster) -> None:
    """Create all resources, each in its final state."""
    numbers = iter(range(RESOURCES))

    async def worker() -> None:
        for number in numbers:
            made = await cluster.create(MODEL, model(number))
            await cluster.patch(MODEL, made["metadata"]["name"], {"status": DONE}, status=True)

    async with anyio.create_task_group() as group:
        for _ in range(IN_FLIGHT):
            group.start_soon(worker)


async def ours(kubeconfig: str, namespace: str) -> None:
    """Print the seconds from the start until every resource was reconciled, and the peak memory in MB, as a line of JSON."""
    began = time.perf_counter()
    async with KubernetesCluster.open(Connection(kubeconfig=kubeconfig, namespace=namespace)) as cluster:
        subject = controller.Controller(cluster, clock.SystemClock(), plan.Setup(settings.Operator()))
        async with anyio.create_task_group() as group:
            await group.start(subject.run)
            while subject.statistics().waiting or subject.statistics().active:  # noqa: ASYNC110 (the operator signals no event for this)
                await anyio.sleep(0.01)
            report(began)
            group.cancel_scope.cancel()


def theirs(kubeconfig: str, namespace: str) -> None:
    """Print the same for kopf, whose handler counts."""
    import kopf

    began, seen = time.perf_counter(), 0
    stop = asyncio.Event()
    url, _, headers = access(kubeconfig)

    @kopf.on.login()
    def login(**_: object) -> object:
        return kopf.ConnectionInfo(server=url, token=headers["Authorization"].removeprefix("Bearer "), insecure=True)

    @kopf.on.event("dyff.io", "v1alpha1", "models")
    def look(**_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == RESOURCES:
            report(began)
            stop.set()

    async def run() -> None:
        await kopf.operator(namespaces=[namespace], stop_flag=stop, standalone=True)

    asyncio.run(run())


def report(began: float) -> None:
    """Print one line for the parent process."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "peak_mb": peak_mb}), flush=True)


def measured(whose: str, kubeconfig: str, namespace: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, whose, kubeconfig, namespace], capture_output=True, text=True, check=False, timeout=600
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{whose} did not measure: {done.stdout[-500:]} {done.stderr[-1500:]}")
    found: dict[str, float] = json.loads(lines[-1])
    return found


async def main() -> None:
    """Fill a namespace, then measure both in turn."""
    kubeconfig = os.environ.get("DYFF_TEST_KUBECONFIG") or sys.exit("DYFF_TEST_KUBECONFIG is not set; see the docstring")
    async with namespaces.fresh(kubeconfig) as cluster:
        await fill(cluster)
        rows = {
            whose: [await anyio.to_thread.run_sync(measured, whose, kubeconfig, cluster.namespace) for _ in range(ROUNDS)]
            for whose in ("ours", "kopf")
        }
    best = {whose: min(found, key=lambda row: row["seconds"]) for whose, found in rows.items()}
    for whose, row in best.items():
        print(f"{whose:<6} {RESOURCES} resources in {row['seconds']:.2f} s, peak {row['peak_mb']:.0f} MB")
    faster, smaller = best["kopf"]["seconds"] / best["ours"]["seconds"], best["ours"]["peak_mb"] / best["kopf"]["peak_mb"]
    print(f"ratio  {faster:.1f} times as fast, {smaller:.2f} of the memory")


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        asyncio.run(ours(*sys.argv[2:]))
    elif sys.argv[1:2] == ["kopf"]:
        theirs(*sys.argv[2:])
    else:
        asyncio.run(main())
