"""The inference session of an evaluation."""

from __future__ import annotations

from dyff.cluster import port
from dyff.operator.manifests import metadata


def build(evaluation: port.Object, name: str, component: str) -> port.Object:
    """An InferenceSession that runs the evaluation's template and goes with the evaluation."""
    spec = evaluation["spec"]
    return {
        "apiVersion": metadata.INFERENCE_SESSION.api_version,
        "kind": metadata.INFERENCE_SESSION.kind,
        "metadata": metadata.of_child(evaluation, name, component),
        "spec": {"id": spec["id"], "account": spec["account"], **spec["inferenceSession"]},
    }
