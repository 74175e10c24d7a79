"""Reconciles a custom resource when it or one of its parts changes, when a deadline passes, and periodically."""

from __future__ import annotations

import random
import time
from collections import defaultdict

import anyio
import anyio.abc
import structlog

from dyff.cluster import port, watching
from dyff.kernel import errors, keyed, liveness
from dyff.kernel.telemetry import log_fields, metrics, traces
from dyff.operator import applying, counting, observing, plan, refusals, tracing, viewing
from dyff.operator.kinds import table

PARTS = (port.JOB, port.DEPLOYMENT, port.SERVICE, port.NETWORK_POLICY, port.POD)
"""Kinds of parts that are watched. A ConfigMap that someone removes is noticed at the next periodic reconciliation."""

MAX_WORKERS = 16

log = structlog.get_logger()


class Controller:
    """Drives each custom resource to completion: observe, plan, apply. A worker handles one resource at a time."""

    def __init__(
        self,
        cluster: port.Cluster,
        setup: plan.Setup,
        *,
        timing: watching.Timing | None = None,
        tracer: traces.Tracer = traces.SILENT,
        measured: metrics.Metrics | None = None,
    ) -> None:
        """`timing`: of the watches; None for the defaults. `tracer`: records the spans of reconciliations, steps and pods.
        `measured`: of this process; None for new ones.
        """
        self._tracer, self._parts = tracer, tracing.Parts(tracer)
        self._counted = counting.Counted(measured or metrics.Metrics(), cluster.now)
        self._about: dict[plan.Request, log_fields.About] = {}
        self._cluster, self._setup = cluster, setup
        self._applier = applying.Applier(cluster, random.Random())
        self._workers = keyed.Workers(self._timed, failed=self._failed, limit=MAX_WORKERS, jitter=random.Random())
        kinds = (*(row.kind for row in table.TABLE), *PARTS)
        grouped = {port.POD: viewing.ID}
        self._caches = {
            kind.kind: watching.Cache(cluster, kind, self._changed, group_by=grouped.get(kind), timing=timing) for kind in kinds
        }
        self._view = viewing.View(self._caches, cluster)
        self._referring: defaultdict[plan.Ref, set[plan.Request]] = defaultdict(set)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Reconcile until cancelled; ready when all watched kinds have been listed once, apart from those that we may not list."""
        async with anyio.create_task_group() as group:
            await group.start(self._workers.run)
            await watching.start(group, self._caches.values())
            task_status.started()

    async def _timed(self, request: plan.Request) -> float | None:
        began = time.perf_counter()
        try:
            return await self.reconcile(request)
        finally:
            self._counted.reconciled(request, time.perf_counter() - began)

    def _failed(self, request: plan.Request, error: Exception, delay_s: float) -> None:
        self._counted.failed(request, type(error).__name__)
        _report(request, error, delay_s)

    async def reconcile(self, request: plan.Request) -> float | None:
        """Reconcile one resource. Returns the seconds until the next time; None if it needs no requeue before something changes."""
        log_fields.begin(self._about.get(request) or log_fields.About())
        began_ns = time.time_ns()
        seen = await observing.observe(self._view, request)
        at_rest = self._decide(seen)
        if at_rest.empty:
            if seen.resource is None:
                self._forget(request)
            return at_rest.requeue_after_s
        observed = await observing.observe(self._cluster, request)
        if observed.resource is None:
            self._forget(request)
        decided = self._decide(observed)
        refusal = await self._applier.apply(observed, decided)
        if refusal is not None:
            await self._report_refusal(request, refusal)
        else:
            _log_plan(request, decided)
        if not decided.empty:
            actions = [f"{type(action).__name__} {action.kind.kind}" for action in decided.actions]
            why = refusal.message if refusal is not None else None
            tracing.reconciled(self._tracer, observed.resource, began_ns, actions, _reason(decided), why)
        waits = [each for each in (decided.requeue_after_s, self._applier.next_s(request)) if each is not None]
        return min(waits, default=None)

    def _decide(self, observed: plan.Observed) -> plan.Plan:
        now = self._cluster.now()
        return refusals.cleared(observed, table.decide(observed, now, self._setup), now)

    async def _report_refusal(self, request: plan.Request, refusal: applying.Refusal) -> None:
        """Write into the status what the API server refuses, or let the resource fail with it."""
        self._counted.failed(request, errors.Refused.__name__)
        log.warning("refused", kind=request.kind, name=request.name, reason=refusal.message, final=refusal.final)
        observed = await observing.observe(self._cluster, request)
        decided = refusals.decide(observed, refusal, self._cluster.now(), self._setup)
        another = await self._applier.apply(observed, decided)
        if another is not None:
            log.warning("refused", kind=request.kind, name=request.name, reason=another.message, final=another.final)

    def statistics(self) -> keyed.Statistics:
        """Statistics of the work queue."""
        return self._workers.statistics()

    async def samples(self) -> list[metrics.Sample]:
        """The gauges of the operator."""
        return self._counted.samples(self._workers.statistics(), self._caches[port.POD.kind])

    async def signs(self) -> list[liveness.Sign]:
        """Liveness signs for the watchdog: whether reconciliation makes progress and the watches receive events."""
        now = self._workers.statistics()
        waiting = now.waiting + now.active
        todo = liveness.Sign("reconciliations", f"{waiting} to look at" if waiting else None, self._workers.ended)
        return [todo, *(cache.sign() for cache in self._caches.values())]

    def _changed(self, obj: port.Object) -> None:
        meta, request = obj["metadata"], plan.Request(obj["kind"], obj["metadata"]["name"])
        present = self._caches[obj["kind"]].get(meta["name"])
        self._parts.seen(obj, gone=present is not obj)
        if obj["kind"] == port.POD.kind:
            self._counted.changed(obj, is_there=present is not None)
        if obj["kind"] in table.BY_KIND:
            self._about[request] = log_fields.of_object(obj)
        for request in table.concerned(obj):
            self._workers.add(request)
        self._follow_references(obj)

    def _follow_references(self, obj: port.Object) -> None:
        """A resource can refer to one that it does not own, as an evaluation to a session; a change of that one queues it, too."""
        row = table.BY_KIND.get(obj["kind"])
        if row is None:
            return
        name = obj["metadata"]["name"]
        for other in row.wanted(name, obj).others:
            self._referring[other].add(plan.Request(obj["kind"], name))
        for request in self._referring.get(plan.Ref(row.kind, name), ()):
            self._workers.add(request)

    def _forget(self, request: plan.Request) -> None:
        self._applier.forget(request)
        self._about.pop(request, None)
        for other in [other for other, referring in self._referring.items() if request in referring]:
            self._referring[other].discard(request)
            if not self._referring[other]:
                del self._referring[other]


def _report(request: plan.Request, error: Exception, delay_s: float) -> None:
    """Log a failure by severity: a conflict is normal, a server that does not answer is a warning, anything else is our own defect."""
    fields = {"kind": request.kind, "name": request.name, "retry_after_s": round(delay_s, 1), **errors.details(error)}
    if isinstance(error, errors.Conflict | errors.NotFound):
        log.debug("look-again", **fields)
    elif isinstance(error, errors.DyffError):
        log.warning("reconcile-failed", **fields)
    else:
        log.error("reconcile-failed", exc_info=error, **fields)


def _reason(decided: plan.Plan) -> str | None:
    """The reason that a plan writes into the status; None if it writes none."""
    written = (decided.status_patch or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in written if each.get("status") == "True" and each.get("reason")), None) or next(
        (str(each["reason"]) for each in written if each.get("reason")), None
    )


def _log_plan(request: plan.Request, decided: plan.Plan) -> None:
    """Log the actions of a plan; a plan that only changes the status is logged at the debug level."""
    if decided.actions:
        actions = [f"{type(action).__name__} {action.kind.kind}" for action in decided.actions]
        log.info("reconciled", kind=request.kind, name=request.name, actions=actions)
    elif decided.status_patch is not None:
        log.debug("status-written", kind=request.kind, name=request.name)
