"""The informer: tells the log how runs have ended in the cluster.

It publishes only the difference between the cluster and the folded state, as commands that hold only for the status
they were decided on and whose IDs follow from the decision. So it may be restarted, run twice or see old things again,
and nothing is said twice or too late.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import anyio
import anyio.abc
import structlog

from dyff.bus import port as bus_port
from dyff.bus import topics
from dyff.cluster import port as cluster_port
from dyff.consumers import conditions, custom_resources, outcomes, rounds, wakes
from dyff.consumers.mirror import StateMirror
from dyff.entities import registry
from dyff.kernel import backoff, errors, vitals
from dyff.kernel.clock import Clock
from dyff.kernel.positions import Position

log = structlog.get_logger()

PRINCIPAL = "dyff.informer"
RESYNC_S = 30.0
_PAUSE_S = 0.02


async def run(
    bus: bus_port.Bus,
    cluster: cluster_port.Cluster,
    *,
    clock: Clock,
    signs: vitals.Vitals | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ready when it has seen everything."""
    mirror, wake = StateMirror(bus), wakes.Wake()
    resources = custom_resources.CustomResources(cluster, wake.set)

    async def append(messages: Sequence[bus_port.Message]) -> list[Position]:
        return await bus.publish(topics.EVENTS, messages)

    publisher, done = outcomes.Publisher(append, mirror, clock, PRINCIPAL), rounds.Rounds()
    (signs or vitals.Vitals()).add(done.signs, mirror.signs, resources.signs)
    async with anyio.create_task_group() as group:
        await group.start(mirror.run)
        await group.start(resources.run)
        group.start_soon(wakes.wake_on_change, mirror, wake)
        task_status.started()
        delays = backoff.delays()
        while True:
            try:
                with done.round():
                    await publisher.publish(list(differences(resources, mirror)))
            except (errors.RetryLater, errors.OutcomeUnknown) as error:
                log.warning("publish-failed", **errors.details(error))
                await anyio.sleep(next(delays))
                continue
            delays = backoff.delays()
            await anyio.sleep(_PAUSE_S)
            await wake.wait(RESYNC_S)


def differences(resources: custom_resources.CustomResources, mirror: StateMirror) -> Iterator[outcomes.Change]:
    """What the cluster says and the log does not, of entities that have not ended."""
    for kind, entity_id, resource in resources.of_entities():
        mirrored = mirror.get(entity_id)
        if mirrored is None or mirrored.ended or not conditions.has_ended(resource):
            continue
        row = registry.BY_KIND.get(mirrored.entity.get("kind", ""))
        if row is None or row.run is None or row.run.resource.kind != kind:
            continue
        ended = conditions.ended(row.run.ended, resource)
        if ended is not None:
            yield outcomes.change(mirrored, ended.status, ended.reason, ended.message)
