"""What the operator sees and what it decides, as data. Nothing here acts, reads a clock or waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel import settings


class Request(msgspec.Struct, frozen=True):
    """An identity: look at the custom resource of this kind and name."""

    kind: str
    name: str


class Ref(msgspec.Struct, frozen=True):
    """The address of an object in the cluster."""

    kind: port.Kind
    name: str


class Wanted(msgspec.Struct, frozen=True):
    """What a kind needs to know before it can plan.

    `children`: objects that are its own. `others`: objects that it only looks at. `services`: names of Services whose
    address it needs. `components`: of the pods that are its own.
    """

    children: tuple[Ref, ...]
    components: tuple[str, ...]
    others: tuple[Ref, ...] = ()
    services: tuple[str, ...] = ()


class Observed(msgspec.Struct, frozen=True):
    """What was there a moment ago.

    `resource`: the custom resource; None: it is gone. `objects`: those of `Wanted` that exist. `pods`: those of
    `Wanted`, where they matter for a decision. `urls`: by Service name, how pods reach it. `logs`: by pod name, the
    last lines of the container that failed, where its status does not hold them.
    """

    request: Request
    wanted: Wanted
    resource: port.Object | None
    objects: Mapping[Ref, port.Object] = {}
    pods: tuple[port.Object, ...] = ()
    urls: Mapping[str, str] = {}
    logs: Mapping[str, str] = {}

    def get(self, kind: port.Kind, name: str) -> port.Object | None:
        """The object; None: it does not exist."""
        return self.objects.get(Ref(kind, name))

    @property
    def present(self) -> port.Object:
        """The custom resource, where it is known to be there."""
        if self.resource is None:
            raise ValueError(f"{self.request.kind} {self.request.name} is gone")
        return self.resource


class Create(msgspec.Struct, frozen=True):
    """Create `obj`; that it exists already is a success."""

    kind: port.Kind
    obj: port.Object


class Delete(msgspec.Struct, frozen=True):
    """Delete that very object; that it is gone already is a success."""

    kind: port.Kind
    name: str
    uid: str


class Patch(msgspec.Struct, frozen=True):
    """Merge `patch` into metadata and spec. It names the version it was decided on; a conflict means: look again."""

    kind: port.Kind
    name: str
    patch: port.Object


Action = Create | Delete | Patch


class Plan(msgspec.Struct, frozen=True):
    """What to do. The status is written first, so an action may rely on what the status records.

    `status_patch`: merged into the custom resource's `.status`; None: it is as it should be. `requeue_after_s`: look again
    after so many seconds even if nothing happens; None: there is nothing to wait for.
    """

    actions: tuple[Action, ...] = ()
    status_patch: dict[str, Any] | None = None
    requeue_after_s: float | None = None

    @property
    def empty(self) -> bool:
        """Whether everything is as it should be."""
        return not self.actions and self.status_patch is None


class Setup(msgspec.Struct, frozen=True):
    """What plans depend on besides the cluster. `storage_env`: given to our own steps, never to a user's container."""

    operator: settings.Operator
    storage_env: Mapping[str, str] = {}

    @property
    def step_secrets(self) -> tuple[str, ...]:
        """Secrets whose keys are variables of every step of ours."""
        return (self.operator.storage_secret,) if self.operator.storage_secret else ()

    def look_again_s(self, now: datetime, *moments: datetime) -> float:
        """Seconds until the next of `moments`, and no longer than until everything is looked at again anyway."""
        return min([self.operator.resync_s, *(max((moment - now).total_seconds(), 0.0) for moment in moments)])
