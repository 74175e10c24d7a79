"""The API server's processing of writes, as pure functions: objects in, the object to be stored out.

`metadata.resourceVersion` is not set here, but by the transaction that stores an object.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dyff.cluster import port
from dyff.cluster.embedded import codec, defaults, kinds, validation
from dyff.entities import definitions, structural
from dyff.kernel import clock, errors, patches

_GIVEN = ("name", "labels", "annotations", "finalizers", "ownerReferences")
_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion")


def created(resource: kinds.Resource, obj: port.Object, uid: str, now: datetime) -> port.Object:
    """The new object for a client's `obj`.

    Raises:
        InvalidFields: the object is rejected; every problem is named.
    """
    validation.check_envelope(resource, obj)
    metadata = _given(obj) | {"uid": uid, "creationTimestamp": clock.iso(now)}
    if resource.generation:
        metadata["generation"] = 1
    new = {**obj, "apiVersion": resource.kind.api_version, "kind": resource.kind.kind, "metadata": metadata}
    new.pop("status", None)
    defaults.fill(resource.kind, new)
    defaults.mark(resource.kind, new)
    _prune(new, "spec")
    if resource.kind == port.POD:
        new["status"] = {"phase": "Pending"}
    validation.check(resource, new)
    return new


def updated(resource: kinds.Resource, old: port.Object, obj: port.Object) -> port.Object:
    """The object that results from replacing `old` by a client's complete `obj` (patches are already merged). The status is kept.

    Raises:
        InvalidFields: the object is rejected.
    """
    validation.check_envelope(resource, obj)
    metadata = _given(obj) | {key: old["metadata"][key] for key in _KEPT if key in old["metadata"]}
    new = {**obj, "apiVersion": resource.kind.api_version, "kind": resource.kind.kind, "metadata": metadata}
    new.pop("status", None)
    if "status" in old:
        new["status"] = old["status"]
    defaults.fill(resource.kind, new)
    defaults.keep(resource.kind, old, new)
    _prune(new, "spec")
    validation.check(resource, new)
    validation.check_change(resource, old, new)
    if resource.generation and not codec.same(_desired(old), _desired(new)):
        metadata["generation"] += 1
    return new


def with_status(old: port.Object, patch: port.Object) -> port.Object:
    """`old` with the status part of a merge patch applied.

    Raises:
        InvalidFields: the status is not an object.
    """
    status = patches.merged(old.get("status") or {}, patch.get("status") or {})
    if not isinstance(status, dict):
        raise errors.InvalidFields(errors.Problem(("body", "status"), "must be an object"))
    new = {**old, "status": status}
    _prune(new, "status")
    return new


def marked(resource: kinds.Resource, old: port.Object, now: datetime) -> port.Object:
    """`old` marked for deletion: it stays until its last finalizer is removed.

    A Pod's `deletionTimestamp` is the end of its grace period, as in Kubernetes. A second mark changes nothing.
    """
    metadata = dict(old["metadata"])
    if "deletionTimestamp" in metadata:
        return old
    grace_s = 0
    if resource.kind == port.POD:
        grace_s = int(old["spec"]["terminationGracePeriodSeconds"])
    if resource.generation:
        metadata["generation"] += 1
    metadata["deletionTimestamp"] = clock.iso(now + timedelta(seconds=grace_s))
    metadata["deletionGracePeriodSeconds"] = grace_s
    return {**old, "metadata": metadata}


def is_over(obj: port.Object) -> bool:
    """Whether a deleted object has no finalizers left."""
    return "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers")


def check_preconditions(old: port.Object, asked: port.Object) -> None:
    """Check that a uid or resourceVersion in a write's metadata matches the object.

    Raises:
        StaleVersion: it does not match.
    """
    metadata = asked.get("metadata")
    for field in ("uid", "resourceVersion"):
        wanted = metadata.get(field) if isinstance(metadata, dict) else None
        if wanted not in (None, "", old["metadata"][field]):
            name, has = old["metadata"]["name"], old["metadata"][field]
            raise errors.StaleVersion(f"{old['kind']} {name} has {field} {has}, not {wanted}: read it again")


def _given(obj: port.Object) -> dict[str, Any]:
    """The metadata that clients can set. Empty values count as absent, as for the API server."""
    return {key: obj["metadata"][key] for key in _GIVEN if obj["metadata"].get(key)}


def _prune(obj: port.Object, part: str) -> None:
    """Remove the fields of a custom resource that its definition does not know."""
    schema = definitions.schemas().get(obj["kind"])
    if schema is not None and part in obj:
        obj[part] = structural.pruned(schema["properties"][part], obj[part])


def _desired(obj: port.Object) -> port.Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}
