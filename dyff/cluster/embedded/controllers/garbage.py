"""Garbage collection of objects whose owners, identified by uid, are all gone."""

from __future__ import annotations

from typing import TypeAlias

import anyio
import anyio.abc
import structlog

from dyff.cluster import port
from dyff.cluster.embedded import kinds
from dyff.cluster.embedded.controllers import informers
from dyff.kernel import errors, keyed
from dyff.kernel.telemetry import log_fields

log = structlog.get_logger()
Key: TypeAlias = tuple[port.Kind, str]


class Garbage:
    """Deletes objects without any remaining owner, and removes references to lost owners from objects that still have others."""

    def __init__(self, cluster: port.Cluster, known: informers.Informers) -> None:
        """`known` must watch all types."""
        self._cluster, self._known = cluster, known
        self._dependents: dict[str, set[Key]] = {}
        self._workers: keyed.Workers[Key] = keyed.Workers(self._reconcile, failed=_failed)
        for each in kinds.ALL:
            known.listen(each.kind, self._listener(each.kind))

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled."""
        await self._workers.run(task_status=task_status)

    def _listener(self, kind: port.Kind) -> informers.Listener:
        return lambda obj: self._changed(kind, obj)

    def _changed(self, kind: port.Kind, obj: port.Object) -> None:
        key, uid = (kind, obj["metadata"]["name"]), obj["metadata"]["uid"]
        here = self._known.get(kind, obj["metadata"]["name"])
        gone = here is None or here["metadata"]["uid"] != uid
        owners = [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]
        for owner in owners:
            dependents = self._dependents.setdefault(owner, set())
            if gone:
                dependents.discard(key)
            else:
                dependents.add(key)
            if not dependents:
                del self._dependents[owner]
        if owners and not gone:
            self._workers.add(key)
        if gone:
            for dependent in self._dependents.get(uid, ()):
                self._workers.add(dependent)

    async def _reconcile(self, key: Key) -> float | None:
        kind, name = key
        obj = await self._cluster.get(kind, name)
        log_fields.begin(log_fields.of_object(obj))
        owners = [] if obj is None else obj["metadata"].get("ownerReferences") or []
        if obj is None or not owners or "deletionTimestamp" in obj["metadata"]:
            return None
        left = [owner for owner in owners if await self._is_there(owner)]
        try:
            if not left:
                await self._cluster.delete(kind, name, uid=obj["metadata"]["uid"])
                log.info("garbage-deleted", kind=kind.kind, name=name, owner=owners[0]["name"])
            elif len(left) < len(owners):
                version = {"uid": obj["metadata"]["uid"], "resourceVersion": obj["metadata"]["resourceVersion"]}
                await self._cluster.patch(kind, name, {"metadata": {**version, "ownerReferences": left}})
        except (errors.StaleVersion, errors.NotFound):
            # It has changed since it was read: reconcile again.
            return 0.0
        return None

    async def _is_there(self, owner: port.Object) -> bool:
        """Whether an owner exists. True for an owner of a type that is not served here, since nothing is known about it."""
        kind = kinds.named(owner["apiVersion"], owner["kind"])
        if kind is None:
            return True
        found = await self._cluster.get(kind, owner["name"])
        return found is not None and found["metadata"]["uid"] == owner["uid"]


def _failed(key: Key, error: Exception, delay_s: float) -> None:
    log.warning("garbage-failed", kind=key[0].kind, name=key[1], again_in_s=round(delay_s, 2), **errors.details(error))
