"""The cluster port's logs on a real node: what real containers wrote and write, read and followed."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from dyff.cluster import port
from dyff.cluster.kubernetes import Connection, KubernetesCluster
from tests import waiting
from tests.acceptance.on_kubernetes import STEPS
from tests.narrowing import sure

pytestmark = [pytest.mark.acceptance, pytest.mark.engines]

DEADLINE_S = 90.0
WRITE = "import sys, time\nfor number in range({count}): print({name!r}, number, flush=True); time.sleep({pause_s})\n{then}"


def container(name: str, count: int, *, pause_s: float = 0.0, then: str = "") -> dict[str, Any]:
    """One that writes its name and a number so many times, and then runs `then`."""
    code = WRITE.format(name=name, count=count, pause_s=pause_s, then=then)
    return {"name": name, "image": STEPS, "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", code]}


def pod(*containers: dict[str, Any], restart: str = "Never", init: tuple[dict[str, Any], ...] = ()) -> port.Object:
    """A pod that ends without grace."""
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 0, "containers": list(containers)}
    return {"metadata": {"name": f"logs-{uuid.uuid4().hex[:8]}"}, "spec": {**spec, **({"initContainers": list(init)} if init else {})}}


@pytest.fixture
async def cluster(node) -> AsyncIterator[port.Cluster]:
    """The namespace of the node that every cluster has."""
    async with KubernetesCluster.open(Connection(kubeconfig=node.kubeconfig, namespace="default")) as opened:
        yield opened


@pytest.fixture
async def run(cluster) -> AsyncIterator[Callable]:
    """Makes a pod, which is removed afterwards; its name."""
    made = []

    async def begin(obj: port.Object) -> str:
        made.append(obj["metadata"]["name"])
        await cluster.create(port.POD, obj)
        return made[-1]

    yield begin
    for name in made:
        await cluster.delete(port.POD, name)


async def until(cluster: port.Cluster, name: str, true: Callable[[dict[str, Any]], Any]) -> None:
    """Wait until that is true of a pod's status."""
    with anyio.fail_after(DEADLINE_S):
        while not true((sure(await cluster.get(port.POD, name))).get("status") or {}):
            await waiting.a_moment()


async def followed(cluster: port.Cluster, name: str, of: str, since: str | None = None) -> list[port.LogLine]:
    """All lines until it ends by itself."""
    with anyio.fail_after(DEADLINE_S):
        return [line async for line in cluster.follow(name, of, since=since)]


def restarts(status: dict[str, Any]) -> int:
    return max((each["restartCount"] for each in status.get("containerStatuses") or ()), default=0)


async def test_lines_of_all_containers(cluster, run):
    """Init containers first, each in order; `limit` counts from the end; `since` leaves out that very line and all before."""
    name = await run(pod(container("main", 5), init=(container("init", 3),)))
    await until(cluster, name, lambda status: status.get("phase") == "Succeeded")
    lines = await cluster.logs(name)
    want = [*(f"init {number}" for number in range(3)), *(f"main {number}" for number in range(5))]
    assert [line.message for line in lines] == want
    assert [line.message for line in await cluster.logs(name, container="init")] == want[:3]
    assert [line.message for line in await cluster.logs(name, limit=4)] == want[-4:]
    assert [line.message for line in await cluster.logs(name, container="main", since=lines[5].timestamp)] == want[6:]
    assert [line.message for line in await cluster.logs(name, container="main", since=lines[5].timestamp, limit=1)] == want[-1:]
    assert await cluster.logs(name, container="absent") == ()
    assert await followed(cluster, name, "main") == list(lines[3:])
    assert await followed(cluster, name, "main", since=lines[6].timestamp) == list(lines[7:])
    assert await followed(cluster, name, "absent") == []


async def test_a_container_is_followed_from_before_it_starts_to_its_end(cluster, run):
    """One that has not started has no lines yet; it is waited for, and shown to its end, also its last line without a line feed."""
    last = "sys.stdout.write('the end'); sys.exit(3)"
    name = await run(pod(container("main", 4, pause_s=0.5, then=last), init=(container("init", 2, pause_s=1),)))
    assert await cluster.logs(name, container="main") == ()
    lines = await followed(cluster, name, "main")
    assert [line.message for line in lines] == [*(f"main {number}" for number in range(4)), "the end"]
    assert lines == sorted(lines, key=lambda line: line.timestamp)


async def test_long_lines_are_whole(cluster, run):
    """The runtime cuts lines at 16 KiB; they are shown as they were written."""
    name = await run(pod(container("main", 1, then="print('x' * 50_000 + '.'); print('y')")))
    await until(cluster, name, lambda status: status.get("phase") == "Succeeded")
    want = ["main 0", "x" * 50_000 + ".", "y"]
    assert [line.message for line in await cluster.logs(name)] == want
    assert [line.message for line in await followed(cluster, name, "main")] == want


async def test_a_container_that_starts_again(cluster, run):
    """Following ends with the run that was followed; another call goes on with the next, from the last line that was seen."""
    name = await run(pod(container("main", 2, then="time.sleep(2); sys.exit(1)"), restart="Always"))
    first = await followed(cluster, name, "main")
    assert [line.message for line in first] == ["main 0", "main 1"]
    await until(cluster, name, lambda status: restarts(status) >= 1)
    second = await followed(cluster, name, "main", since=first[-1].timestamp)
    assert [line.message for line in second] == ["main 0", "main 1"]
    assert second[0].timestamp > first[-1].timestamp


async def test_a_pod_that_never_starts(cluster, run):
    """Its container has no log, and following ends when the pod is removed."""
    broken = {**container("main", 1), "image": "UPPER//x"}
    name = await run(pod(broken))
    await until(cluster, name, lambda status: "InvalidImageName" in json.dumps(status))
    assert await cluster.logs(name) == ()
    async with anyio.create_task_group() as tasks:

        async def remove() -> None:
            # real time: the log is followed first, on a real node that does not report that
            await anyio.sleep(1)
            await cluster.delete(port.POD, name)

        tasks.start_soon(remove)
        assert await followed(cluster, name, "main") == []
    assert await cluster.logs(name) == ()


async def test_a_pod_that_is_removed_while_it_is_followed(cluster, run):
    """What it wrote was shown, then following ends."""
    name = await run(pod(container("main", 1000, pause_s=0.5)))
    seen = []
    with anyio.fail_after(DEADLINE_S):
        async for line in cluster.follow(name, "main"):
            seen.append(line.message)
            if len(seen) == 3:
                await cluster.delete(port.POD, name)
    assert seen[:3] == ["main 0", "main 1", "main 2"]
