"""Dyff as `dyff manifests` deploys it: every role in pods of a real node, on engines outside of it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests import waiting
from tests.acceptance.conftest import DYFF, plain_environment, run
from tests.acceptance.deployment import SECRET, engines
from tests.acceptance.on_kubernetes import STEPS
from tests.engines.node.access import Node
from tests.narrowing import sure

_OURS = ("-l", "app.kubernetes.io/name=dyff")
_READY_S = 240.0
"""Twelve pods on a small machine that does other things, too."""

_FORWARD = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def listen(near, host, far):
    async def accept(reader, writer):
        try:
            there = await asyncio.open_connection(host, far)
        except OSError:
            return writer.close()
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    await asyncio.start_server(accept, "127.0.0.1", near)

async def main(host, *pairs):
    for near, far in (pair.split(":") for pair in pairs):
        await listen(int(near), host, int(far))
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""
"""Servers of the machine at the loopback addresses that they know themselves by: a Kafka broker sends its clients there."""

_CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"


class Pods:
    """The roles in their pods. Looks like `Server` to a test of the whole path."""

    def __init__(self, node: Node, namespace: str, settings: dict[str, str]) -> None:
        """`settings`: as variables, for commands on this machine."""
        self._node, self._namespace, self._settings = node, namespace, settings

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints for this namespace."""
        return self._node.kubectl("--namespace", self._namespace, *arguments, stdin=stdin)

    @property
    def endpoint(self) -> str:
        """Of one pod of the api."""
        (pod, *_) = self.pods("api")
        return f"http://{pod['status']['podIP']}:8000/v0"

    def pods(self, role: str | None = None) -> list[dict[str, Any]]:
        """Those of a role, or of all."""
        chosen = _OURS if role is None else ("-l", f"app.kubernetes.io/name=dyff,app.kubernetes.io/component={role}")
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", *chosen, "-o", "json"))["items"]
        return found

    def command(self, *arguments: str) -> str:
        """What a `dyff` command with the same settings prints, on this machine."""
        environment = plain_environment() | self._settings
        result = subprocess.run([DYFF, *arguments], capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout.strip()

    def wait_ready(self) -> None:
        """Until all replicas of all roles are."""
        end = time.monotonic() + _READY_S
        while True:
            deployments = json.loads(self.kubectl("get", "deployments", *_OURS, "-o", "json"))["items"]
            if deployments and all(each["status"].get("readyReplicas") == each["spec"]["replicas"] for each in deployments):
                return
            if time.monotonic() > end:
                pytest.fail(f"not ready:\n{self.kubectl('get', 'pods')}{self.kubectl('get', 'events')}{self.logs()[-5000:]}")
            waiting.a_blocking_moment(0.5)

    def logs(self) -> str:
        """Of all pods, each line with the name of its pod."""
        return self.kubectl("logs", *_OURS, "--container", "dyff", "--prefix", "--tail=-1")

    def wait_job(self, name: str) -> None:
        """Until it is complete."""
        end = time.monotonic() + _READY_S
        while True:
            conditions = json.loads(self.kubectl("get", "job", name, "-o", "json"))["status"].get("conditions", [])
            ended = {each["type"] for each in conditions if each["status"] == "True"}
            if "Complete" in ended:
                return
            if "Failed" in ended or time.monotonic() > end:
                pytest.fail(f"the Job {name} did not end well:\n{self.kubectl('get', 'events')}{self.kubectl('logs', f'job/{name}')}")
            waiting.a_blocking_moment(0.2)


@contextmanager
def deployed(node: Node, folder: Path) -> Iterator[Pods]:
    """What the command prints, in a namespace that enforces the restricted standard; all roles are ready."""
    namespace = f"dyff-{uuid.uuid4().hex[:8]}"
    settings = engines(folder)
    own = {name: value for name, value in settings.items() if name.startswith("DYFF_") and not name.startswith("DYFF_PODS_")}
    with ExitStack() as stack:
        ports = {each: stack.enter_context(node.reaching(each)) for each in _ports(settings)}
        store = urlsplit(settings["DYFF_OBJECTS__URL"].rpartition("endpoint=")[2]).port
        own |= {"DYFF_OBJECTS__STEPS_ENDPOINT": f"http://{node.host}:{ports[sure(store)]}", "DYFF_OPERATOR__STEPS_IMAGE": STEPS}
        (folder / "settings.yaml").write_text(yaml.safe_dump(_tree(own)))
        subject = Pods(node, namespace, settings)
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": restricted}})
        credentials = {name: base64.b64encode(value.encode()).decode() for name, value in settings.items() if name.startswith("AWS_")}
        for name in (SECRET, "dyff-secrets"):
            node.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": credentials})
        for printed in (("crds",), ("rbac", "--namespace", namespace)):
            subject.kubectl("apply", "--server-side", "-f", "-", stdin=run("manifests", *printed).stdout)
        config, *rest = _printed(namespace, folder / "settings.yaml")
        for each in rest:
            if each["kind"] == "Deployment":
                each["spec"]["template"]["spec"]["initContainers"] = [_forwarder(node.host, ports)]
        node.apply(config, _migration(rest[0]))
        subject.wait_job("migrate")
        node.apply(*rest)
        subject.wait_ready()
        yield subject
    node.kubectl("delete", "namespace", namespace, "--wait=false")


def _printed(namespace: str, file: Path) -> list[dict[str, Any]]:
    printed = run("manifests", "deploy", "--namespace", namespace, "--image", STEPS, "--config", str(file))
    assert printed.returncode == 0, printed.stderr
    return list(yaml.safe_load_all(printed.stdout))


def _ports(settings: dict[str, str]) -> list[int]:
    """Loopback ports of the engines."""
    addresses = (
        f"//{settings['DYFF_BUS__KAFKA__BOOTSTRAP_SERVERS']}",
        settings["DYFF_QUERY__MONGODB__URI"],
        settings["DYFF_OBJECTS__URL"].rpartition("endpoint=")[2],
    )
    return [int(urlsplit(each).port or 0) for each in addresses]


def _tree(variables: dict[str, str]) -> dict[str, Any]:
    """The settings file that says the same as these variables."""
    tree: dict[str, Any] = {}
    for name, value in variables.items():
        *path, last = name.removeprefix("DYFF_").lower().split("__")
        into = tree
        for each in path:
            into = into.setdefault(each, {})
        into[last] = value
    return tree


def _forwarder(host: str, ports: dict[int, int]) -> dict[str, Any]:
    """A container next to a role's, for as long as that runs."""
    near = next(iter(ports))
    return {
        "name": "engines",
        "image": STEPS,
        "imagePullPolicy": "Never",
        "restartPolicy": "Always",
        "command": ["python3", "-c", _FORWARD, host, *(f"{near}:{far}" for near, far in ports.items())],
        "startupProbe": {
            "exec": {"command": ["python3", "-c", _CONNECT, str(near)]},
            "periodSeconds": 1,
            "timeoutSeconds": 20,
            "failureThreshold": 60,
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
    }


def _migration(deployment: dict[str, Any]) -> dict[str, Any]:
    """A Job that migrates, from the pod of a role."""
    spec = json.loads(json.dumps(deployment["spec"]["template"]["spec"])) | {"restartPolicy": "Never"}
    (container,) = spec["containers"]
    spec["containers"] = [
        {name: value for name, value in container.items() if not name.endswith("Probe")} | {"args": ["migrate", "pre"]},
    ]
    about = {"name": "migrate", "namespace": deployment["metadata"]["namespace"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": {"template": {"spec": spec}, "backoffLimit": 0}}
