"""Shared memory of a pod that is not mapped at the moment, so that no process shows it as its own: of files in memory, and of mappings
that were made for several processes.

It is looked for only if the shared memory of the whole machine has grown by more than the pod's limit, since that is one small file.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Container

from dyff.cluster.pods.shim import usage

_BLOCK = 512


def used_bytes() -> int:
    """Shared memory of the whole machine. Returns 0 if the kernel does not say it."""
    try:
        with open("/proc/meminfo", "rb") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Shmem:"))
    except OSError:
        return 0


def held_bytes(pids: list[int], ours: Container[int]) -> float:
    """The most shared memory that these processes can hold in it. Returns infinity if they hide it. `ours`: those that run our code.

    What is open counts with the memory that it has, what is only mapped with the size of the mapping.
    """
    device = _device()
    opened: dict[int, int] = {}
    mapped: dict[int, int] = {}
    for pid in pids:
        if pid in ours:
            continue
        try:
            if _open_ones(pid, device, opened):
                return math.inf
            _mapped_ones(pid, device, mapped)
        except PermissionError:
            return math.inf
        except OSError:
            continue  # it has ended
    return sum(opened.values()) + sum(size for inode, size in mapped.items() if inode not in opened)


def _open_ones(pid: int, device: int, found: dict[int, int]) -> bool:
    """Add the open files in memory of a process. Returns whether descriptors are on their way to it."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        try:
            known = os.stat(path)
        except OSError:
            continue
        if stat.S_ISSOCK(known.st_mode) and usage.carries(path):
            return True
        if known.st_dev == device and stat.S_ISREG(known.st_mode):
            found[known.st_ino] = known.st_blocks * _BLOCK
    return False


def _mapped_ones(pid: int, device: int, found: dict[int, int]) -> None:
    wanted = b"%02x:%02x" % (os.major(device), os.minor(device))
    spans: dict[int, int] = {}
    with open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            span, _, _, where, inode, *_ = line.split(None, 5)
            if where == wanted:
                first, _, last = span.partition(b"-")
                spans[int(inode)] = spans.get(int(inode), 0) + int(last, 16) - int(first, 16)
    for each, size in spans.items():
        found[each] = max(found.get(each, 0), size)


def _device() -> int:
    """The number under which the kernel keeps shared memory, which is the same for all of it."""
    probe = os.memfd_create("dyff")
    try:
        return os.fstat(probe).st_dev
    finally:
        os.close(probe)
