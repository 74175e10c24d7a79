"""The address of an inference session."""

from __future__ import annotations

from dyff.cluster import port
from dyff.operator import plan
from dyff.operator.manifests import metadata

PORT = 80


def build(session: port.Object, component: str, setup: plan.Setup) -> port.Object:
    """The Service of a session: port 80 of its name routes to the ready runners."""
    return {
        "apiVersion": port.SERVICE.api_version,
        "kind": port.SERVICE.kind,
        "metadata": metadata.of_child(session, session["metadata"]["name"], component),
        "spec": {
            "type": "ClusterIP",
            "selector": metadata.selector(session, component),
            "ports": [{"name": "http", "protocol": "TCP", "port": PORT, "targetPort": setup.operator.runner_port}],
        },
    }
