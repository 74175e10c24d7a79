"""What a custom resource's conditions mean for its entity. Pure."""

from __future__ import annotations

import msgspec

from dyff.cluster import conditions, port
from dyff.entities import statuses


class Ended(msgspec.Struct, frozen=True):
    """How a run ended: the entity's status, and the condition's reason and message.

    None: it says none; a reason that only repeats the condition's type (Kubernetes demands one) is none, too.
    """

    status: str
    reason: str | None
    message: str | None


TABLE = {
    "Evaluation": {"Failed": statuses.FAILED, "Complete": statuses.COMPLETE},
    "InferenceSession": {"Failed": statuses.ERROR, "Complete": statuses.TERMINATED},
    "Model": {"Failed": statuses.ERROR, "Complete": statuses.READY},
}
"""By kind, from a condition that is true to the status. The first that applies holds: what failed never counts as complete."""


def ended(kind: str, resource: port.Object) -> Ended | None:
    """How the run of `resource` ended; None: it has not."""
    for name, status in TABLE[kind].items():
        found = conditions.true_condition(resource, name)
        if found:
            reason = found.get("reason")
            return Ended(status, reason if reason and reason != name else None, found.get("message") or None)
    return None
