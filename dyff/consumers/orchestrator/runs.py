"""What becomes of an entity's custom resource: the plan for one run, pure data in, data out.

    folded as        resource           what is done
    Schedulable      none               it is created; if that cannot be, `Failed`/`SchemaError` or `Error`/`AdmissionFailed`
    Schedulable      there              `Admitted`: from now on the log says that the resource was there
    Schedulable      being deleted      `Interrupted`
    Admitted         there              nothing: operator and informer go on
    Admitted         being deleted      `Interrupted`
    Admitted         none               `Interrupted`: it is never created again
    ended            there              it is deleted: at once if terminated or deleted, or if it still runs; else after the retention time
    ended            being deleted      our finalizer goes when no pod of the run is active

`Schedulable` is the reservation: it counts against the quota and is in the log before anything is done. `Admitted` says
that the resource has been created. Between the two a crash loses nothing, since creating under the same name again is
refused; and a resource that vanished is distinguished from one that never was.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from dyff.admission import outcome
from dyff.cluster import conditions, port
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored
from dyff.entities import custom_resource, registry, statuses
from dyff.kernel import clock

RESERVED = frozenset({statuses.SCHEDULABLE, statuses.ADMITTED})
"""Statuses that hold quota."""
_AT_ONCE = frozenset({statuses.TERMINATED, statuses.DELETED})


class Run(msgspec.Struct, frozen=True):
    """What is known of one run.

    `kind`: of its custom resource. `mirrored` None: there is no such entity. `active`: whether a pod of it may be running.
    `suspended`: whether its account is.
    """

    kind: str
    id: str
    mirrored: Mirrored | None
    resource: port.Object | None
    active: bool
    suspended: bool = False

    @property
    def is_to_start(self) -> bool:
        """Whether it has been let in, and has no custom resource yet."""
        return self.mirrored is not None and self.resource is None and self.mirrored.entity.get("status") == statuses.SCHEDULABLE


class Create(msgspec.Struct, frozen=True):
    """Create the custom resource; then `done`, if the cluster refuses it `refused`, with the message still to come."""

    kind: str
    resource: port.Object
    done: outcomes.Change
    refused: outcomes.Change


class Delete(msgspec.Struct, frozen=True):
    """Delete the custom resource, if it still is this one."""

    kind: str
    name: str
    uid: str


class Release(msgspec.Struct, frozen=True):
    """Remove our finalizer, if really no pod of the run is active."""

    kind: str
    name: str
    id: str
    resource_version: str
    finalizers: tuple[str, ...]


Action = outcomes.Change | Create | Delete | Release


def plan(run: Run, now: datetime, retention: timedelta) -> Action | None:
    """The next thing to do; None: nothing now. After it was done, plan again."""
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
    """Whether the resource of an entity that has ended still runs, as far as is known. A leader that was paused may have made it late."""
    return run.mirrored is not None and run.mirrored.ended and run.resource is not None and not conditions.finished(run.resource)


def holds_quota(run: Run) -> bool:
    """Whether a run whose entity has ended still uses its quota: pods may be running, or the operator may yet start some."""
    if run.active:
        return True
    return run.resource is not None and not conditions.finished(run.resource)


def is_deleting(resource: port.Object) -> bool:
    """Whether its deletion was asked for, so that only finalizers keep it."""
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
    return Delete(run.kind, metadata["name"], metadata["uid"])


def _release(run: Run) -> Action | None:
    """Also where the entity is not known (any more): nothing else would ever let such a resource go once it is deleted."""
    if run.resource is None or not is_deleting(run.resource) or run.active:
        return None
    metadata = run.resource["metadata"]
    finalizers = metadata.get("finalizers") or []
    if custom_resource.FINALIZER not in finalizers:
        return None
    rest = tuple(each for each in finalizers if each != custom_resource.FINALIZER)
    return Release(run.kind, metadata["name"], run.id, metadata["resourceVersion"], rest)


def _held_back(mirrored: Mirrored) -> Action | None:
    """It was let in, and before anything was started its account was suspended. It keeps its quota, which is its account's."""
    if mirrored.entity.get("reason") == statuses.ACCOUNT_SUSPENDED:
        return None
    message = outcome.suspension(mirrored.entity["account"])
    return outcomes.change(mirrored, statuses.SCHEDULABLE, statuses.ACCOUNT_SUSPENDED, message)


def _create(mirrored: Mirrored) -> Action:
    try:
        resource = registry.resource_for(mirrored.entity)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return unreadable(mirrored, error)
    return Create(
        resource["kind"],
        resource,
        outcomes.change(mirrored, statuses.ADMITTED),
        outcomes.change(mirrored, statuses.ERROR, statuses.ADMISSION_FAILED),
    )


def unreadable(mirrored: Mirrored, error: Exception) -> outcomes.Change:
    """The end of an entity that is not as its kind must be; `error` names the field."""
    message = f"The entity cannot be run as it is: {type(error).__name__}: {error}"
    return outcomes.change(mirrored, statuses.FAILED, statuses.SCHEMA_ERROR, message)


def _interrupted(mirrored: Mirrored, what: str) -> outcomes.Change:
    row = registry.BY_KIND[mirrored.entity["kind"]]
    message = f"The custom resource {what} while the workflow was running; it is not started again"
    return outcomes.change(mirrored, row.failure, statuses.INTERRUPTED, message)
