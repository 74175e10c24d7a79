"""Names, labels and owners of what the operator creates."""

from __future__ import annotations

from dyff.cluster import owners, port
from dyff.entities import custom_resource

FINALIZER = "dyff.io/operator"
"""Keeps a Job until its outcome is recorded in the status of its custom resource and its pods are gone."""

RESOURCE = "dyff.io/resource"
"""Annotation of a pod: kind and name of the custom resource whose part it is."""


def labels(owner: port.Object, component: str) -> dict[str, str]:
    """The owner's workflow, account and ID, and the part's own component. An owner made by hand may have no labels."""
    own = owner["metadata"].get("labels") or {}
    workflow = str(own.get("dyff.io/workflow") or owner["kind"])
    return custom_resource.labels(workflow, component, owner["spec"]["account"], owner["spec"]["id"])


def of_pods(owner: port.Object, component: str) -> port.Object:
    """The metadata of a part's pods, which name the resource because their owner is another."""
    return {"labels": labels(owner, component), "annotations": {RESOURCE: f"{owner['kind']}/{owner['metadata']['name']}"}}


def selector(owner: port.Object, component: str) -> dict[str, str]:
    """The labels that tell a part's pods from all others."""
    return {key: value for key, value in labels(owner, component).items() if key != "dyff.io/account"}


def of_child(owner: port.Object, name: str, component: str) -> port.Object:
    """The metadata of an object that goes when `owner` goes."""
    return {"name": name, "labels": labels(owner, component), "ownerReferences": [owners.reference(owner)]}
