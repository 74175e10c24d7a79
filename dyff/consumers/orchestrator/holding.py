"""The runs that count against quota until the cluster itself has reported that they are gone.

The caches of a leader follow watches, and a watch can be late: a resource that was created just now is missing from them, or a pod
that its operator started. So an ended run that the caches do not show (any more) is looked up in the cluster before its quota is released.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import anyio
import msgspec

from dyff.cluster import conditions, port
from dyff.consumers.common import custom_resources
from dyff.consumers.orchestrator import questions
from dyff.entities import custom_resource, registry
from dyff.kernel import errors

ID_LABEL = "dyff.io/id"
UNANSWERED_S = 60.0
"""How long a creation without an answer can still take effect: an API server drops a request after a minute."""
_QUESTIONS_AT_ONCE = 16


class Found(msgspec.Struct, frozen=True):
    """What the cluster itself has of a run. `resource`: None if it does not exist. `active`: whether a pod can be running."""

    resource: port.Object | None
    active: bool


class Held:
    """The runs that this leader knows to have been started, by entity ID. A new leader begins with what the cluster lists."""

    def __init__(self, cluster: port.Cluster, asked: questions.Questions) -> None:
        """`asked`: the questions of this leader."""
        self._cluster, self._asked = cluster, asked
        self._kinds: dict[str, str] = {}
        self._unanswered: dict[str, float] = {}

    def add(self, kind: str, entity_id: str) -> None:
        """Hold a run that has a reservation or that was seen in the cluster. `kind`: of its custom resource."""
        self._kinds[entity_id] = kind

    def unanswered(self, kind: str, entity_id: str) -> None:
        """Hold a run whose creation got no answer: the resource can appear after the cluster has said that it does not exist."""
        self.add(kind, entity_id)
        self._unanswered[entity_id] = anyio.current_time() + UNANSWERED_S

    def appeared(self, entity_id: str) -> None:
        """Note that the resource was seen, so that a creation without an answer has taken effect."""
        self._unanswered.pop(entity_id, None)

    def __iter__(self) -> Iterator[str]:
        """The IDs of all runs that are held."""
        return iter(tuple(self._kinds))

    async def look_up(self, seen: Collection[str]) -> dict[str, tuple[str, Found]]:
        """Ask the cluster about each held run that is not in `seen`, and let go of those that are over.

        `seen`: IDs of runs that hold quota without a question. Returns the kind of custom resource and what was found of the others that
        stay held.

        Raises:
            RetryLater: the cluster does not answer; what was not answered stays held, as does that of which it says nothing.
        """
        found: dict[str, tuple[str, Found]] = {}
        failures: list[errors.RetryLater] = []
        limiter = anyio.CapacityLimiter(_QUESTIONS_AT_ONCE)

        async def ask(kind: str, entity_id: str) -> None:
            async with limiter:
                try:
                    answer = await self._asked.ask(entity_id, lambda: self._ask(kind, entity_id))
                except errors.RetryLater as error:
                    failures.append(error)
                    return
                except questions.NotKnown:
                    return
            if answer.resource is not None:
                self.appeared(entity_id)
            may_appear = self._unanswered.get(entity_id, 0.0) > anyio.current_time()
            if may_appear or holds_quota(answer.resource, answer.active):
                found[entity_id] = kind, answer
            else:
                self._kinds.pop(entity_id, None)
                self._unanswered.pop(entity_id, None)

        async with anyio.create_task_group() as group:
            for entity_id in [each for each in self._kinds if each not in seen]:
                group.start_soon(ask, self._kinds[entity_id], entity_id)
        if failures:
            raise failures[0]
        return found

    async def _ask(self, kind: str, entity_id: str) -> Found:
        """The resource first: its finalizer stays until no pod can run, so pods of one that is gone are those of a forced removal."""
        resource = await sought(self._cluster, kind, entity_id)
        return Found(resource, await active(self._cluster, entity_id))


def holds_quota(resource: port.Object | None, active: bool) -> bool:
    """Whether a run whose entity has ended still uses quota: pods can be running, or the operator can still start some."""
    return active or (resource is not None and not conditions.finished(resource))


async def sought(cluster: port.Cluster, kind: str, entity_id: str) -> port.Object | None:
    """Read a run's custom resource from the cluster itself, since the watch can be late."""
    return await cluster.get(custom_resources.KINDS[kind], custom_resource.name(registry.RESOURCE_BY_KIND[kind], entity_id))


async def active(cluster: port.Cluster, entity_id: str) -> bool:
    """Whether the cluster itself has a pod of the run that can be running."""
    pods = await cluster.list(port.POD, {ID_LABEL: entity_id})
    return any(map(may_run, pods.items))


def may_run(pod: port.Object) -> bool:
    """Whether a pod can be running. True also if its phase is not known, as on a lost node."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
