"""The kinds of custom resources that the operator runs, and the planning that they share. Pure."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from dyff.cluster import conditions, owners, port
from dyff.entities import custom_resource, kind, registry
from dyff.kernel import clock, errors
from dyff.operator import cleanup, jobs, kinds, plan, pods, reasons
from dyff.operator.manifests import metadata


class Row(msgspec.Struct, frozen=True):
    """A kind of custom resource, with its functions `wanted` (the objects that it needs) and `decide` (its plan)."""

    kind: port.Kind
    wanted: Callable[[str, port.Object | None], plan.Wanted]
    decide: Callable[[plan.Observed, datetime, plan.Setup], plan.Plan]


def _row(resource: custom_resource.CustomResource) -> Row:
    """Build the row of a custom resource from the module named after it.

    Raises:
        Incomplete: the module does not exist or lacks a function.
    """
    name = f"dyff.operator.kinds.{kind.module(resource.kind)}"
    place = f"{name.replace('.', '/')}.py"
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise errors.Incomplete(f"the custom resource {resource.kind} needs {place}, with `wanted` and `decide`") from error
    for needed in ("wanted", "decide"):
        if not callable(getattr(found, needed, None)):
            raise errors.Incomplete(f"{place} must have the function `{needed}`, which plans the custom resource {resource.kind}")
    return Row(port.custom(resource), found.wanted, found.decide)


def _rows() -> tuple[Row, ...]:
    """One row for each custom resource.

    Raises:
        Incomplete: a module is missing or incomplete, or belongs to no custom resource.
    """
    files = {each.name for each in pkgutil.iter_modules(kinds.__path__)} - {"table"}
    for name in sorted(files - {kind.module(each.kind) for each in registry.RESOURCES}):
        fix = f"set `run` or `resource` in dyff/entities/kinds/{name}.py, or remove it"
        raise errors.Incomplete(f"dyff/operator/kinds/{name}.py belongs to no custom resource: {fix}")
    return tuple(map(_row, registry.RESOURCES))


TABLE = _rows()
BY_KIND = {row.kind.kind: row for row in TABLE}


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """Plan for a custom resource in any state."""
    resource = observed.resource
    if resource is None or pods.deleting(resource):
        actions = cleanup.everything(observed)
        return plan.Plan(actions, None, setup.look_again_s(now) if any(cleanup.own(observed)) else None)
    if conditions.finished(resource):
        return _finished(observed, now, setup)
    taken = cleanup.stranger(observed)
    if taken is not None:
        return _name_taken(observed, taken, now, setup)
    try:
        return BY_KIND[observed.request.kind].decide(observed, now, setup)
    except msgspec.ValidationError as error:
        return refused(observed, str(error), now)


def refused(observed: plan.Observed, why: str, now: datetime, reason: str = reasons.SCHEMA_ERROR) -> plan.Plan:
    """The plan for a resource that cannot be run, because of its spec or because the API server refuses one of its parts.

    What the resource has recorded about an earlier failure counts more: then only its publication is impossible.
    """
    message = f"it cannot be run as it is described: {why}" if reason == reasons.SCHEMA_ERROR else f"it cannot be run: {why}"
    recorded = ((observed.present.get("status") or {}).get("steps") or {}).get("failure")
    if recorded is not None:
        failure = msgspec.json.decode(recorded, type=dict[str, str])
        reason, message = failure["reason"], f"{failure['message']}\nWhat was completed could not be published: {why}"
    status = conditions.status_patch(observed.present, conditions.failed(reason, message), now)
    return plan.Plan(cleanup.leftovers(observed), status)


def _finished(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    actions = cleanup.leftovers(observed)
    leaving = actions or any(pods.deleting(found) for _, found in cleanup.own(observed))
    return plan.Plan(actions, None, setup.look_again_s(now) if leaving else None)


def _name_taken(observed: plan.Observed, taken: plan.Ref, now: datetime, setup: plan.Setup) -> plan.Plan:
    """Another object has the name of one of our parts. If it is being deleted, wait for that; otherwise fail without touching it."""
    what = f"{taken.kind.kind} {taken.name}"
    created = clock.parse_iso(observed.present["metadata"]["creationTimestamp"])
    patience = timedelta(seconds=setup.operator.job_deadline_s)
    if pods.deleting(observed.objects[taken]) and now < created + patience:
        waiting = conditions.running(reasons.NAME_TAKEN, f"waiting until the {what} of an earlier run is gone")
        status = conditions.status_patch(observed.present, waiting, now)
        return plan.Plan(cleanup.interrupted(observed), status, setup.look_again_s(now))
    message = f"there is a {what} that does not belong to this resource; remove it and create the resource again"
    status = conditions.status_patch(observed.present, conditions.failed(reasons.NAME_TAKEN, message), now)
    return plan.Plan(cleanup.leftovers(observed), status)


def needs_pods(observed: plan.Observed) -> bool:
    """Whether the decision depends on pods, so that they have to be listed."""
    unfinished = observed.resource is not None and not conditions.finished(observed.resource)
    for ref, found in observed.objects.items():
        if ref.kind == port.JOB and (pods.deleting(found) or (unfinished and jobs.ended(found) != "Complete")):
            return True
        if (ref.kind == port.DEPLOYMENT and unfinished) or (ref.kind == port.NETWORK_POLICY and pods.deleting(found)):
            return True
    return False


def concerned(obj: port.Object) -> tuple[plan.Request, ...]:
    """The custom resources to reconcile when `obj` changes: itself, and the one that it is a part of."""
    meta = obj["metadata"]
    found = [plan.Request(obj["kind"], meta["name"])] if obj["kind"] in BY_KIND else []
    owner = owners.controller(obj)
    if owner is not None and owner["kind"] in BY_KIND:
        found.append(plan.Request(owner["kind"], owner["name"]))
    kind, _, name = (meta.get("annotations") or {}).get(metadata.RESOURCE, "").partition("/")
    if obj["kind"] == port.POD.kind and kind in BY_KIND:
        found.append(plan.Request(kind, name))
    return tuple(dict.fromkeys(found))
