"""The memory of a run: what one process of the code may hold, and whether the kernel has ended one.

In a pod of Kubernetes, a container that holds more than its limit loses a process. If that happens to any of them, the kubelet takes the
container as failed, whatever it ends with. So one process alone gets a little less than the container has, and fails with an error in its
own line; and a run that has lost a process anyway has to say so with its exit code.
"""

from __future__ import annotations

import os
from pathlib import Path

SPARE_BYTES = 64 * 2**20
"""Of the limit, for the process that watches the code, and what the kernel keeps for both."""
SPARE_PART = 32
"""The same, as a part of the limit: the kernel's tables grow with the memory."""
CGROUPS = Path("/sys/fs/cgroup")
_COUNTERS = ("memory.events", "memory/memory.oom_control")
"""Of control groups of version 2 and 1, below their folder."""


def of_one_process(limit_bytes: int) -> int:
    """Return what one process of the code may hold of the memory that all have together."""
    return max(limit_bytes // 2, limit_bytes - SPARE_BYTES - limit_bytes // SPARE_PART)


def kills(groups: Path = CGROUPS, process: int | None = None) -> int:
    """Count the processes of this container that the kernel has ended because of its memory; 0 if that cannot be known.

    Args:
        groups: where control groups are mounted.
        process: the ID of this process. Only the first process of a container sees its own group there, and nothing of others.
    """
    if (os.getpid() if process is None else process) != 1:
        return 0
    for name in _COUNTERS:
        try:
            fields = dict(line.split(" ", 1) for line in (groups / name).read_text().splitlines())
            return int(fields["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0
