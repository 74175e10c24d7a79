"""A controller's decision about one object, as data. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.cluster import port


class Observed(msgspec.Struct, frozen=True):
    """The present state of a Job or Deployment. `owner`: None if it is gone. `pods`: those whose controller reference has its
    kind and name, including Pods of an earlier object with that name.
    """

    name: str
    owner: port.Object | None
    pods: tuple[port.Object, ...]


class Plan(msgspec.Struct, frozen=True):
    """Applied in this order: `status` (a merge patch for the owner's status), `deletes` and `releases` (Pods; a release removes
    the controller's finalizer), `creates`. `again_s`: seconds after which to reconcile again even if nothing changes; None for never.
    """

    status: port.Object | None = None
    deletes: tuple[port.Object, ...] = ()
    releases: tuple[port.Object, ...] = ()
    creates: tuple[port.Object, ...] = ()
    again_s: float | None = None


def changes(old: port.Object, new: port.Object) -> port.Object | None:
    """The merge patch from one status to another; None if they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    patch.update({key: value for key, value in new.items() if old.get(key) != value})
    return patch or None
