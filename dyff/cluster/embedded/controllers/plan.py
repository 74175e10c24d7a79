"""What a controller decides to do about one object, as data. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.cluster import port


class Observed(msgspec.Struct, frozen=True):
    """A Job or Deployment as it is now. `owner` None: it is gone. `pods`: those that name it as their controller,
    or named one of that name that is gone.
    """

    name: str
    owner: port.Object | None
    pods: tuple[port.Object, ...]


class Plan(msgspec.Struct, frozen=True):
    """Done in this order: `status` (a merge patch of the owner's), `deletes` and `releases` (pods; a release takes the
    controller's finalizer off), `creates`. `again_s`: seconds after which to look again though nothing changed.
    """

    status: port.Object | None = None
    deletes: tuple[port.Object, ...] = ()
    releases: tuple[port.Object, ...] = ()
    creates: tuple[port.Object, ...] = ()
    again_s: float | None = None


def changes(old: port.Object, new: port.Object) -> port.Object | None:
    """The merge patch from one status to another; None: they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    patch.update({key: value for key, value in new.items() if old.get(key) != value})
    return patch or None
