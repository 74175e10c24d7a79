"""Reads the state that a plan needs from the cluster. Makes no decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
import structlog

from dyff.cluster import port
from dyff.kernel import errors
from dyff.operator import plan, pods, steps
from dyff.operator.kinds import table
from dyff.operator.manifests import containers

LOG_LINES = 40
"""Number of lines that are read from the end of a failed container's log."""

log = structlog.get_logger()


class Cluster(Protocol):
    """The part of `port.Cluster` that observing needs."""

    async def get(self, kind: port.Kind, name: str) -> port.Object | None: ...

    async def list(self, kind: port.Kind, labels: Mapping[str, str] | None = None) -> port.Listing: ...

    async def logs(
        self, pod: str, *, container: str | None = None, since: str | None = None, limit: int | None = None
    ) -> tuple[port.LogLine, ...]: ...

    async def pod_service_url(self, name: str) -> str | None: ...


async def observe(cluster: Cluster, request: plan.Request) -> plan.Observed:
    """Read the custom resource first, then its parts: so a missing part was missing after the status was read."""
    row = table.BY_KIND[request.kind]
    resource = await cluster.get(row.kind, request.name)
    wanted = row.wanted(request.name, resource)
    objects = {}
    for ref in (*wanted.children, *wanted.others):
        found = await cluster.get(ref.kind, ref.name)
        if found is not None:
            objects[ref] = found
    urls = {name: url for name in wanted.services if (url := await cluster.pod_service_url(name)) is not None}
    observed = plan.Observed(request, wanted, resource, objects, urls=urls)
    if not table.needs_pods(observed):
        return observed
    found_pods = await _pods(cluster, observed)
    logs, says = await _logs(cluster, found_pods), await _says(cluster, found_pods)
    return msgspec.structs.replace(observed, pods=found_pods, logs=logs, says=says)


async def _pods(cluster: Cluster, observed: plan.Observed) -> tuple[port.Object, ...]:
    """The pods of the resource's own components. The entity ID of a resource that is gone is taken from its parts' labels."""
    known = [(observed.resource or {}).get("spec", {}).get("id"), *(_id(found) for found in observed.objects.values())]
    entity_id = next((each for each in known if each), None)
    if entity_id is None:
        return ()
    listing = await cluster.list(port.POD, {"dyff.io/id": entity_id})
    return tuple(pod for pod in listing.items if pod["metadata"]["labels"].get("dyff.io/component") in observed.wanted.components)


def _id(found: port.Object) -> str | None:
    value: str | None = (found["metadata"].get("labels") or {}).get("dyff.io/id")
    return value


async def _logs(cluster: Cluster, found_pods: Iterable[port.Object]) -> dict[str, str]:
    return {pod["metadata"]["name"]: await _log(cluster, pod, container) for pod in found_pods if (container := pods.lacks_words(pod))}


async def _says(cluster: Cluster, found_pods: Iterable[port.Object]) -> dict[str, str]:
    """The last line of each running evaluation client: it says what the client waits for or retries."""
    return {pod["metadata"]["name"]: await _log(cluster, pod, containers.STEP, 1) for pod in found_pods if _is_client(pod)}


def _is_client(pod: port.Object) -> bool:
    is_running = (pod.get("status") or {}).get("phase") == "Running" and not pods.deleting(pod)
    return is_running and pod["metadata"]["labels"].get("dyff.io/component") == steps.CLIENT.component


async def _log(cluster: Cluster, pod: port.Object, container: str, lines_wanted: int = LOG_LINES) -> str:
    """The last lines of a log. If it cannot be read, for instance because its node is lost, the run must still be able to fail."""
    name = pod["metadata"]["name"]
    try:
        lines = await cluster.logs(name, container=container, limit=lines_wanted)
    except errors.DyffError as error:
        log.warning("log-unreadable", pod=name, container=container, **errors.details(error))
        return f"(the log cannot be read: {error.message})"
    return "\n".join(line.message for line in lines)
