"""Applies a plan. Makes no decisions: creating what exists and deleting what is gone count as success."""

from __future__ import annotations

from typing import assert_never

from dyff.cluster import port
from dyff.kernel import errors
from dyff.operator import plan
from dyff.operator.kinds import table


async def apply(cluster: port.Cluster, observed: plan.Observed, decided: plan.Plan) -> str | None:
    """Write the status, then run the actions. Returns why the API server permanently rejects a part, or None if it rejects none.

    Raises:
        StaleVersion: something changed since it was observed; reconcile again.
        NotFound: the resource or a part is gone; reconcile again.
        Unavailable: the cluster does not answer.
    """
    if decided.status_patch is not None:
        await _write_status(cluster, observed, decided.status_patch)
    for action in decided.actions:
        refusal = await _act(cluster, action)
        if refusal is not None:
            return refusal
    return None


async def _write_status(cluster: port.Cluster, observed: plan.Observed, status: port.Object) -> None:
    """Write the status only if the resource still has the version that the plan was made from."""
    version = {"resourceVersion": observed.present["metadata"]["resourceVersion"]}
    kind = table.BY_KIND[observed.request.kind].kind
    await cluster.patch(kind, observed.request.name, {"metadata": version, "status": status}, status=True)


async def _act(cluster: port.Cluster, action: plan.Action) -> str | None:
    match action:
        case plan.Create():
            return await _create(cluster, action)
        case plan.Delete():
            await cluster.delete(action.kind, action.name, uid=action.uid)
        case plan.Patch():
            await cluster.patch(action.kind, action.name, action.patch)
        case _:
            assert_never(action)
    return None


async def _create(cluster: port.Cluster, action: plan.Create) -> str | None:
    try:
        await cluster.create(action.kind, action.obj)
    except errors.AlreadyExists:
        return None
    except (errors.InvalidFields, errors.TooLarge) as error:
        return f"{action.kind.kind} {action.obj['metadata']['name']}: {error.message}"
    return None
