"""What has to go: the parts of a resource that ends, is deleted or is gone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dyff.cluster import owners, port
from dyff.operator import jobs, plan, pods


def own(observed: plan.Observed) -> Iterator[tuple[plan.Ref, port.Object]]:
    """The children that exist and belong to the resource; if it is gone, those whose controller had its kind and name."""
    for ref in observed.wanted.children:
        found = observed.objects.get(ref)
        if found is not None and _belongs(observed, found):
            yield ref, found


def stranger(observed: plan.Observed) -> plan.Ref | None:
    """A name that we need and that belongs to something else; None: there is none."""
    for ref in observed.wanted.children:
        found = observed.objects.get(ref)
        if found is not None and not _belongs(observed, found):
            return ref
    return None


def everything(observed: plan.Observed) -> tuple[plan.Action, ...]:
    """Delete all children, the pods of Jobs before the Jobs go: for a resource that is being deleted or is gone."""
    return (*_deleted_jobs(observed), *(_delete(ref, found) for ref, found in own(observed) if not pods.deleting(found)))


def leftovers(observed: plan.Observed) -> tuple[plan.Action, ...]:
    """What a finished resource has to give up: all but its finished Jobs and their manifests, which stay for their logs."""
    return (*_deleted_jobs(observed), *_released_jobs(observed), *_unneeded(observed))


def recorded(observed: plan.Observed, *names: str) -> tuple[plan.Action, ...]:
    """Of a resource that goes on: let go of those Jobs that have ended and whose outcome its status records."""
    return tuple(each for each in _released_jobs(observed) if each.name in names)


def removed(observed: plan.Observed, kind: port.Kind) -> tuple[plan.Action, ...]:
    """Of a resource that goes on: delete its children of a kind."""
    return tuple(_delete(ref, found) for ref, found in own(observed) if ref.kind == kind and not pods.deleting(found))


def interrupted(observed: plan.Observed) -> tuple[plan.Action, ...]:
    """Of a resource that goes on: see Jobs off that someone deletes, so that they can be created again."""
    return tuple(_deleted_jobs(observed))


def _unneeded(observed: plan.Observed) -> Iterator[plan.Action]:
    for ref, found in own(observed):
        kept = ref.kind == port.CONFIG_MAP or (ref.kind == port.JOB and jobs.ending(found))
        if not kept and not pods.deleting(found):
            yield _delete(ref, found)


def _released_jobs(observed: plan.Observed) -> Iterator[plan.Patch]:
    for ref, found in own(observed):
        if ref.kind == port.JOB and jobs.ended(found) and jobs.held(found) and not pods.deleting(found):
            yield jobs.release(found)


def _deleted_jobs(observed: plan.Observed) -> Iterator[plan.Action]:
    """A Job that is being deleted keeps our finalizer until nothing of it can run any more, whoever owned it."""
    for ref, found in observed.objects.items():
        if ref.kind != port.JOB or not pods.deleting(found) or not _made_for(observed, found):
            continue
        living = [pod for pod in pods.of_owner(observed.pods, found["metadata"]["uid"]) if pods.live(pod)]
        for pod in living:
            if not pods.deleting(pod):
                yield plan.Delete(port.POD, pod["metadata"]["name"], pod["metadata"]["uid"])
        if not living and jobs.held(found):
            yield jobs.release(found)


def _delete(ref: plan.Ref, found: port.Object) -> plan.Delete:
    return plan.Delete(ref.kind, ref.name, found["metadata"]["uid"])


def _made_for(observed: plan.Observed, found: port.Object) -> bool:
    """For the resource, or for an earlier one of its name."""
    owner = owners.controller(found)
    return owner is not None and (owner["kind"], owner["name"]) == (observed.request.kind, observed.request.name)


def _belongs(observed: plan.Observed, found: port.Object) -> bool:
    owner = owners.controller(found)
    if owner is None or not _made_for(observed, found):
        return False
    return observed.resource is None or bool(owner["uid"] == observed.resource["metadata"]["uid"])
