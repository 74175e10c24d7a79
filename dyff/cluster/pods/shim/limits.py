"""When a container must be ended against its will: memory, deadline, a server that is gone for good."""

from __future__ import annotations

import math
import time

from dyff.cluster.pods.shim import files, processes

MEMORY_EVERY_S = 0.25
TREE_EVERY_S = 2.0
SERVER_EVERY_S = 5.0


class Memory:
    """A container's memory limit. `due`: when to call `exceeded` next (monotonic seconds, infinite without a limit)."""

    def __init__(self, root: int, limit_bytes: int | None) -> None:
        self._root, self._limit = root, limit_bytes
        self._tree: list[int] = [root]
        self._tree_due = 0.0
        self.due = math.inf if limit_bytes is None else 0.0

    def exceeded(self, now: float) -> bool:
        """Whether the container and all its descendants together hold more than the limit."""
        if self._limit is None:
            return False
        self.due = now + MEMORY_EVERY_S
        if now >= self._tree_due:
            # Looking at every process of the machine is the expensive part, so new children are found a little later.
            self._tree = [self._root, *processes.descendants(self._root)]
            self._tree_due = now + TREE_EVERY_S
        # What forked processes share is counted for each of them, so a breach is confirmed with the exact, slow count.
        held = processes.memory(self._tree)
        return held > self._limit and (processes.exact_memory(self._tree) or held) > self._limit


class Server:
    """Whether the server, which holds `lock` while it runs, has been away for too long. `due`: when to look next."""

    def __init__(self, lock: str, grace_s: float) -> None:
        self._lock, self._grace_s = lock, grace_s
        self._seen = time.monotonic()
        self.due = self._seen + self._every_s()

    def gone(self, now: float) -> bool:
        """Whether nobody has held the lock for the whole grace."""
        self.due = now + self._every_s()
        if not files.is_free(self._lock):
            self._seen = now
        return now - self._seen >= self._grace_s

    def _every_s(self) -> float:
        return min(SERVER_EVERY_S, max(self._grace_s / 4, 0.05))
