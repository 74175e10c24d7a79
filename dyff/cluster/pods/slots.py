"""Limits how many Job pods run at the same time; the oldest come first. Serving pods are not limited."""

from __future__ import annotations

import os

from dyff.cluster.pods import refusals

Order = tuple[str, str]
"""Creation time and name."""


class Slots:
    """The running and the waiting Job pods. Nothing is stored, since this follows from the pods and their directories."""

    def __init__(self, limit: int | None) -> None:
        """`limit`: None for twice the number of cores."""
        self.limit = 2 * (os.cpu_count() or 1) if limit is None else limit
        self._holders: set[str] = set()
        self._queue: dict[str, Order] = {}

    def enter(self, uid: str, order: Order) -> None:
        """Add a pod to the queue. All pods must be entered before any claims a slot, so that the oldest of all comes first."""
        if uid not in self._holders:
            self._queue[uid] = order

    def hold(self, uid: str) -> None:
        """Record that a pod is running already (an earlier server started it), even if that exceeds the limit."""
        self._queue.pop(uid, None)
        self._holders.add(uid)

    def claim(self, uid: str, order: Order) -> None:
        """Claim a slot for a pod that could start now.

        Raises:
            Refused: older pods come first, or all slots are taken. The pod will be in the result of a later `leave`.
        """
        if uid in self._holders:
            return
        self.enter(uid, order)
        if uid not in self._next():
            raise refusals.Refused(refusals.UNSCHEDULABLE, f"waits for one of {self.limit} job slots (setting pods.max_job_pods)")
        self.hold(uid)

    def leave(self, uid: str) -> list[str]:
        """Remove a pod that ended, is gone or cannot start for another reason. Returns the pods that can claim a slot now."""
        changed = uid in self._holders or uid in self._queue
        self._holders.discard(uid)
        self._queue.pop(uid, None)
        return self._next() if changed else []

    def _next(self) -> list[str]:
        free = max(self.limit - len(self._holders), 0)
        return sorted(self._queue, key=self._queue.__getitem__)[:free]
