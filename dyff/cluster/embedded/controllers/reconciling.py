"""Observe, plan, apply for the types that create Pods: Jobs and Deployments.

A change of the owner or of one of its Pods only triggers a reconciliation. The objects are then read from the cluster, which is
cheap on one machine, so plans are never based on outdated objects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.abc
import msgspec
import structlog

from dyff.cluster import owners, port
from dyff.cluster.embedded import defaults
from dyff.cluster.embedded.controllers import deployments, informers, jobs, plan
from dyff.kernel import clock as clocks
from dyff.kernel import errors, keyed
from dyff.kernel.telemetry import log_fields

log = structlog.get_logger()


class Makes(msgspec.Struct, frozen=True):
    """A type that creates Pods.

    `labels(name, owner)`: selects the Pods that can belong to an owner; None if none can. `finalizer`: set on its Pods; None for none.
    """

    kind: port.Kind
    plan: Callable[[plan.Observed, datetime], plan.Plan]
    labels: Callable[[str, port.Object | None], dict[str, str] | None]
    finalizer: str | None


def job_maker(delays: jobs.Delays) -> Makes:
    """How Jobs create Pods."""
    make = functools.partial(jobs.make, delays=delays)
    return Makes(port.JOB, make, lambda name, _: {defaults.JOB_NAME: name}, jobs.FINALIZER)


def deployment_maker() -> Makes:
    """How Deployments create Pods."""
    return Makes(port.DEPLOYMENT, deployments.make, lambda _, owner: owner and dict(owner["spec"]["selector"]["matchLabels"]), None)


class Controller:
    """Reconciles all objects of a type."""

    def __init__(self, cluster: port.Cluster, known: informers.Informers, clock: clocks.Clock, makes: Makes) -> None:
        """`known` must watch the type and Pods."""
        self._cluster, self._clock, self._makes = cluster, clock, makes
        self._workers = keyed.Workers(self._reconcile, failed=self._failed)
        known.listen(makes.kind, lambda obj: self._workers.add(obj["metadata"]["name"]))
        known.listen(port.POD, self._look_at_owner)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled."""
        await self._workers.run(task_status=task_status)

    def _look_at_owner(self, pod: port.Object) -> None:
        owner = owners.controller(pod)
        if owner is not None and (owner["apiVersion"], owner["kind"]) == (self._makes.kind.api_version, self._makes.kind.kind):
            self._workers.add(owner["name"])

    async def _reconcile(self, name: str) -> float | None:
        observed = await self._observe(name)
        log_fields.begin(log_fields.of_object(observed.owner))
        made = self._makes.plan(observed, self._clock.now())
        try:
            await self._apply(observed, made)
        except (errors.StaleVersion, errors.NotFound) as error:
            # Another writer was faster. That is not a failure, only a reason to reconcile again.
            log.debug("reconcile-again", kind=self._makes.kind.kind, name=name, **errors.details(error))
            return 0.0
        return made.again_s

    async def _observe(self, name: str) -> plan.Observed:
        owner = await self._cluster.get(self._makes.kind, name)
        labels = self._makes.labels(name, owner)
        pods = () if labels is None else (await self._cluster.list(port.POD, labels)).items
        return plan.Observed(name, owner, tuple(each for each in pods if self._is_of(each, name)))

    def _is_of(self, pod: port.Object, name: str) -> bool:
        owner = owners.controller(pod)
        return owner is not None and (owner["kind"], owner["name"]) == (self._makes.kind.kind, name)

    async def _apply(self, observed: plan.Observed, made: plan.Plan) -> None:
        if made.status is not None and observed.owner is not None:
            version = {"uid": observed.owner["metadata"]["uid"], "resourceVersion": observed.owner["metadata"]["resourceVersion"]}
            await self._cluster.patch(self._makes.kind, observed.name, {"metadata": version, "status": made.status}, status=True)
        for pod in made.deletes:
            await self._cluster.delete(port.POD, pod["metadata"]["name"], uid=pod["metadata"]["uid"])
        for pod in made.releases:
            await self._release(pod)
        for pod in made.creates:
            await self._create(pod)

    async def _create(self, pod: port.Object) -> None:
        try:
            await self._cluster.create(port.POD, pod)
        except errors.AlreadyExists:
            # An earlier attempt succeeded after all.
            return
        log.info("pod-created", pod=pod["metadata"]["name"], controller=self._makes.kind.kind)

    async def _release(self, pod: port.Object) -> None:
        # The kubelet changes the finalizers too, so they are read again, and only our own is removed.
        name = pod["metadata"]["name"]
        current = await self._cluster.get(port.POD, name)
        if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
            return
        kept = [each for each in current["metadata"].get("finalizers", ()) if each != self._makes.finalizer]
        precondition = {"uid": current["metadata"]["uid"], "resourceVersion": current["metadata"]["resourceVersion"]}
        await self._cluster.patch(port.POD, name, {"metadata": {**precondition, "finalizers": kept}})

    def _failed(self, name: str, error: Exception, delay_s: float) -> None:
        log.warning("reconcile-failed", kind=self._makes.kind.kind, name=name, again_in_s=round(delay_s, 2), **errors.details(error))
