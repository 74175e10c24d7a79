"""One watch per type, shared by all controllers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio
import anyio.abc

from dyff.cluster import port, watching

Listener = Callable[[port.Object], None]
Objects = Iterable[port.Object]


class Informers:
    """Caches of several types, with listeners for their changes."""

    def __init__(self, cluster: port.Cluster, kinds: Iterable[port.Kind], timing: watching.Timing | None = None) -> None:
        """Nothing is read before `run`."""
        self._listeners: dict[port.Kind, list[Listener]] = {kind: [] for kind in kinds}
        self._caches = {kind: watching.Cache(cluster, kind, self._teller(kind), timing=timing) for kind in self._listeners}

    def listen(self, kind: port.Kind, listener: Listener) -> None:
        """Call `listener` with every object that changes; see `watching.Cache`. Must be called before `run`."""
        self._listeners[kind].append(listener)

    def get(self, kind: port.Kind, name: str) -> port.Object | None:
        """The cached object, which can be slightly outdated; do not modify it. None if it is not in the cache."""
        return self._caches[kind].get(name)

    def all(self, kind: port.Kind) -> Objects:
        """All cached objects of a type; do not modify them."""
        return self._caches[kind].objects.values()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; ready when everything has been listed once."""
        async with anyio.create_task_group() as group:
            for cache in self._caches.values():
                await group.start(cache.run)
            task_status.started()

    def _teller(self, kind: port.Kind) -> Listener:
        def notify(obj: port.Object) -> None:
            for listener in self._listeners[kind]:
                listener(obj)

        return notify
