"""One watch a type, shared by all controllers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio
import anyio.abc

from dyff.cluster import port, watching

Listener = Callable[[port.Object], None]
Objects = Iterable[port.Object]


class Informers:
    """Caches of several types, and who wants to hear of changes."""

    def __init__(self, cluster: port.Cluster, kinds: Iterable[port.Kind], timing: watching.Timing | None = None) -> None:
        """Nothing is read before `run`."""
        self._listeners: dict[port.Kind, list[Listener]] = {kind: [] for kind in kinds}
        self._caches = {kind: watching.Cache(cluster, kind, self._teller(kind), timing=timing) for kind in self._listeners}

    def listen(self, kind: port.Kind, listener: Listener) -> None:
        """Have `listener` called with every object that changes; see `watching.Cache`. To be called before `run`."""
        self._listeners[kind].append(listener)

    def get(self, kind: port.Kind, name: str) -> port.Object | None:
        """What is known of an object, which may be a little old; do not change it."""
        return self._caches[kind].get(name)

    def all(self, kind: port.Kind) -> Objects:
        """All that is known of a type; do not change it."""
        return self._caches[kind].objects.values()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; ready when everything has been listed once."""
        async with anyio.create_task_group() as group:
            for cache in self._caches.values():
                await group.start(cache.run)
            task_status.started()

    def _teller(self, kind: port.Kind) -> Listener:
        def notify(obj: port.Object) -> None:
            for listener in self._listeners[kind]:
                listener(obj)

        return notify
