"""The custom resources of entities, as the cluster has them: what the orchestrator makes and the informer reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import anyio.abc

from dyff.cluster import port, watching
from dyff.entities import custom_resource, registry
from dyff.kernel import liveness

KINDS = {each.kind: port.custom(each) for each in registry.MADE}
"""By the kind of the custom resource; entities of several kinds may share one."""


class CustomResources:
    """A cache of each kind. Parts of a workflow (an evaluation's own session) are in it, but are no entity's resource."""

    def __init__(self, cluster: port.Cluster, on_change: Callable[[], None]) -> None:
        """`on_change`: called after anything has changed."""
        self._caches = {name: watching.Cache(cluster, kind, lambda _: on_change()) for name, kind in KINDS.items()}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep them as the cluster is, until cancelled; ready when all were listed."""
        async with anyio.create_task_group() as group:
            for cache in self._caches.values():
                await group.start(cache.run)
            task_status.started()

    async def signs(self) -> list[liveness.Sign]:
        """Whether the watches hear of the cluster, for the watchdog."""
        return [cache.sign() for cache in self._caches.values()]

    def of_entities(self) -> Iterator[tuple[str, str, port.Object]]:
        """The kind of a resource, the ID of its entity, and the resource, for all of them."""
        for kind, cache in self._caches.items():
            for name, resource in cache.objects.items():
                entity_id = (resource["metadata"].get("labels") or {}).get("dyff.io/id")
                if entity_id and name == custom_resource.name(registry.RESOURCE_BY_KIND[kind], entity_id):
                    yield kind, entity_id, resource
