"""Reading and setting of status conditions, following the Kubernetes API conventions. Pure.

A condition is a dict with at least `type` and `status`, in `status.conditions` of an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel import clock

COMPLETE = "Complete"
FAILED = "Failed"
READY = "Ready"


class Condition(msgspec.Struct, frozen=True):
    """The wanted content of a condition. `reason`: a CamelCase word. `message`: for people."""

    status: bool
    reason: str
    message: str = ""


def running(reason: str, message: str) -> dict[str, Condition]:
    """Conditions of a resource that has not ended; `message` says what it is waiting for."""
    return {COMPLETE: Condition(False, reason, message), FAILED: Condition(False, reason)}


def complete(reason: str, message: str = "") -> dict[str, Condition]:
    """Conditions of a resource that has ended successfully."""
    return {COMPLETE: Condition(True, reason, message), FAILED: Condition(False, reason)}


def failed(reason: str, message: str) -> dict[str, Condition]:
    """Conditions of a resource that has failed; `message` says why and what to do."""
    return {COMPLETE: Condition(False, reason), FAILED: Condition(True, reason, message)}


def by_type(resource: port.Object) -> dict[str, dict[str, Any]]:
    """All conditions, by type; empty if none has ever been set."""
    return {each["type"]: each for each in _present(resource)}


def get(resource: port.Object, kind: str) -> dict[str, Any] | None:
    """The condition of type `kind`; None if it has never been set."""
    return next((each for each in _present(resource) if each.get("type") == kind), None)


def true_condition(resource: port.Object, kind: str) -> dict[str, Any] | None:
    """The condition of type `kind` if it is True; None if it is False or Unknown, or has never been set."""
    return next((each for each in _present(resource) if each.get("type") == kind and each.get("status") == "True"), None)


def is_true(resource: port.Object, kind: str) -> bool:
    """Whether the condition of type `kind` is True."""
    return true_condition(resource, kind) is not None


def finished(resource: port.Object) -> bool:
    """Whether the resource has ended."""
    return is_true(resource, COMPLETE) or is_true(resource, FAILED)


def since(resource: port.Object, kind: str, now: datetime) -> datetime:
    """When the condition got its present status; `now` if it has none yet."""
    condition = get(resource, kind)
    return clock.parse_iso(condition["lastTransitionTime"]) if condition else now


def status_patch(
    resource: port.Object, wanted: Mapping[str, Condition], now: datetime, fields: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The merge patch that sets the conditions `wanted` and the `fields` in the status; None if nothing changes.

    Conditions of other types are kept. `lastTransitionTime` changes only if a condition's status changes.
    """
    status = resource.get("status") or {}
    generation = resource["metadata"].get("generation", 1)
    present = _present(resource)
    others = [each for each in present if each["type"] not in wanted]
    conditions = [_condition(get(resource, kind), kind, condition, generation, now) for kind, condition in wanted.items()]
    patch = {"observedGeneration": generation, **(fields or {})}
    changed = {key: value for key, value in patch.items() if not _holds(status.get(key), value)}
    if sorted(present, key=_type) != sorted(others + conditions, key=_type):
        changed["conditions"] = others + conditions
    return changed or None


def _present(resource: port.Object) -> list[dict[str, Any]]:
    return (resource.get("status") or {}).get("conditions") or []


def _condition(old: dict[str, Any] | None, kind: str, condition: Condition, generation: int, now: datetime) -> dict[str, Any]:
    status = "True" if condition.status else "False"
    unchanged = old is not None and old["status"] == status
    return {
        "type": kind,
        "status": status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": old["lastTransitionTime"] if old and unchanged else clock.iso(now),
    }


def _type(condition: dict[str, Any]) -> str:
    return str(condition["type"])


def _holds(old: Any, wanted: Any) -> bool:
    """Whether merging `wanted` into `old` changes nothing."""
    if isinstance(wanted, Mapping):
        return isinstance(old, Mapping) and all(key in old and _holds(old[key], value) for key, value in wanted.items())
    return bool(old == wanted)
