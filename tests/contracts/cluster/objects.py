"""Objects that the suite makes, and how it waits and watches."""

from __future__ import annotations

from dyff.cluster import port
from dyff.entities import custom_resource

EVALUATION = port.Kind(custom_resource.GROUP_VERSION, "Evaluation", "evaluations")
SESSION = port.Kind(custom_resource.GROUP_VERSION, "InferenceSession", "inferencesessions")
FINALIZER = "dyff.io/test"
DEADLINE_S = 60.0
"""A real collector of garbage learns of a new type within half a minute."""


def a_config(name: str, data: dict[str, str] | None = None, **metadata) -> port.Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"key": "value"}}


def an_evaluation(name: str, spec: port.Object | None = None, **metadata) -> port.Object:
    spec = {
        "id": "0" * 32,
        "account": "1" * 32,
        "dataset": "2" * 32,
        "interface": {"endpoint": "generate", "outputSchema": {"arrowSchema": ""}},
        "inferenceSessionReference": "3" * 32,
        **(spec or {}),
    }
    return {"apiVersion": EVALUATION.api_version, "kind": "Evaluation", "metadata": {"name": name, **metadata}, "spec": spec}


def condition(status: str) -> port.Object:
    return {
        "conditions": [
            {"type": "Complete", "status": status, "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]
    }


def a_session(name: str, **metadata) -> port.Object:
    spec = {"id": "0" * 32, "account": "1" * 32, "runner": "mock"}
    return {"apiVersion": SESSION.api_version, "kind": "InferenceSession", "metadata": {"name": name, **metadata}, "spec": spec}
