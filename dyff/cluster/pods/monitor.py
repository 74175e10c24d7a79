"""Eyes on one run of a pod: when its shim ends, and whether it is ready."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.abc
import httpx

from dyff.cluster.pods import directory, exits, probes


class RunMonitor:
    """Background tasks for one run at a time. `ready`: what the readiness probe says, true where there is none."""

    def __init__(self, place: directory.Directory, http: httpx.AsyncClient, changed: Callable[[], None]) -> None:
        """`changed`: called when the shim has ended or the readiness has turned."""
        self._place, self._http, self._changed = place, http, changed
        self._scope: anyio.CancelScope | None = None
        self._subject: tuple[int, bool] | None = None
        self.ready = False

    def start(self, group: anyio.abc.TaskGroup, run: int, record: directory.Record, probe: probes.Probe | None, up: bool) -> None:
        """Watch that run's shim and, once its main container is `up`, its readiness. Repeating it changes nothing."""
        if self._subject == (run, up):
            return
        self.stop()
        self._subject, self._scope = (run, up), anyio.CancelScope()
        self.ready = up and probe is None
        group.start_soon(self._watch, self._scope, record, probe if up else None)

    def stop(self) -> None:
        """Watch nothing."""
        if self._scope is not None:
            self._scope.cancel()
        self._scope, self._subject, self.ready = None, None, False

    async def _watch(self, scope: anyio.CancelScope, record: directory.Record, probe: probes.Probe | None) -> None:
        with scope:
            async with anyio.create_task_group() as group:
                if probe is not None:
                    group.start_soon(probes.watch, probe, self._http, self._readiness_changed)
                await exits.wait(self._place, record)
                group.cancel_scope.cancel()
            self._changed()

    def _readiness_changed(self, ready: bool) -> None:
        self.ready = ready
        self._changed()
