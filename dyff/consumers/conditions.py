"""What a custom resource's conditions mean for its entity. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dyff.cluster import port


class Ended(msgspec.Struct, frozen=True):
    """How a run ended: the entity's status, and the condition's reason and message.

    None: it says none; a reason that only repeats the condition's type (Kubernetes demands one) is none, too.
    """

    status: str
    reason: str | None
    message: str | None


_ENDS = ("Failed", "Complete")
"""The conditions that end a run, whatever its kind."""


def ended(statuses: Mapping[str, str], resource: port.Object) -> Ended | None:
    """How the run of `resource` ended; None: it has not. `statuses`: of a kind, see `dyff.entities.kind.Run.ended`.

    The first that applies counts, so what failed is never complete.
    """
    for name, status in statuses.items():
        found = true_condition(resource, name)
        if found:
            reason = found.get("reason")
            return Ended(status, reason if reason and reason != name else None, found.get("message") or None)
    return None


def has_ended(resource: port.Object) -> bool:
    """Whether the run of `resource` has ended, well or badly."""
    return any(true_condition(resource, name) for name in _ENDS)


def true_condition(resource: port.Object, name: str) -> port.Object | None:
    """The condition of that type if it is true; None: it is not."""
    conditions = (resource.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == name and each.get("status") == "True"), None)
