"""The cluster as cached by the operator's watches: enough to find out without a request that nothing has to be done.

The caches can lag behind, so nothing is done on the basis of them alone: if they show that something has to be done, it is decided
again from a fresh read. A change that they do not have yet arrives by the watches soon, and the resource is reconciled again.
"""

from __future__ import annotations

from collections.abc import Mapping

from dyff.cluster import port, watching

ID = "dyff.io/id"
"""The label by which pods are found."""


class View:
    """Implements `observing.Cluster` from the caches. A kind that is not watched looks empty."""

    def __init__(self, caches: Mapping[str, watching.Cache], cluster: port.Cluster) -> None:
        """`caches`: by kind; the one for pods is grouped by `ID`. `cluster`: for logs and addresses."""
        self._caches, self._cluster = caches, cluster

    async def get(self, kind: port.Kind, name: str) -> port.Object | None:
        """The object; None if it is not in the caches."""
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
        """Forwarded to the cluster."""
        return await self._cluster.logs(pod, container=container, since=since, limit=limit)

    async def pod_service_url(self, name: str) -> str | None:
        """Forwarded to the cluster."""
        return await self._cluster.pod_service_url(name)
