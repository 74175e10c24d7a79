"""Watches one run of a pod: when its shim (of this or an earlier server) ends, and whether the pod is ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.abc
import anyio.to_thread

from dyff.cluster.pods import directory, probes
from dyff.cluster.pods.shim import files

_POLL_S = 0.2


class RunMonitor:
    """Background tasks for one run at a time.

    `ready`: the result of the readiness probe, true if there is no probe. `said`: what the program answers to it if it is not ready;
    empty if nothing.
    """

    def __init__(self, place: directory.Directory, changed: Callable[[], None]) -> None:
        """`changed`: called when the shim has ended or the readiness has changed."""
        self._place, self._changed = place, changed
        self._scope: anyio.CancelScope | None = None
        self._subject: tuple[int, bool] | None = None
        self.ready, self.said = False, ""

    def start(self, group: anyio.abc.TaskGroup, run: int, record: directory.Record, probe: probes.Probe | None, up: bool) -> None:
        """Watch the run's shim and, once its main container is `up`, its readiness. This is idempotent."""
        if self._subject == (run, up):
            return
        self.stop()
        self._subject, self._scope = (run, up), anyio.CancelScope()
        self.ready, self.said = up and probe is None, ""
        group.start_soon(self._watch, self._scope, record, probe if up else None)

    def stop(self) -> None:
        """Stop watching."""
        if self._scope is not None:
            self._scope.cancel()
        self._scope, self._subject, self.ready, self.said = None, None, False, ""

    async def _watch(self, scope: anyio.CancelScope, record: directory.Record, probe: probes.Probe | None) -> None:
        with scope:
            async with anyio.create_task_group() as group:
                if probe is not None:
                    group.start_soon(probes.watch, probe, self._readiness_changed)
                await _until_ended(self._place, record)
                group.cancel_scope.cancel()
            self._changed()

    def _readiness_changed(self, ready: bool, said: str) -> None:
        self.ready, self.said = ready, said
        self._changed()


async def _until_ended(place: directory.Directory, record: directory.Record) -> None:
    """Return when the shim of `record` has ended. Waits without polling on systems with process descriptors."""
    descriptor = _pin(record.shim.pid)
    try:
        # Only while the lock is held does the pid certainly still belong to the shim.
        if descriptor is not None and not await anyio.to_thread.run_sync(files.is_free, place.lock):
            await anyio.wait_readable(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    # Needed only without process descriptors, or while the process that started the shim is still ending.
    while not await anyio.to_thread.run_sync(files.is_free, place.lock):  # noqa: ASYNC110
        await anyio.sleep(_POLL_S)
    _reap(record.shim.pid)


def _pin(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _reap(pid: int) -> None:
    """Reap the shim. If the server is process 1 (in a container), orphans become its children."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
