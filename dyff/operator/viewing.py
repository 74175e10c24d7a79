"""The cluster as the operator's watches have it in memory: enough to see that there is nothing to do, which costs no request.

It may lag behind, so nothing is ever done by it: what it shows to be wanting is decided again on what is read afresh. What it lacks
because it lags comes by its watches soon, and then the resource is looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping

from dyff.cluster import port, watching

ID = "dyff.io/id"
"""The label that pods are found by."""


class View:
    """What `observing.observe` asks of a cluster. Kinds that nobody watches it has none of."""

    def __init__(self, caches: Mapping[str, watching.Cache], cluster: port.Cluster) -> None:
        """`caches`: by kind, that of pods grouped by `ID`. `cluster`: for logs and addresses."""
        self._caches, self._cluster = caches, cluster

    async def get(self, kind: port.Kind, name: str) -> port.Object | None:
        """The object; None: the caches have none."""
        cache = self._caches.get(kind.kind)
        return None if cache is None else cache.get(name)

    async def list(self, kind: port.Kind, labels: Mapping[str, str] | None = None) -> port.Listing:
        """The pods of one entity."""
        if kind != port.POD or labels is None or set(labels) != {ID}:
            raise ValueError("only the pods of an entity are listed here")
        return port.Listing(self._caches[kind.kind].group(labels[ID]), "")

    async def logs(
        self, pod: str, *, container: str | None = None, since: str | None = None, limit: int | None = None
    ) -> tuple[port.LogLine, ...]:
        """As the cluster has them."""
        return await self._cluster.logs(pod, container=container, since=since, limit=limit)

    async def pod_service_url(self, name: str) -> str | None:
        """As the cluster has it."""
        return await self._cluster.pod_service_url(name)
