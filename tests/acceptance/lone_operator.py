"""The operator alone on a real node: a namespace of its own, custom resources by kubectl, and nothing else of Dyff."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dyff.entities import custom_resource, registry
from tests import waiting
from tests.acceptance.deployment import SECRET, Process
from tests.acceptance.on_kubernetes import STEPS
from tests.engines.node.access import Node

_LOOK_S = 0.5


class Place:
    """A namespace with an operator. What is in it goes by the names that a test gives."""

    def __init__(self, node: Node, folder: Path, settings: Mapping[str, str], *, secret: bool = True) -> None:
        """`settings`: of the operator, and the credentials of its object store. `secret`: whether the pods have those, too."""
        self.node, self.namespace = node, f"endings-{uuid.uuid4().hex[:8]}"
        self.node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self._credentials = {key: value for key, value in settings.items() if key.startswith("AWS_")}
        if secret:
            self.make_secret()
        own = {
            "DYFF_CLUSTER__KUBERNETES__KUBECONFIG": node.kubeconfig,
            "DYFF_CLUSTER__KUBERNETES__NAMESPACE": self.namespace,
            "DYFF_OPERATOR__STEPS_IMAGE": STEPS,
            "DYFF_OPERATOR__STORAGE_SECRET": SECRET,
        }
        self._folder, self._settings = folder, {**settings, **own}
        self.operator = Process("operator", "operator", folder, self._settings)
        self._ids: dict[str, str] = {}
        self._seen: dict[str, list[Any]] = {}
        self._seen_at = 0.0

    def start_again(self, **settings: str) -> None:
        """Another operator in the place of the one that runs, with other settings."""
        self.operator.send(signal.SIGTERM)
        assert self.operator.wait() == 0
        self.operator = Process("operator", "operator", self._folder, {**self._settings, **settings})
        self.operator.begin()
        self.operator.wait_ready()

    def kill(self) -> None:
        """The operator that runs now."""
        self.operator.kill()

    def make_secret(self) -> None:
        """The one that the steps' environment comes from."""
        about = {"name": SECRET, "namespace": self.namespace}
        self.node.apply({"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": self._credentials})

    def apply(self, *objects: dict) -> None:
        """Make objects in the namespace."""
        self.node.apply(*({**each, "metadata": {**each["metadata"], "namespace": self.namespace}} for each in objects))

    def run(self, **specs: dict) -> None:
        """Make custom resources: by name their spec without what every one has. What has a source is a Model."""
        made = []
        for name, spec in specs.items():
            self._ids[name] = uuid.uuid4().hex
            kind = registry.RESOURCE_BY_KIND["Model"] if "source" in spec else registry.RESOURCE_BY_KIND["InferenceSession"]
            full = {"id": self._ids[name], "account": "acme", **spec}
            about = {"name": custom_resource.name(kind, self._ids[name])}
            made.append({"apiVersion": custom_resource.GROUP_VERSION, "kind": kind.kind, "metadata": about, "spec": full})
        self.apply(*made)

    def full_name(self, name: str) -> str:
        """Of the custom resource."""
        return str(next(each["metadata"]["name"] for each in self._all("custom") if each["spec"]["id"] == self._ids[name]))

    def condition(self, name: str, kind: str) -> dict[str, Any] | None:
        """A condition of a custom resource, as kubectl shows it a moment ago."""
        for each in self._all("custom"):
            if each["spec"]["id"] == self._ids[name]:
                return next((reported for reported in (each.get("status") or {}).get("conditions") or () if reported["type"] == kind), None)
        return None

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Its pods."""
        return [each for each in self._all("pods") if (each["metadata"].get("labels") or {}).get("dyff.io/id") == self._ids[name]]

    def parts(self, name: str) -> list[str]:
        """All that has its ID, as `kind/name`."""
        kinds = "inferencesessions,models,networkpolicies,deployments,replicasets,services,configmaps,jobs,pods"
        return self.kubectl("get", kinds, "-l", f"dyff.io/id={self._ids[name]}", "-o", "name").split()

    def wait(self, name: str, kind: str, true: Callable[[dict[str, Any]], bool], limit_s: float) -> dict[str, Any]:
        """Wait until that is true of a condition; the condition."""
        return self.until(lambda: (found := self.condition(name, kind)) is not None and true(found) and found, limit_s, name)

    def until(self, true: Callable[[], Any], limit_s: float, name: str) -> Any:
        """Wait until that is true; what it gave."""
        end = time.monotonic() + limit_s
        while not (found := true()):
            if time.monotonic() > end:
                reported = [self.condition(name, each) for each in ("Ready", "Failed", "Complete")]
                pods = json.dumps([each["status"] for each in self.pods(name)])
                pytest.fail(
                    f"{name} is not as it should be after {limit_s:g} s: {reported}\n{pods}\n{self.operator.log.read_text()[-2000:]}"
                )
            waiting.a_blocking_moment(_LOOK_S)
        return found

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says in the namespace."""
        return self.node.kubectl("-n", self.namespace, *arguments)

    def _all(self, what: str) -> list[Any]:
        """What there is, asked for at most once in a while for all."""
        if time.monotonic() > self._seen_at + _LOOK_S:
            listed = json.loads(self.kubectl("get", "inferencesessions,models,pods", "-o", "json"))["items"]
            self._seen = {"custom": [each for each in listed if each["kind"] != "Pod"]}
            self._seen["pods"] = [each for each in listed if each["kind"] == "Pod"]
            self._seen_at = time.monotonic()
        return self._seen[what]
