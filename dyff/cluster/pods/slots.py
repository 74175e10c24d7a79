"""Which Job pods may run at once: the oldest first, a fixed number. Serving pods never come here."""

from __future__ import annotations

import os

from dyff.cluster.pods import refusals

Order = tuple[str, str]
"""Creation time and name."""


class Slots:
    """Who runs and who waits. Nothing of it is stored: it follows from the pods and their directories."""

    def __init__(self, limit: int | None) -> None:
        """`limit` None: twice the cores."""
        self.limit = 2 * (os.cpu_count() or 1) if limit is None else limit
        self._holders: set[str] = set()
        self._queue: dict[str, Order] = {}

    def enter(self, uid: str, order: Order) -> None:
        """It wants to run; known before anyone claims, so that the oldest is the oldest of all."""
        if uid not in self._holders:
            self._queue[uid] = order

    def hold(self, uid: str) -> None:
        """It runs already (an earlier server started it), even if that is one too many."""
        self._queue.pop(uid, None)
        self._holders.add(uid)

    def claim(self, uid: str, order: Order) -> None:
        """It could start now.

        Raises:
            Refused: older ones come first, or all slots are taken; it will be in what a `leave` returns.
        """
        if uid in self._holders:
            return
        self.enter(uid, order)
        if uid not in self._next():
            raise refusals.Refused(refusals.UNSCHEDULABLE, f"waits for one of {self.limit} job slots (setting pods.max_job_pods)")
        self.hold(uid)

    def leave(self, uid: str) -> list[str]:
        """It ended, is gone or cannot start for another reason; returns who may claim now."""
        changed = uid in self._holders or uid in self._queue
        self._holders.discard(uid)
        self._queue.pop(uid, None)
        return self._next() if changed else []

    def _next(self) -> list[str]:
        free = max(self.limit - len(self._holders), 0)
        return sorted(self._queue, key=self._queue.__getitem__)[:free]
