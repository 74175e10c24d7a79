"""Names, labels and owners of the objects that the operator creates."""

from __future__ import annotations

from collections.abc import Sequence

from dyff.cluster import owners, port
from dyff.entities import custom_resource
from dyff.kernel.telemetry import trace_context

FINALIZER = "dyff.io/operator"
"""Finalizer that keeps a Job until its outcome is recorded in the status of its custom resource and its pods are gone."""

RESOURCE = "dyff.io/resource"
"""Pod annotation with the kind and name of the custom resource that the pod belongs to."""


def labels(owner: port.Object, component: str) -> dict[str, str]:
    """The owner's workflow, account and ID, and the part's own component. An owner that was created by hand can lack labels."""
    own = owner["metadata"].get("labels") or {}
    workflow = str(own.get("dyff.io/workflow") or owner["kind"])
    return custom_resource.labels(workflow, component, owner["spec"]["account"], owner["spec"]["id"])


STEPS = "dyff.io/steps"
"""Pod annotation with the names of the containers that are our own steps, with commas. Nothing of a spec is copied into annotations."""


def of_pods(owner: port.Object, component: str, steps: Sequence[str] = ()) -> port.Object:
    """The metadata of a part's pods. Annotations name the custom resource, since their owner is another object, and our own `steps`."""
    resource = {RESOURCE: f"{owner['kind']}/{owner['metadata']['name']}"}
    annotations = {**resource, **({STEPS: ",".join(steps)} if steps else {}), **traced(owner)}
    return {"labels": labels(owner, component), "annotations": annotations}


def traced(owner: port.Object) -> dict[str, str]:
    """The annotations that name the owner's trace; none if it has none, or not in the right form."""
    return trace_context.to_annotations(trace_context.of_object(owner))


def selector(owner: port.Object, component: str) -> dict[str, str]:
    """The labels that select a part's pods."""
    return {key: value for key, value in labels(owner, component).items() if key != "dyff.io/account"}


def of_child(owner: port.Object, name: str, component: str) -> port.Object:
    """The metadata of an object that is garbage-collected with `owner`."""
    found = {"name": name, "labels": labels(owner, component), "ownerReferences": [owners.reference(owner)]}
    annotations = traced(owner)
    return {**found, "annotations": annotations} if annotations else found
