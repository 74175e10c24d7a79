"""A step's manifest as a ConfigMap."""

from __future__ import annotations

from typing import Any

from dyff.cluster import port
from dyff.entities import codecs
from dyff.operator.manifests import containers, metadata


def build(owner: port.Object, name: str, component: str, manifest: dict[str, Any]) -> port.Object:
    """The ConfigMap that holds `manifest` for the step `component` of `owner`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata.of_child(owner, name, component),
        "data": {containers.MANIFEST_FILE: codecs.encode(manifest).decode()},
    }
