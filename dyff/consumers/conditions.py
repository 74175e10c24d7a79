"""What a custom resource's conditions mean for its entity. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dyff.cluster import conditions, port


class Ended(msgspec.Struct, frozen=True):
    """How a run ended: the entity's status, and the condition's reason and message.

    None: it says none; a reason that only repeats the condition's type (Kubernetes demands one) is none, too.
    """

    status: str
    reason: str | None
    message: str | None


def ended(statuses: Mapping[str, str], resource: port.Object) -> Ended | None:
    """How the run of `resource` ended; None: it has not. `statuses`: of a kind, see `dyff.entities.kind.Run.ended`.

    The first that applies counts, so what failed is never complete.
    """
    for name, status in statuses.items():
        found = conditions.true_condition(resource, name)
        if found:
            reason = found.get("reason")
            return Ended(status, reason if reason and reason != name else None, found.get("message") or None)
    return None
