"""A cluster, a kubelet and pods that run small shell scripts; after each test nothing of them may be left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster
from dyff.cluster.pods import kubelet, specs
from dyff.cluster.pods.isolation import describing
from dyff.cluster.pods.shim import files, processes
from dyff.kernel import clock, ids, settings
from tests import waiting

DEADLINE_S = 30.0
IMAGES = {
    "test/sh": settings.Image(command=("/bin/sh", "-c"), readiness_path=None),
    "test/python": settings.Image(command=(sys.executable, "-I", "-S", "-c"), readiness_path="/ready"),
    "test/web": settings.Image(
        command=(sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1", "--directory", "{mount:site}"),
        readiness_path="/ready.txt",
    ),
    "test/absent": settings.Image(command=("/no/such/program",)),
}
SERVER = Path(__file__).with_name("serve_pods.py")


def container(script: str = "true", name: str = "main", **more: Any) -> port.Object:
    """`script`: for a shell, as it is; Kubernetes reads two dollar signs in an argument as one."""
    return {"name": name, "image": "test/sh", "args": [script.replace("$$", "$$$$")], **more}


def a_pod(name: str, *containers: port.Object, job: bool = False, init: tuple[port.Object, ...] = (), **spec: Any) -> port.Object:
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": "a-job", "uid": "00000000-0000-4000-8000-000000000000"}] if job else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"dyff.io/id": "42"}, "ownerReferences": owners},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "containers": list(containers) or [container()],
            "initContainers": list(init),
            **spec,
        },
    }


def alive(pid: int) -> bool:
    return processes.started(pid) is not None


def state(status: dict[str, Any], field: str = "containerStatuses", index: int = 0) -> dict[str, Any]:
    entries = status.get(field) or []
    return entries[index]["state"] if len(entries) > index else {}


def terminated(status: dict[str, Any]) -> dict[str, Any]:
    return state(status)["terminated"]


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})


async def until_dead(*pids: int) -> None:
    with anyio.fail_after(DEADLINE_S):
        while any(alive(pid) for pid in pids):
            await waiting.a_moment()


class Lab:
    """One data directory. `running` opens its cluster and runs a kubelet on it; `server` does so in a process of its own."""

    images = IMAGES
    container = staticmethod(container)
    a_pod = staticmethod(a_pod)
    state = staticmethod(state)
    terminated = staticmethod(terminated)
    condition = staticmethod(condition)
    alive = staticmethod(alive)
    until_dead = staticmethod(until_dead)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pods_dir = root / "pods"
        self.database = root / "cluster.sqlite"
        self.cluster: EmbeddedCluster
        self.kubelet: kubelet.Kubelet

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EmbeddedCluster]:
        time = clock.SystemClock()
        async with EmbeddedCluster.open(self.database, clock=time, ids=ids.RandomIds(), pods_dir=self.pods_dir) as opened:
            self.cluster = opened
            yield opened

    @asynccontextmanager
    async def running(self, sandboxes: describing.Sandboxes = describing.UNCONFINED, **pods: Any) -> AsyncIterator[Lab]:
        async with self.open() as opened, anyio.create_task_group() as group:
            chosen = settings.Pods(**{"images": IMAGES, **pods})
            self.kubelet = kubelet.Kubelet(opened, self.pods_dir, chosen, clock.SystemClock(), sandboxes=sandboxes)
            await group.start(lambda *, task_status: self.kubelet.run(task_status=task_status))
            yield self
            group.cancel_scope.cancel()

    def server(self, **pods: Any) -> subprocess.Popen[bytes]:
        """A server process; kill it as you like."""
        chosen = msgspec.json.encode(settings.Pods(**{"images": IMAGES, **pods})).decode()
        return subprocess.Popen([sys.executable, str(SERVER), str(self.root), chosen], start_new_session=True)

    async def create(self, pod: port.Object) -> str:
        created = await self.cluster.create(port.POD, pod)
        return str(created["metadata"]["uid"])

    async def get(self, name: str) -> port.Object:
        found = await self.cluster.get(port.POD, name)
        assert found is not None
        return found

    async def status(self, name: str) -> dict[str, Any]:
        return dict((await self.get(name)).get("status") or {})

    async def until(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status of the pod for which `holds`."""
        status: dict[str, Any] = {}
        try:
            with anyio.fail_after(DEADLINE_S):
                while not holds(status := await self.status(name)):
                    await waiting.a_moment()
        except TimeoutError:
            raise AssertionError(f"pod {name} stayed {json.dumps(status, indent=1)}") from None
        return status

    async def ended(self, name: str) -> dict[str, Any]:
        return await self.until(name, lambda status: status.get("phase") in ("Succeeded", "Failed"))

    async def started(self, name: str) -> dict[str, Any]:
        return await self.until(name, lambda status: "running" in state(status))

    async def ready(self, name: str) -> dict[str, Any]:
        return await self.until(name, lambda status: condition(status, "Ready").get("status") == "True")

    async def gone(self, name: str) -> None:
        with anyio.fail_after(DEADLINE_S):
            while await self.cluster.get(port.POD, name) is not None:
                await waiting.a_moment()

    async def released(self, name: str) -> None:
        with anyio.fail_after(DEADLINE_S):
            while specs.FINALIZER in (await self.get(name))["metadata"]["finalizers"]:
                await waiting.a_moment()

    async def vanished(self, path: Path) -> None:
        with anyio.fail_after(DEADLINE_S):
            while path.exists():
                await waiting.a_moment()

    async def logs(self, name: str) -> list[str]:
        return [line.message for line in await self.cluster.logs(name)]

    async def said(self, name: str, line: str) -> None:
        """Wait for a line of the pod's log."""
        with anyio.fail_after(DEADLINE_S):
            while line not in await self.logs(name):
                await waiting.a_moment()

    async def file(self, path: Path) -> str:
        """The content of a file that a pod will write."""
        with anyio.fail_after(DEADLINE_S):
            while not path.exists() or not path.read_text().endswith("\n"):
                await waiting.a_moment()
        return path.read_text().strip()

    def record(self, uid: str) -> dict[str, Any]:
        """What the pod's shim has written down; empty: nothing yet."""
        path = self.pods_dir / uid / "record.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def reached(self, promised: int, begun: int) -> bool:
        """Whether a server is at work and has promised and begun that many pods."""
        if files.is_free(str(self.pods_dir / "server.lock")):
            return False
        return len(list(self.pods_dir.glob("*/intent.json"))) >= promised and len(list(self.pods_dir.glob("*/record.json"))) >= begun

    async def recorded(self, uid: str, name: str = "main") -> dict[str, Any]:
        """The record once a container's process is in it."""
        with anyio.fail_after(DEADLINE_S):
            while name not in self.record(uid).get("containers", {}):
                await waiting.a_moment()
        return self.record(uid)

    def processes(self) -> list[int]:
        """Every process of a pod of this directory, and their shims."""
        mark = str(self.root).encode()
        found = []
        for pid in processes.all_pids():
            try:
                words = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if mark in words and pid != os.getpid():
                found.append(pid)
        return found


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Ends with every pod stopped, and fails if a process is left."""
    subject = Lab(tmp_path / "data")
    subject.root.mkdir()
    yield subject
    async with subject.running():
        for each in (await subject.cluster.list(port.POD)).items:
            await subject.cluster.delete(port.POD, each["metadata"]["name"])
        for each in (await subject.cluster.list(port.POD)).items:
            await subject.gone(each["metadata"]["name"])
    left = subject.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
