"""Conditions under which a container must be terminated: its memory limit, or a server that does not return."""

from __future__ import annotations

import math
import time

from dyff.cluster.pods.shim import files, processes

MEMORY_EVERY_S = 0.25
TREE_EVERY_S = 2.0
SERVER_EVERY_S = 5.0


class Memory:
    """A container's memory limit. `due`: when to call `exceeded` next (in monotonic seconds; infinite without a limit)."""

    def __init__(self, root: int, limit_bytes: int | None) -> None:
        self._root, self._limit = root, limit_bytes
        self._tree: list[int] = [root]
        self._tree_due = 0.0
        self.due = math.inf if limit_bytes is None else 0.0

    def exceeded(self, now: float) -> bool:
        """Whether the container and all its descendants together use more than the limit."""
        if self._limit is None:
            return False
        self.due = now + MEMORY_EVERY_S
        if now >= self._tree_due:
            # Listing all processes of the machine is expensive, so new children are found with a delay.
            self._tree = [self._root, *processes.descendants(self._root)]
            self._tree_due = now + TREE_EVERY_S
        # Memory that forked processes share is counted for each of them, so a breach is confirmed by the exact, slow count.
        held = processes.memory(self._tree)
        return held > self._limit and (processes.exact_memory(self._tree) or held) > self._limit


class Server:
    """Watches whether the server, which holds `lock` while it runs, has been gone for too long. `due`: time of the next check."""

    def __init__(self, lock: str, grace_s: float) -> None:
        self._lock, self._grace_s = lock, grace_s
        self._seen = time.monotonic()
        self.due = self._seen + self._every_s()

    def gone(self, now: float) -> bool:
        """Whether the lock has not been held for the whole grace period."""
        self.due = now + self._every_s()
        if not files.is_free(self._lock):
            self._seen = now
        return now - self._seen >= self._grace_s

    def _every_s(self) -> float:
        return min(SERVER_EVERY_S, max(self._grace_s / 4, 0.05))
