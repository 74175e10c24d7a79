"""Waiting for the end of a shim, ours or one that an earlier server started."""

from __future__ import annotations

import os
from contextlib import suppress

import anyio

from dyff.cluster.pods import directory
from dyff.cluster.pods.shim import files

POLL_S = 0.2


async def wait(place: directory.Directory, record: directory.Record) -> None:
    """Return when the shim of `record` has ended. Costs nothing meanwhile where the system has process descriptors."""
    descriptor = _pin(record.shim.pid)
    try:
        # Only while the lock is held the number surely still belongs to the shim that it was pinned for.
        if descriptor is not None and not files.is_free(place.lock):
            await anyio.wait_readable(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    # Left to do only where there are no process descriptors, or while the process that started the shim goes away.
    while not files.is_free(place.lock):  # noqa: ASYNC110
        await anyio.sleep(POLL_S)
    _reap(record.shim.pid)


def _pin(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _reap(pid: int) -> None:
    """Where the server is process 1 (in a container), orphans become its children: that one has ended."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
