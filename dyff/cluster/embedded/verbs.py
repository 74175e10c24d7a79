"""The writing verbs, each within a transaction: read, decide with `semantics`, store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dyff.cluster import port
from dyff.cluster.embedded import codec, kinds, ports, semantics, store
from dyff.kernel import errors, patches


def create(tx: store.Transaction, resource: kinds.Resource, body: bytes, uid: str, now: datetime) -> port.Object:
    """See `Cluster.create`. `body`: the encoded object, which only the writer uses."""
    obj = semantics.created(resource, codec.decode(body), uid, now)
    name = obj["metadata"]["name"]
    if tx.get(resource.key, name) is not None:
        raise errors.AlreadyExists(f"{resource.kind.kind} {name} exists already")
    if resource.kind == port.SERVICE:
        obj = ports.assign(obj, tx.all(resource.key))
    return tx.put(resource.key, None, obj)


def replace(tx: store.Transaction, resource: kinds.Resource, body: bytes) -> port.Object:
    """See `Cluster.replace`."""
    obj = codec.decode(body)
    metadata = obj.get("metadata")
    name, version = (metadata.get("name"), metadata.get("resourceVersion")) if isinstance(metadata, dict) else (None, None)
    _demand(("name", name), ("resourceVersion", version))
    old = _found(tx, resource, str(name))
    semantics.check_preconditions(old, obj)
    return _stored(tx, resource, old, semantics.updated(resource, old, obj))


def patch(tx: store.Transaction, resource: kinds.Resource, name: str, body: bytes, status: bool) -> port.Object:
    """See `Cluster.patch`."""
    asked = codec.decode(body)
    if status and not resource.status:
        raise errors.NotFound(f"a {resource.kind.kind} has no status")
    old = _found(tx, resource, name)
    semantics.check_preconditions(old, asked)
    new = semantics.with_status(old, asked) if status else semantics.updated(resource, old, patches.merged(old, asked))
    return _stored(tx, resource, old, new)


def delete(tx: store.Transaction, resource: kinds.Resource, name: str, uid: str | None, now: datetime) -> None:
    """See `Cluster.delete`."""
    old = tx.get(resource.key, name)
    if old is None:
        return
    semantics.check_preconditions(old, {"metadata": {"uid": uid}})
    if old["metadata"].get("finalizers"):
        tx.put(resource.key, old, semantics.marked(resource, old, now))
    else:
        tx.remove(resource.key, old)


def _found(tx: store.Transaction, resource: kinds.Resource, name: str) -> port.Object:
    old = tx.get(resource.key, name)
    if old is None:
        raise errors.NotFound(f"there is no {resource.kind.kind} {name}")
    return old


def _stored(tx: store.Transaction, resource: kinds.Resource, old: port.Object, new: port.Object) -> port.Object:
    return tx.remove(resource.key, new) if semantics.is_over(new) else tx.put(resource.key, old, new)


def _demand(*fields: tuple[str, Any]) -> None:
    missing = [errors.Problem(("body", "metadata", field), "is missing", "missing") for field, value in fields if not value]
    if missing:
        raise errors.InvalidFields(*missing)
