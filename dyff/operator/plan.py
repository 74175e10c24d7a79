"""The operator's observations and decisions, as data. Nothing here acts, reads a clock or waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel import analysis_settings, settings


class Request(msgspec.Struct, frozen=True):
    """A queue entry: reconcile the custom resource with this kind and name."""

    kind: str
    name: str


class Ref(msgspec.Struct, frozen=True):
    """The address of an object in the cluster."""

    kind: port.Kind
    name: str


class Wanted(msgspec.Struct, frozen=True):
    """The objects that a kind has to read before it can plan.

    `children`: objects that it owns. `others`: objects that it only reads. `services`: names of Services whose
    address it needs. `components`: of its own pods.
    """

    children: tuple[Ref, ...]
    components: tuple[str, ...]
    others: tuple[Ref, ...] = ()
    services: tuple[str, ...] = ()


class Observed(msgspec.Struct, frozen=True):
    """The observed state of a custom resource and its parts.

    `resource`: the custom resource; None if it is gone. `objects`: those of `Wanted` that exist. `pods`: those of
    `Wanted`, if the decision depends on them. `urls`: by Service name, the URL that pods use. `logs`: by pod name, the
    last lines of the failed container, if its status does not contain them. `says`: by pod name, the last line of a running
    evaluation client.
    """

    request: Request
    wanted: Wanted
    resource: port.Object | None
    objects: Mapping[Ref, port.Object] = {}
    pods: tuple[port.Object, ...] = ()
    urls: Mapping[str, str] = {}
    logs: Mapping[str, str] = {}
    says: Mapping[str, str] = {}

    def get(self, kind: port.Kind, name: str) -> port.Object | None:
        """The object; None if it does not exist."""
        return self.objects.get(Ref(kind, name))

    @property
    def present(self) -> port.Object:
        """The custom resource, where it is known to exist."""
        if self.resource is None:
            raise ValueError(f"{self.request.kind} {self.request.name} is gone")
        return self.resource


class Create(msgspec.Struct, frozen=True):
    """Create `obj`; it is a success if it exists already."""

    kind: port.Kind
    obj: port.Object


class Delete(msgspec.Struct, frozen=True):
    """Delete the object with this UID; it is a success if it is gone already."""

    kind: port.Kind
    name: str
    uid: str


class Patch(msgspec.Struct, frozen=True):
    """Merge `patch` into metadata and spec. It contains the version that it was decided on; on a conflict, reconcile again."""

    kind: port.Kind
    name: str
    patch: port.Object


Action = Create | Delete | Patch


class Plan(msgspec.Struct, frozen=True):
    """A decision. The status is written first, so actions can rely on the recorded status.

    `status_patch`: merged into the custom resource's `.status`; None if nothing has to change. `requeue_after_s`: reconcile
    again after so many seconds even if nothing happens; None if there is nothing to wait for.
    """

    actions: tuple[Action, ...] = ()
    status_patch: dict[str, Any] | None = None
    requeue_after_s: float | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing has to be done."""
        return not self.actions and self.status_patch is None


class Setup(msgspec.Struct, frozen=True):
    """What plans depend on apart from the cluster. `storage_env`: set for our own steps, never for a user's container. `images`: what
    is set for images, by their names. `analyses`: how methods run.
    """

    operator: settings.Operator
    storage_env: Mapping[str, str] = {}
    images: Mapping[str, settings.Image] = {}
    analyses: analysis_settings.Analyses = analysis_settings.Analyses()

    @property
    def step_secrets(self) -> tuple[str, ...]:
        """Secrets whose keys become variables of all our steps."""
        return (self.operator.storage_secret,) if self.operator.storage_secret else ()

    def look_again_s(self, now: datetime, *moments: datetime) -> float:
        """Seconds until the earliest of `moments`, at most the period after which everything is reconciled again anyway."""
        return min([self.operator.resync_s, *(max((moment - now).total_seconds(), 0.0) for moment in moments)])
