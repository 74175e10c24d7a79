"""Reconciles one pod from its creation to its removal. At every change: observe, find its stage, act, write its status."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import structlog

from dyff.cluster import port
from dyff.cluster.pods import (
    directory,
    lifecycle,
    monitor,
    node,
    ports,
    refusals,
    secrets,
    specs,
    starting,
    statuses,
    stopping,
    volumes,
)
from dyff.kernel import backoff, clock, errors
from dyff.kernel.telemetry import log_fields

log = structlog.get_logger()

SHIM_SPEAKS_S = 0.05
"""Polling interval while a shim holds the lock without a record, which it writes within milliseconds."""
MISSING_LOOK_S = 0.5
"""Polling interval for a missing ConfigMap."""
REFUSED_LOOK_S = 5.0
"""Retry interval after the machine could not start a pod (disk full, no port)."""
_LOOK_AGAIN_S = {refusals.CONFIG: MISSING_LOOK_S, refusals.CREATE: REFUSED_LOOK_S}


class Worker:
    """Drives one pod. `see` passes the pod's object; `poke` triggers a pass. `stopped`: set when the pod has ended in a shutdown."""

    def __init__(self, shared: node.Node, place: directory.Directory) -> None:
        self._node, self._place = shared, place
        self._object: port.Object | None = None
        self._shown: port.Object | None = None
        self._stale = False
        self._over = False
        self._tidy = False
        self._poked = anyio.Event()
        self._monitor = monitor.RunMonitor(place, self.poke)
        self.stopped = anyio.Event()

    def see(self, obj: port.Object | None) -> None:
        """Set the present object of the cluster; None if the pod is gone."""
        self._object = obj
        self.poke()

    def poke(self) -> None:
        """Trigger a pass, since something may have changed."""
        self._poked.set()

    async def run(self) -> None:
        """Drive the pod until nothing of it is left. Failures are logged and retried, and do not affect other pods."""
        delays = backoff.delays(0.1)
        async with anyio.create_task_group() as group:
            while not self._over:
                self._poked = anyio.Event()
                try:
                    wait_s = await self._step(group)
                    delays = backoff.delays(0.1)
                except (errors.Conflict, errors.NotFound):
                    self._stale, wait_s = True, next(delays)  # another writer was faster
                except (errors.RetryLater, errors.OutcomeUnknown) as error:
                    self._stale, wait_s = True, next(delays)
                    log.warning("the cluster did not answer", pod=self._place.uid, retry_in_s=wait_s, **errors.details(error))
                except Exception as error:
                    wait_s = next(delays)
                    log.exception("a pod could not be reconciled", pod=self._place.uid, retry_in_s=wait_s, **errors.details(error))
                with anyio.move_on_after(wait_s):
                    await self._poked.wait()
            group.cancel_scope.cancel()
        self.stopped.set()

    async def _step(self, group: anyio.abc.TaskGroup) -> float | None:
        """Run one pass; returns the seconds until the next one, or None to wait for `poke`."""
        shutting_down = self._node.shutdown_grace_s is not None
        if self._stale:
            await self._refresh()
        if self._object is not None:
            log_fields.begin(log_fields.of_object(self._object))
        facts = await anyio.to_thread.run_sync(self._place.facts)
        if facts.damaged and facts.held:  # it could not be asked to stop
            await anyio.to_thread.run_sync(stopping.kill_orphans, self._place, None)
            return 0.0
        if not facts.held:
            self._monitor.stop()
        wait_s = await self._act(group, facts)
        if shutting_down and not facts.held:
            self.stopped.set()
        return wait_s

    async def _act(self, group: anyio.abc.TaskGroup, facts: directory.Facts) -> float | None:
        if self._object is None:
            return await self._clear(group, facts)
        try:
            pod = specs.parse({**self._object, "status": self._shown or self._object.get("status")})
        except refusals.Refused as refused:
            await self._fail_unread(self._object, refused)
            return None
        if pod.metadata.deletion_timestamp:
            return await self._end(group, pod, facts)
        if pod.ended:
            return await self._rest(group, facts)
        return await self._drive(group, pod, facts)

    async def _drive(self, group: anyio.abc.TaskGroup, pod: specs.Pod, facts: directory.Facts) -> float | None:
        """Handle a pod that should run, or that has just ended."""
        if facts.intent is None and (facts.damaged or pod.status.get("startTime")):
            # Its directory was removed or damaged, but its processes possibly still run.
            await anyio.to_thread.run_sync(stopping.kill_orphans, self._place, None)
        stage = lifecycle.stage(pod, facts, self._node.time.now())
        if stage.kind == "running":
            return await self._follow(group, pod, facts, stage)
        if stage.kind == "lost":
            return await self._settle()
        if stage.kind in ("succeeded", "failed"):
            await self._show(pod, facts, stage)
            log.info("pod ended", pod=pod.metadata.name, phase=stage.kind, reason=stage.reason)
            return await self._rest(group, facts)
        if stage.wait_s > 0.0:
            await self._show(pod, facts, stage)
            return stage.wait_s
        return await self._start(pod, facts, stage)

    async def _start(self, pod: specs.Pod, facts: directory.Facts, stage: lifecycle.Stage) -> float | None:
        """Promise the next run, unless it is promised already, and start it."""
        try:
            promised = facts.intent if stage.kind == "unstarted" else None
            if promised is None or self._place.is_moved(promised):
                run = await self._promise(pod, facts)
            else:
                run = promised.run
            self._refuse_while_ending()
            node = self._node
            await anyio.to_thread.run_sync(starting.spawn, node.config, self._place, run, node.template, limiter=node.spawning)
        except refusals.Refused as refused:
            if refused.reason != refusals.UNSCHEDULABLE:
                self._node.release(pod.metadata.uid)
            if refused.reason == refusals.INVALID:
                stage = lifecycle.Stage("failed", reason=refused.reason, message=refused.message)
            await self._show(pod, facts, stage, refusal=refused)
            return _LOOK_AGAIN_S.get(refused.reason)
        return 0.0

    async def _promise(self, pod: specs.Pod, facts: directory.Facts) -> int:
        """Commit the next run, if nothing prevents it; returns its number."""
        self._refuse_while_ending()
        config = self._node.config
        await anyio.to_thread.run_sync(starting.mappings, config, pod)
        contents = await volumes.gather(self._node.cluster, pod)
        known = await anyio.to_thread.run_sync(secrets.read, config.settings.secrets_dir, pod)
        # What is chosen is taken before anything else is waited for, or another pod could choose the same.
        local_port = ports.choose(pod, facts, self._node.ports)
        if local_port is not None:
            self._node.ports[pod.metadata.uid] = local_port
        user = await anyio.to_thread.run_sync(starting.user, config, pod, facts, self._node.users)
        if user is not None:
            self._node.users[pod.metadata.uid] = user
        now = self._node.time.now()
        intent = await anyio.to_thread.run_sync(starting.intent, config, pod, self._place, facts, local_port, now, known, user)
        if pod.of_job:
            # Last, so that a slot is never held by a pod that could not start.
            self._node.slots.claim(pod.metadata.uid, specs.order(pod))
        door = starting.door(self._place, intent)
        relative = None if door is None else str(Path(door).relative_to(self._place.path.parent))  # the data directory can be moved
        await self._protect(pod, local_port, relative)
        await anyio.to_thread.run_sync(starting.promise, self._place, intent, contents)
        return intent.run

    def _refuse_while_ending(self) -> None:
        if self._node.shutdown_grace_s is not None:
            raise refusals.Refused(refusals.STOPPING, "the server is shutting down; its next start goes on")

    async def _follow(self, group: anyio.abc.TaskGroup, pod: specs.Pod, facts: directory.Facts, stage: lifecycle.Stage) -> float | None:
        """Handle a pod whose shim lives."""
        if facts.intent is None or facts.record is None:
            return SHIM_SPEAKS_S
        main = facts.record.containers.get(pod.main.name)
        self._watch(group, facts.intent, facts.record, main)
        ending = self._node.shutdown_grace_s is not None
        if ending:
            await self._stop(facts.record, directory.SHUTDOWN, pod.spec.termination_grace_period_seconds)
        await self._show(pod, facts, stage, ready=self._monitor.ready and not ending, said="" if ending else self._monitor.said)
        return None if main else lifecycle.init_look_s(facts.record, self._node.time.now())

    def _watch(
        self, group: anyio.abc.TaskGroup, intent: directory.Intent, record: directory.Record, main: directory.Outcome | None
    ) -> None:
        if intent.port is not None:
            self._node.ports[self._place.uid] = intent.port
        if intent.uid is not None:
            self._node.users[self._place.uid] = intent.uid
        self._monitor.start(group, intent.run, record, intent.probe, up=main is not None and not main.finished_at)

    async def _stop(self, record: directory.Record, cause: str, grace_s: float) -> None:
        limit_s = self._node.shutdown_grace_s
        grace_s = grace_s if limit_s is None else min(grace_s, limit_s)
        await anyio.to_thread.run_sync(stopping.ask, self._place, record, cause, grace_s)

    async def _settle(self) -> float:
        killed = await anyio.to_thread.run_sync(stopping.settle, self._place)
        log.warning("the supervisor of a pod was lost", pod=self._place.uid, processes_ended=killed)
        return 0.0

    async def _end(self, group: anyio.abc.TaskGroup, pod: specs.Pod, facts: directory.Facts) -> float | None:
        """Handle a pod that is being deleted: stop it, record how it ended, remove our finalizer."""
        if not await self._ensure_stopped(group, facts, pod.spec.termination_grace_period_seconds):
            return SHIM_SPEAKS_S if facts.record is None else None
        if not pod.ended:
            # Also for a pod that never ran: other finalizers can keep it until its end is recorded.
            fresh = await anyio.to_thread.run_sync(self._place.facts)
            await self._show(pod, fresh, lifecycle.final_stage(pod, fresh))
        self._node.release(pod.metadata.uid)
        if specs.FINALIZER in pod.metadata.finalizers:
            rest = [each for each in pod.metadata.finalizers if each != specs.FINALIZER]
            await self._patch_metadata(pod, {"finalizers": rest})
        return None

    async def _clear(self, group: anyio.abc.TaskGroup, facts: directory.Facts) -> float | None:
        """Handle a pod that is gone: remove everything of it."""
        if not await self._ensure_stopped(group, facts, specs.DEFAULT_GRACE_S):
            return SHIM_SPEAKS_S if facts.record is None else None
        self._node.forget(self._place.uid)
        self._over = await anyio.to_thread.run_sync(self._place.remove)
        return 0.0

    async def _ensure_stopped(self, group: anyio.abc.TaskGroup, facts: directory.Facts, grace_s: float) -> bool:
        """Returns whether nothing of the pod runs or can still start; if not, starts to stop it."""
        if facts.held:
            if facts.intent is not None and facts.record is not None:
                self._watch(group, facts.intent, facts.record, None)
                await self._stop(facts.record, directory.DELETED, grace_s)
            return False
        if facts.intent is not None and not (facts.record and facts.record.finished):
            await anyio.to_thread.run_sync(stopping.settle, self._place)
        return True

    async def _rest(self, group: anyio.abc.TaskGroup, facts: directory.Facts) -> float | None:
        """Handle a pod whose outcome is in the cluster: only its logs are kept, until it is deleted."""
        if not await self._ensure_stopped(group, facts, 0.0):
            return SHIM_SPEAKS_S if facts.record is None else None
        self._node.forget(self._place.uid)
        if facts.intent is not None and not self._tidy:
            await anyio.to_thread.run_sync(self._place.tidy)
            self._tidy = True
        return None

    async def _show(
        self,
        pod: specs.Pod,
        facts: directory.Facts,
        stage: lifecycle.Stage,
        *,
        ready: bool = False,
        said: str = "",
        refusal: refusals.Refused | None = None,
    ) -> None:
        """Update the pod's status in the cluster; nothing is written if it is up to date."""
        observed = statuses.Observed(facts, stage, clock.iso(self._node.time.now()), ready, refusal, said)
        patch = statuses.patch(pod, observed)
        if patch is not None:
            await self._patch_status(pod.metadata.name, pod.metadata.uid, patch)

    async def _fail_unread(self, obj: port.Object, refused: refusals.Refused) -> None:
        """Fail a pod whose object cannot be parsed, since it can never run."""
        self._node.release(self._place.uid)
        patch = statuses.invalid(self._shown or obj.get("status") or {}, refused.message, clock.iso(self._node.time.now()))
        if patch is not None:
            await self._patch_status(obj["metadata"]["name"], self._place.uid, patch)

    async def _patch_status(self, name: str, uid: str, patch: port.Object) -> None:
        await self._patch(name, {"metadata": {"uid": uid}, "status": patch}, status=True)

    async def _protect(self, pod: specs.Pod, local_port: int | None, door: str | None) -> None:
        """Before anything is started: set our finalizer, and annotate the port on which the pod listens, and its door."""
        changes: port.Object = {}
        if specs.FINALIZER not in pod.metadata.finalizers:
            changes["finalizers"] = [*pod.metadata.finalizers, specs.FINALIZER]
        wanted = {specs.LOCAL_PORT: None if local_port is None else str(local_port), specs.LOCAL_SOCKET: door}
        annotations = {name: value for name, value in wanted.items() if pod.metadata.annotations.get(name) != value}
        if annotations:
            changes["annotations"] = annotations
        if changes:
            await self._patch_metadata(pod, changes)

    async def _patch_metadata(self, pod: specs.Pod, changes: port.Object) -> None:
        known = {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version}
        await self._patch(pod.metadata.name, {"metadata": {**known, **changes}})

    async def _patch(self, name: str, body: port.Object, *, status: bool = False) -> None:
        """Patch the pod. The result is newer than the object known before, but not necessarily newer than one from the watch meanwhile."""
        before = self._object
        written = await self._node.cluster.patch(port.POD, name, body, status=status)
        self._shown = written.get("status")
        if before is not None and self._object is before:
            self._object = written

    async def _refresh(self) -> None:
        before = self._object
        found = await self._node.cluster.get(port.POD, before["metadata"]["name"]) if before else None
        self._shown, self._stale = None, False
        if self._object is before:
            self._object = found if found and found["metadata"]["uid"] == self._place.uid else None
