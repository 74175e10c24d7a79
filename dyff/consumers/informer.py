"""The informer: publishes to the log how runs have ended in the cluster, and what the others are waiting for.

It publishes only the difference between the cluster and the folded state. Its commands are valid only for the status on
which they were decided, and their IDs are derived from the decision. So it can be restarted, run twice or see old objects
again, and nothing is recorded twice or too late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import anyio
import anyio.abc
import msgspec

from dyff.bus import port as bus_port
from dyff.bus import topics
from dyff.cluster import conditions
from dyff.cluster import port as cluster_port
from dyff.consumers import waiting
from dyff.consumers.common import custom_resources, outcomes, reconciling
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import kind as kinds
from dyff.entities import registry, statuses
from dyff.kernel import errors, liveness
from dyff.kernel.clock import Clock
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import metrics, timing, traces

ROLE = "informer"
PRINCIPAL = "dyff.informer"
RESYNC_S = 30.0


async def run(
    bus: bus_port.Bus,
    cluster: cluster_port.Cluster,
    *,
    clock: Clock,
    signs: liveness.Signs | None = None,
    tracer: traces.Tracer = traces.SILENT,
    measured: metrics.Metrics | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ready when all entities and custom resources have been read once.

    `tracer`: records a span of each report. `measured`: of this process.
    """
    known = measured or metrics.Metrics()
    publications = timing.Publications(known, ROLE)
    trigger, progress = reconciling.Trigger(), reconciling.Progress()
    mirror = StateMirror(bus, trigger.set)
    resources = custom_resources.CustomResources(cluster, trigger.set)

    async def append(messages: Sequence[bus_port.Message]) -> list[Position]:
        return await publications.timed(bus.publish(topics.EVENTS, messages))

    publisher = outcomes.Publisher(append, bus.clock_offset_s, mirror, clock, PRINCIPAL, tracer, outcomes.counting(known, ROLE))

    reports = waiting.Waiting(clock)

    async def reconcile() -> float:
        await publisher.publish([*differences(resources, mirror), *waiting.changes(reports, running(resources, mirror))])
        return reconciling.PAUSE_S

    async def wait(timeout_s: float) -> None:
        await trigger.wait(reports.next_s(timeout_s))

    (signs or liveness.Signs()).add(progress.signs, mirror.signs, resources.signs)
    async with anyio.create_task_group() as group:
        await group.start(mirror.run)
        await group.start(resources.run)
        task_status.started()
        await reconciling.reconcile_forever(
            reconcile,
            wait,
            resync_s=RESYNC_S,
            retried=(errors.RetryLater, errors.OutcomeUnknown),
            event="publish-failed",
            progress=progress,
        )


def differences(resources: custom_resources.CustomResources, mirror: StateMirror) -> Iterator[outcomes.Change]:
    """Changes for entities that have ended in the cluster, but not in the log. Runs with results are completed by the orchestrator."""
    for mirrored, row, resource in _live(resources, mirror):
        ended = how_ended(row.ended, resource)
        if ended is not None and not (row.results is not None and ended.status in statuses.SUCCESS):
            yield outcomes.change(mirrored, ended.status, ended.reason, ended.message)


def running(resources: custom_resources.CustomResources, mirror: StateMirror) -> Iterator[tuple[Mirrored, cluster_port.Object]]:
    """The entities whose runs have not ended, with their custom resources."""
    for mirrored, row, resource in _live(resources, mirror):
        if how_ended(row.ended, resource) is None:
            yield mirrored, resource


def _live(resources: custom_resources.CustomResources, mirror: StateMirror) -> Iterator[tuple[Mirrored, kinds.Run, cluster_port.Object]]:
    """The entities that have not ended in the log, and have a custom resource, with the row of their run."""
    for kind, entity_id, resource in resources.of_entities():
        mirrored = mirror.get(entity_id)
        if mirrored is None or mirrored.ended:
            continue
        row = registry.BY_KIND.get(mirrored.entity.get("kind", ""))
        if row is not None and row.run is not None and row.run.resource.kind == kind:
            yield mirrored, row.run, resource


class Ended(msgspec.Struct, frozen=True):
    """How a run ended: the entity's status, and the condition's reason and message.

    They are None if the condition has none. A reason that only repeats the condition's type (Kubernetes requires a reason) counts as
    None, too.
    """

    status: str
    reason: str | None
    message: str | None


def how_ended(finals: Mapping[str, str], resource: cluster_port.Object) -> Ended | None:
    """How the run of `resource` ended; None if it has not. `finals`: of a kind, see `dyff.entities.kind.Run.ended`.

    The first condition that applies counts, so a failed run is never complete.
    """
    for name, status in finals.items():
        found = conditions.true_condition(resource, name)
        if found:
            reason = found.get("reason")
            return Ended(status, reason if reason and reason != name else None, found.get("message") or None)
    return None
