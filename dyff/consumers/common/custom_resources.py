"""The custom resources of entities in the cluster, which the orchestrator creates and the informer reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import anyio.abc

from dyff.cluster import port, watching
from dyff.entities import custom_resource, registry
from dyff.kernel import liveness

KINDS = {each.kind: port.custom(each) for each in registry.MADE}
"""Cluster kinds, by the kind of the custom resource; several kinds of entities can share one."""


class CustomResources:
    """A cache for each kind. It also contains parts of workflows, such as an evaluation's own session, which belong to no entity."""

    def __init__(self, cluster: port.Cluster, on_change: Callable[[], None]) -> None:
        """`on_change`: called after anything has changed."""
        self._caches = {name: watching.Cache(cluster, kind, lambda _: on_change()) for name, kind in KINDS.items()}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the caches current until cancelled; ready when all kinds have been listed, apart from those that we may not list."""
        async with anyio.create_task_group() as group:
            await watching.start(group, self._caches.values())
            task_status.started()

    async def signs(self) -> list[liveness.Sign]:
        """Liveness signs of the watches, for the watchdog."""
        return [cache.sign() for cache in self._caches.values()]

    def of_entities(self) -> Iterator[tuple[str, str, port.Object]]:
        """Kind, entity ID and object of every custom resource that belongs to an entity."""
        for kind, cache in self._caches.items():
            for name, resource in cache.objects.items():
                entity_id = (resource["metadata"].get("labels") or {}).get("dyff.io/id")
                if entity_id and name == custom_resource.name(registry.RESOURCE_BY_KIND[kind], entity_id):
                    yield kind, entity_id, resource
