"""Settings: what a program that an account chose may use on the local cluster."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec

_OF_THE_MACHINE = 0.75


class PodLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one container that runs a program of an account: for all its processes together, except `open_files`.

    `processes`: processes and threads. `open_files`: descriptors of one process. `memory_bytes`: the most that a container gets,
    also if its spec asks for more or for no limit; None for three quarters of the machine's memory. `disk_bytes`, `disk_files`: of all
    folders that it can write to; a folder counts as a file.
    """

    processes: Annotated[int, msgspec.Meta(ge=8, le=1_000_000)] = 1024
    open_files: Annotated[int, msgspec.Meta(ge=32, le=1_000_000)] = 4096
    memory_bytes: Annotated[int, msgspec.Meta(ge=16 * 2**20)] | None = None
    disk_bytes: Annotated[int, msgspec.Meta(ge=2**20)] = 10 * 2**30
    disk_files: Annotated[int, msgspec.Meta(ge=100, le=10_000_000)] = 100_000

    def memory(self, wanted_bytes: int | None) -> int:
        """The memory limit of a container in bytes. `wanted_bytes`: what its spec says; None if it says nothing."""
        most = self.memory_bytes or int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _OF_THE_MACHINE)
        return most if wanted_bytes is None else min(wanted_bytes, most)
