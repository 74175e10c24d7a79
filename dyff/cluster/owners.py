"""Owner references of Kubernetes objects. Pure."""

from __future__ import annotations

from dyff.cluster import port


def reference(owner: port.Object) -> port.Object:
    """A reference to `owner` as the controller of another object, which is garbage-collected with it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller(obj: port.Object) -> port.Object | None:
    """The reference to the object that controls `obj`; None if there is none."""
    for each in obj["metadata"].get("ownerReferences") or ():
        if each.get("controller"):
            found: port.Object = each
            return found
    return None
