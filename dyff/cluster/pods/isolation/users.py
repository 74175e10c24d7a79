"""User IDs for pods: if the server is root, each pod runs as a user of its own, which no other live pod has."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from dyff.cluster.pods import refusals


def choose(uid: str, before: int | None, taken: Mapping[str, int], numbers: range, alive: Collection[int] = ()) -> int:
    """The user ID of a pod. `uid`: the pod's own. `before`: of its last run, which keeps its files; None if there was none. `taken`: by
    pod, those of all pods. `alive`: those that have processes on this machine, which can belong to another server: processes of one user
    can kill each other, and share its limits.

    Raises:
        Refused: all are taken.
    """
    others = {number for pod, number in taken.items() if pod != uid}
    if before is not None and before in numbers and before not in others:
        return before
    others |= set(alive)
    start: int = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") % len(numbers)
    found: int | None = next((number for number in (*numbers[start:], *numbers[:start]) if number not in others), None)
    if found is None:
        raise refusals.Refused(
            refusals.CREATE, f"all {len(numbers)} user IDs for pods are taken; raise the setting pods.uids, or wait until a pod ends"
        )
    return found
