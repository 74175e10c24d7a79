"""The orchestrator: decides what can run, creates the custom resources, and cleans up after them.

There is one leader at a time, fenced in the log. It acquires ownership, waits until all earlier events in the log are folded
and mirrored, and only then starts to plan. From then on it works in passes, each from scratch: observe (mirror and cluster),
plan (`dyff.admission.cycle`, `dyff.consumers.orchestrator.runs`), apply, and wait until everything published is folded. So the next
pass sees it, no assumptions are carried from one pass to the next, and a restart needs no special case.

In parallel, the sweep (`dyff.consumers.orchestrator.sweep`) removes the stored data of entities that were deleted long ago, and
`dyff.consumers.orchestrator.uploads` seals finalized uploads. `dyff.consumers.orchestrator.collecting` completes runs that have results,
and `dyff.consumers.orchestrator.measuring` records what is stored. Ending expired sessions is not done here, but by the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import anyio.abc

from dyff.bus import port as bus_port
from dyff.bus import topics
from dyff.cluster import port as cluster_port
from dyff.cluster import watching
from dyff.consumers.common import custom_resources, outcomes, reconciling
from dyff.consumers.common.mirror import StateMirror
from dyff.consumers.orchestrator import collecting, counting, holding, items, measuring, reconciler, rules, sweep, uploads
from dyff.kernel import degradation, errors, liveness, settings
from dyff.kernel.clock import Clock
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import metrics, names, timing, traces
from dyff.objects import port as objects_port

ROLE = "orchestrator"
OWNER = "dyff.orchestrator"
_REST_PER_ENTITY_S = 50e-6
"""Additional pause between passes per entity: a pass over thousands of entities takes a while, and others share the processor."""


async def run(
    bus: bus_port.Bus,
    cluster: cluster_port.Cluster,
    *,
    clock: Clock,
    settings: settings.Settings,
    suspended: rules.Suspended | None = None,
    objects: objects_port.Objects | None = None,
    signs: liveness.Signs | None = None,
    troubles: degradation.Troubles | None = None,
    tracer: traces.Tracer = traces.SILENT,
    measured: metrics.Metrics | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ready when it leads and has read everything once.

    `suspended(account)`: whether an account is suspended, so that nothing new of it can run; None if no account ever is.
    `objects`: the store in which uploads are sealed, and from which the data of deleted entities is removed; None if nothing of this is
    done. `troubles`: where a failed sweep is reported; None if it is only logged. `tracer`: records the spans of its work. `measured`: of
    this process.

    Raises:
        Fenced: another orchestrator leads now.
        OutcomeUnknown: something may have been published; start again.
        Misconfigured: a quota is not a quantity.
    """
    chosen, known = rules.Rules.of(settings, suspended), measured or metrics.Metrics()
    publications = timing.Publications(known, ROLE)
    trigger, finalized, measurable, collected = triggers = [reconciling.Trigger() for _ in range(4)]
    progress = reconciling.Progress()
    mirror = StateMirror(bus, _each(triggers))
    resources = custom_resources.CustomResources(cluster, _each((trigger, collected)))
    pods = watching.Cache(cluster, cluster_port.POD, lambda _: trigger.set(), group_by=holding.ID_LABEL)
    (signs or liveness.Signs()).add(progress.signs, mirror.signs, resources.signs, _sign_of(pods))
    async with bus.own(OWNER) as owner, anyio.create_task_group() as group:
        appending = anyio.Lock()

        async def append(messages: Sequence[bus_port.Message]) -> list[Position]:
            async with appending:
                return await publications.timed(owner.append(topics.EVENTS, messages))

        await _read_everything(group, mirror, resources, pods)
        task_status.started()
        publisher = outcomes.Publisher(append, bus.clock_offset_s, mirror, clock, OWNER, tracer, outcomes.counting(known, ROLE))
        counted = counting.Counted(known)
        work = reconciler.Reconciler(mirror, resources, pods, cluster, publisher, clock, chosen, progress.step, tracer, counted)
        if objects is not None:
            retention, reported = settings.retention, troubles or degradation.Troubles(clock)
            group.start_soon(uploads.Uploads(mirror, objects, publisher, finalized, reported, sweep_s=retention.sweep_s).run)
            group.start_soon(measuring.Measuring(mirror, objects, append, bus.clock_offset_s, measurable, clock, reported).run)
            completing = collecting.Collecting(mirror, resources, objects, publisher, append, bus.clock_offset_s, collected, clock)
            group.start_soon(completing.run)
            sweeping = sweep.Sweep(mirror, objects, append, bus.clock_offset_s, work.busy, clock, retention, reported)
            group.start_soon(sweeping.run)
            followed = items.Items(mirror, objects, known, reported)
            counted.follow = followed.follow
            group.start_soon(followed.run)
        with known.reading("admission", counted.read, (names.ADMITTED,)):
            await _reconcile(work, trigger, progress, settings.orchestrator.resync_s)


def _each(triggers: Sequence[reconciling.Trigger]) -> Callable[[], None]:
    def fire() -> None:
        for each in triggers:
            each.set()

    return fire


async def _read_everything(
    group: anyio.abc.TaskGroup, mirror: StateMirror, resources: custom_resources.CustomResources, pods: watching.Cache
) -> None:
    """Start what mirrors the log and the cluster. Returns when it has all that was there at the call."""
    await group.start(mirror.run)
    await mirror.wait_current()
    await group.start(resources.run)
    await group.start(pods.run)


def _sign_of(pods: watching.Cache) -> liveness.Read:
    async def read() -> list[liveness.Sign]:
        return [pods.sign()]

    return read


async def _reconcile(work: reconciler.Reconciler, trigger: reconciling.Trigger, progress: reconciling.Progress, resync_s: float) -> None:
    async def once() -> float | None:
        entities = await work.once()
        return reconciling.PAUSE_S + entities * _REST_PER_ENTITY_S

    async def wait(timeout_s: float) -> None:
        due_s = work.next_s()
        await trigger.wait(timeout_s if due_s is None else min(timeout_s, due_s))

    await reconciling.reconcile_forever(once, wait, resync_s=resync_s, retried=(errors.RetryLater,), event="pass-failed", progress=progress)
