"""How controllers read the state of a Pod, and how they build one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from dyff.cluster import conditions, owners, port
from dyff.kernel import clock

MAX_NAME = 253


def status(pod: port.Object) -> dict[str, Any]:
    """Its status; empty if the kubelet has not written it yet."""
    return pod.get("status") or {}


def has_ended(pod: port.Object) -> bool:
    """Whether its processes are known to have ended permanently."""
    return status(pod).get("phase") in ("Succeeded", "Failed")


def has_failed(pod: port.Object) -> bool:
    """Whether it failed."""
    return status(pod).get("phase") == "Failed"


def is_deleting(pod: port.Object) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def is_ready(pod: port.Object) -> bool:
    """Whether it can serve."""
    return conditions.is_true(pod, conditions.READY) and not has_ended(pod) and not is_deleting(pod)


def container_statuses(pod: port.Object) -> Iterable[dict[str, Any]]:
    """The statuses of its containers, init containers first."""
    for field in ("initContainerStatuses", "containerStatuses"):
        yield from status(pod).get(field) or ()


def ended_at(pod: port.Object) -> datetime:
    """When its last container ended; if none has ended, when it was created."""
    ends = [((each.get("state") or {}).get("terminated") or {}).get("finishedAt") for each in container_statuses(pod)]
    return max((clock.parse_iso(each) for each in ends if each), default=created_at(pod))


def created_at(pod: port.Object) -> datetime:
    """When it was created."""
    return clock.parse_iso(pod["metadata"]["creationTimestamp"])


def number(pod: port.Object) -> int:
    """The number at the end of the name of a Pod that a controller created; -1 if there is none."""
    text = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(text) if text.isdecimal() else -1


def of_template(owner: port.Object, name: str, metadata: dict[str, Any]) -> port.Object:
    """A Pod from the owner's template, with the owner as its controller. `metadata`: merged into the template's, key by key."""
    template = owner["spec"]["template"]
    given = template.get("metadata") or {}
    merged = {key: {**(given.get(key) or {}), **metadata.get(key, {})} for key in ("labels", "annotations")}
    own = {"name": name, "ownerReferences": [owners.reference(owner)], "finalizers": metadata.get("finalizers", [])}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**merged, **own}, "spec": template["spec"]}
