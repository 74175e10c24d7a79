"""Plans the removal of parts of a resource that ends, is being deleted or is gone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dyff.cluster import owners, port
from dyff.operator import jobs, plan, pods


def own(observed: plan.Observed) -> Iterator[tuple[plan.Ref, port.Object]]:
    """The existing children that belong to the resource. If it is gone: those whose controller had its kind and name."""
    for ref in observed.wanted.children:
        found = observed.objects.get(ref)
        if found is not None and _belongs(observed, found):
            yield ref, found


def stranger(observed: plan.Observed) -> plan.Ref | None:
    """A child whose name is taken by an object that does not belong to the resource; None if there is none."""
    for ref in observed.wanted.children:
        found = observed.objects.get(ref)
        if found is not None and not _belongs(observed, found):
            return ref
    return None


def everything(observed: plan.Observed) -> tuple[plan.Action, ...]:
    """Delete all children of a resource that is being deleted or is gone. The pods of a Job are deleted before the Job disappears."""
    return (*interrupted(observed), *(_delete(ref, found) for ref, found in own(observed) if not pods.deleting(found)))


def leftovers(observed: plan.Observed) -> tuple[plan.Action, ...]:
    """Delete what a finished resource no longer needs: everything except its finished Jobs, kept for their logs, and its ConfigMaps."""
    return (*interrupted(observed), *_released_jobs(observed), *_unneeded(observed))


def recorded(observed: plan.Observed, *names: str) -> tuple[plan.Action, ...]:
    """Release the ended Jobs of a resource that is still running, if their names are in `names`: their outcome is in its status."""
    return tuple(each for each in _released_jobs(observed) if each.name in names)


def removed(observed: plan.Observed, kind: port.Kind) -> tuple[plan.Action, ...]:
    """Delete the children of one kind of a resource that is still running."""
    return tuple(_delete(ref, found) for ref, found in own(observed) if ref.kind == kind and not pods.deleting(found))


def stopped(observed: plan.Observed, *names: str) -> tuple[plan.Action, ...]:
    """Delete the Jobs in `names` that have not ended, of a resource that is still running."""
    found = ((ref, job) for ref, job in own(observed) if ref.kind == port.JOB and ref.name in names)
    return tuple(_delete(ref, job) for ref, job in found if not jobs.ending(job) and not pods.deleting(job))


def interrupted(observed: plan.Observed) -> tuple[plan.Action, ...]:
    """Finish the deletion of parts that hold our finalizer, also if someone else deletes them, so they can be created again."""
    return (*_deleted_jobs(observed), *_deleted_policies(observed))


def _unneeded(observed: plan.Observed) -> Iterator[plan.Action]:
    for ref, found in own(observed):
        kept = ref.kind == port.CONFIG_MAP or (ref.kind == port.JOB and jobs.ending(found))
        if not kept and not pods.deleting(found):
            yield _delete(ref, found)


def _released_jobs(observed: plan.Observed) -> Iterator[plan.Patch]:
    for ref, found in own(observed):
        if ref.kind == port.JOB and jobs.ended(found) and jobs.held(found) and not pods.deleting(found):
            yield jobs.release(port.JOB, found)


def _deleted_jobs(observed: plan.Observed) -> Iterator[plan.Action]:
    """A Job that is being deleted keeps our finalizer until none of its pods can run any more, even if an earlier resource owned it."""
    for ref, found in observed.objects.items():
        if ref.kind != port.JOB or not pods.deleting(found) or not _made_for(observed, found):
            continue
        living = [pod for pod in pods.of_owner(observed.pods, found["metadata"]["uid"]) if pods.live(pod)]
        for pod in living:
            if not pods.deleting(pod):
                yield plan.Delete(port.POD, pod["metadata"]["name"], pod["metadata"]["uid"])
        if not living and jobs.held(found):
            yield jobs.release(port.JOB, found)


def _deleted_policies(observed: plan.Observed) -> Iterator[plan.Action]:
    """A NetworkPolicy that is being deleted holds until none of the pods that it is for can run any more."""
    for ref, found in observed.objects.items():
        if ref.kind != port.NETWORK_POLICY or not pods.deleting(found) or not _made_for(observed, found):
            continue
        component = found["metadata"]["labels"]["dyff.io/component"]
        living = [pod for pod in observed.pods if pod["metadata"]["labels"].get("dyff.io/component") == component and pods.live(pod)]
        if jobs.held(found) and not living:
            yield jobs.release(ref.kind, found)


def _delete(ref: plan.Ref, found: port.Object) -> plan.Delete:
    return plan.Delete(ref.kind, ref.name, found["metadata"]["uid"])


def _made_for(observed: plan.Observed, found: port.Object) -> bool:
    """Whether an object was created for the resource or for an earlier one with its name."""
    owner = owners.controller(found)
    return owner is not None and (owner["kind"], owner["name"]) == (observed.request.kind, observed.request.name)


def _belongs(observed: plan.Observed, found: port.Object) -> bool:
    owner = owners.controller(found)
    if owner is None or not _made_for(observed, found):
        return False
    return observed.resource is None or bool(owner["uid"] == observed.resource["metadata"]["uid"])
