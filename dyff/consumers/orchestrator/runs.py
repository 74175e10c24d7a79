"""Plans the next action for an entity's custom resource. Pure.

    folded as        resource           action
    Schedulable      missing            create it; if that is impossible, `Failed`/`SchemaError` or `Error`/`AdmissionFailed`
    Schedulable      exists             `Admitted`: from now on the log records that the resource existed
    Schedulable      being deleted      `Interrupted`
    Admitted         exists             none: operator and informer do the work
    Admitted         being deleted      `Interrupted`
    Admitted         missing            `Interrupted`: it is never created again
    ended            exists             delete it: immediately if terminated or deleted, or if it still runs; else after the retention time
    ended            being deleted      remove our finalizer when no pod of the run is active

`Schedulable` is the reservation: it counts against the quota and is in the log before anything is done. `Admitted` records
that the resource has been created. A crash between the two loses nothing, since a second creation under the same name is
refused. The two statuses also distinguish a resource that vanished from one that never existed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from dyff.admission import outcome
from dyff.cluster import conditions, port
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored
from dyff.consumers.orchestrator import holding
from dyff.entities import custom_resource, registry, statuses
from dyff.kernel import clock
from dyff.kernel.telemetry import trace_context

RESERVED = frozenset({statuses.SCHEDULABLE, statuses.ADMITTED})
"""Statuses that hold quota."""
_AT_ONCE = frozenset({statuses.TERMINATED, statuses.DELETED})


class Run(msgspec.Struct, frozen=True):
    """The observed state of one run.

    `kind`: of its custom resource. `mirrored`: None if there is no such entity. `resource`: None if it does not exist. `active`:
    whether one of its pods can be running. `suspended`: whether its account is suspended.
    """

    kind: str
    id: str
    mirrored: Mirrored | None
    resource: port.Object | None
    active: bool
    suspended: bool = False

    @property
    def is_to_start(self) -> bool:
        """Whether it has been admitted, and has no custom resource yet."""
        return self.mirrored is not None and self.resource is None and self.mirrored.entity.get("status") == statuses.SCHEDULABLE


class Create(msgspec.Struct, frozen=True):
    """Create the custom resource, then publish `done`. If the cluster refuses it, publish one of these, with the message added: `refused`,
    or `waits` while it is tried again.
    """

    kind: str
    resource: port.Object
    done: outcomes.Change
    refused: outcomes.Change
    waits: outcomes.Change


class Delete(msgspec.Struct, frozen=True):
    """Delete the custom resource of the entity `id` if it still has this UID."""

    kind: str
    name: str
    uid: str
    id: str


class Release(msgspec.Struct, frozen=True):
    """Remove our finalizer, after a check in the cluster that no pod of the run is active."""

    kind: str
    name: str
    id: str
    resource_version: str
    finalizers: tuple[str, ...]


Action = outcomes.Change | Create | Delete | Release


def plan(run: Run, now: datetime, retention: timedelta) -> Action | None:
    """The next action; None if there is nothing to do now. Plan again after it is done."""
    if run.mirrored is None:
        return _release(run)
    status = run.mirrored.entity.get("status")
    if run.mirrored.ended:
        return _plan_ended(run, run.mirrored, now, retention)
    if status not in RESERVED:
        return None
    if run.is_to_start:
        return _held_back(run.mirrored) if run.suspended else _create(run.mirrored)
    if run.resource is None:
        return _interrupted(run.mirrored, "is gone")
    if is_deleting(run.resource):
        return _interrupted(run.mirrored, "was deleted")
    return outcomes.change(run.mirrored, statuses.ADMITTED) if status == statuses.SCHEDULABLE else None


def still_runs(run: Run) -> bool:
    """Whether the resource of an ended entity still seems to run. A leader that was paused can have created it too late."""
    return run.mirrored is not None and run.mirrored.ended and run.resource is not None and not conditions.finished(run.resource)


def holds_quota(run: Run) -> bool:
    """Whether a run whose entity has ended still uses quota: pods can be running, or the operator can still start some."""
    return holding.holds_quota(run.resource, run.active)


def is_deleting(resource: port.Object) -> bool:
    """Whether its deletion was requested, so that only finalizers keep it."""
    return bool(resource["metadata"].get("deletionTimestamp"))


def _plan_ended(run: Run, mirrored: Mirrored, now: datetime, retention: timedelta) -> Action | None:
    if run.resource is None:
        return None
    if is_deleting(run.resource):
        return _release(run)
    status, since = mirrored.entity["status"], mirrored.entity.get("lastTransitionTime")
    if status not in _AT_ONCE and not still_runs(run) and since and now - clock.parse_iso(since) < retention:
        return None
    metadata = run.resource["metadata"]
    return Delete(run.kind, metadata["name"], metadata["uid"], run.id)


def _release(run: Run) -> Action | None:
    """Plan the removal of our finalizer. Also for an unknown entity: nothing else would release such a resource once it is deleted."""
    if run.resource is None or not is_deleting(run.resource) or run.active:
        return None
    metadata = run.resource["metadata"]
    finalizers = metadata.get("finalizers") or []
    if custom_resource.FINALIZER not in finalizers:
        return None
    rest = tuple(each for each in finalizers if each != custom_resource.FINALIZER)
    return Release(run.kind, metadata["name"], run.id, metadata["resourceVersion"], rest)


def _held_back(mirrored: Mirrored) -> Action | None:
    """The account was suspended after admission, but before anything was started. The run keeps its quota, which is its account's."""
    if mirrored.entity.get("reason") == statuses.ACCOUNT_SUSPENDED:
        return None
    message = outcome.suspension(mirrored.entity["account"])
    return outcomes.change(mirrored, statuses.SCHEDULABLE, statuses.ACCOUNT_SUSPENDED, message)


def _create(mirrored: Mirrored) -> Action:
    try:
        resource = registry.resource_for(mirrored.entity)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return unreadable(mirrored, error)
    annotations = trace_context.to_annotations(mirrored.life)
    if annotations:
        resource["metadata"]["annotations"] = annotations
    return Create(
        resource["kind"],
        resource,
        outcomes.change(mirrored, statuses.ADMITTED),
        outcomes.change(mirrored, statuses.ERROR, statuses.ADMISSION_FAILED),
        outcomes.change(mirrored, statuses.SCHEDULABLE, statuses.REFUSED),
    )


def unreadable(mirrored: Mirrored, error: Exception) -> outcomes.Change:
    """The change that fails an entity without the form of its kind; `error` names the field."""
    message = f"The entity cannot be run as it is: {type(error).__name__}: {error}"
    return outcomes.change(mirrored, statuses.FAILED, statuses.SCHEMA_ERROR, message)


def _interrupted(mirrored: Mirrored, what: str) -> outcomes.Change:
    row = registry.BY_KIND[mirrored.entity["kind"]]
    message = f"The custom resource {what} while the workflow was running; it is not started again"
    return outcomes.change(mirrored, row.failure, statuses.INTERRUPTED, message)
