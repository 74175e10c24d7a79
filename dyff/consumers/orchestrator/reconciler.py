"""One pass of the orchestrator: observe, plan, apply."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import anyio
import anyio.to_thread
import msgspec
import structlog

from dyff.admission import cycle, outcome, snapshot
from dyff.cluster import port, watching
from dyff.consumers.common import custom_resources, outcomes
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.consumers.orchestrator import admission_spans, candidates, counting, holding, questions, rules, runs
from dyff.entities import registry, statuses
from dyff.kernel import backoff, errors
from dyff.kernel.clock import Clock
from dyff.kernel.telemetry import log_fields, metrics, span_names, trace_context, traces

log = structlog.get_logger()

_ACTIONS_AT_ONCE = 16
_IN_THREAD = 500
"""With more waiting entities, the decision runs in a thread, since it would block the event loop for too long."""
_REPORTED_AT_ONCE = 500
"""Maximum number of "has to wait" changes per pass, so they do not delay entities that can run. The next pass publishes more."""
_MESSAGE_CHARS = 1000
_FIRST_DELAY_S = 0.1
_CEILING_S = 30.0
"""Delays between the attempts at an action that fails: the first, and the longest."""
_SILENT_S = 10.0
"""A creation that the cluster cannot answer is reported by its entity after this long."""

_Key = tuple[str, str]


class Reconciler:
    """Runs the passes of the orchestrator."""

    def __init__(
        self,
        mirror: StateMirror,
        known: custom_resources.CustomResources,
        pods: watching.Cache,
        cluster: port.Cluster,
        publisher: outcomes.Publisher,
        clock: Clock,
        given: rules.Rules,
        step: Callable[[], None] = lambda: None,
        tracer: traces.Tracer = traces.SILENT,
        counted: counting.Counted | None = None,
    ) -> None:
        """`pods`: grouped by `holding.ID_LABEL`. The mirror and the caches must be running. `step`: called whenever something was done.
        `tracer`: records the spans of admission and of creations. `counted`: the metrics; None if they are of no interest.
        """
        self._tracer, self._waits = tracer, admission_spans.Waits(tracer)
        self._counted = counted or counting.Counted(metrics.Metrics())
        self._mirror, self._known, self._pods, self._cluster = mirror, known, pods, cluster
        self._publisher, self._clock, self._rules, self._step = publisher, clock, given, step
        self._candidates = candidates.Candidates()
        self._asked = questions.Questions(self._about_run)
        self._held = holding.Held(cluster, self._asked)
        self._failing: backoff.Keyed[_Key] = backoff.Keyed(_FIRST_DELAY_S, ceiling_s=_CEILING_S, jitter=random.Random())

    async def once(self) -> int:
        """Run one pass. Returns the number of live entities. An action that fails holds up no other: it is done again in a later pass.

        Raises:
            RetryLater: the log or the cluster does not answer; actions that are done stay done.
            Fenced, OutcomeUnknown: see `dyff.bus.port.Owner.append`.
        """
        self._asked.begin()
        with self._counted.passes.timed():
            waiting = await self._admit()
            self._step()
            await self._carry_out()
            self._step()
            await self._publisher.publish(waiting[:_REPORTED_AT_ONCE])
        live = list(self._mirror.live())
        self._counted.follow(live)
        return len(live)

    def next_s(self) -> float | None:
        """Seconds until an action or a question that failed is due again; None if there is none."""
        return min((each for each in (self._failing.next_s(), self._asked.next_s()) if each is not None), default=None)

    def busy(self) -> set[str]:
        """IDs of entities with a custom resource or a pod that can be running, and of those of which that is not known."""
        made = {entity_id for _, entity_id, _ in self._known.of_entities()}
        return made | set(self._held) | {each for each in self._pods.groups() if self._is_active(each)}

    async def _admit(self) -> list[outcomes.Change]:
        """Publish the changes that admit or end entities. Returns the other changes: those that say why an entity has to wait."""
        live = list(self._mirror.live())
        await self._observe(live)  # afterwards it is known what is held
        with self._counted.cycles.timed():
            changes = await self._admission(live)
        self._waits.decided(changes, self._mirror)
        await self._publisher.publish([each for each in changes if each.status != statuses.CREATED])
        return [each for each in changes if each.status == statuses.CREATED]

    async def _carry_out(self) -> None:
        """Do the next action of each run, if it is due."""
        observed = await self._with_suspensions(await self._observe(self._mirror.live()))
        planned = [action for run in observed if (action := runs.plan(run, self._clock.now(), self._rules.retention))]
        await self._publisher.publish([each for each in planned if isinstance(each, outcomes.Change)])
        actions = {_key(each): each for each in planned if not isinstance(each, outcomes.Change)}
        for key in set(self._failing.failing) - actions.keys():
            self._failing.over(key)
        results = await self._act([each for key, each in actions.items() if not self._failing.left_s(key)])
        await self._publisher.publish([each for each in results if each is not None])

    async def _observe(self, live: Iterable[Mirrored]) -> list[runs.Run]:
        """All runs: one for each entity with a reservation, one for each custom resource, and those that hold quota without one."""
        observed = {entity_id: self._run(kind, entity_id, resource) for kind, entity_id, resource in self._known.of_entities()}
        for run in [each for each in observed.values() if runs.still_runs(each)]:
            # Read again: the informer can have seen the end before us, and a run that has ended is kept for the retention time.
            self._held.add(run.kind, run.id)
            with suppress(questions.NotKnown):
                observed[run.id] = msgspec.structs.replace(run, resource=await self._sought(run.kind, run.id))
        for mirrored in live:
            entity_id, status = mirrored.entity.get("id", ""), mirrored.entity.get("status")
            kind = registry.resource_kind(mirrored.entity.get("kind", ""))
            if status in runs.RESERVED and kind is not None and entity_id not in observed:
                with suppress(questions.NotKnown):
                    resource = await self._sought(kind, entity_id) if status == statuses.ADMITTED else None
                    observed[entity_id] = self._run(kind, entity_id, resource)
        return list((await self._with_held(observed)).values())

    async def _sought(self, kind: str, entity_id: str) -> port.Object | None:
        return await self._asked.ask(entity_id, lambda: holding.sought(self._cluster, kind, entity_id))

    async def _with_held(self, observed: dict[str, runs.Run]) -> dict[str, runs.Run]:
        """The runs, with what the cluster itself has of those that ended and that only a late watch can make look as if they were over."""
        counted = {run.id: run.kind for run in observed.values() if _is_live(run) or runs.holds_quota(run)}
        for each in map(self._mirror.get, filter(self._is_active, self._pods.groups())):
            if each is not None and (kind := registry.resource_kind(each.entity.get("kind", ""))) is not None:
                counted[each.entity["id"]] = kind
        for run in observed.values():
            if run.resource is not None:
                self._held.appeared(run.id)
        for entity_id, kind in counted.items():
            self._held.add(kind, entity_id)
        found = await self._held.look_up(counted)
        looked_up = {each: self._run(kind, each, answer.resource, active=answer.active) for each, (kind, answer) in found.items()}
        return {**observed, **looked_up}

    def _run(self, kind: str, entity_id: str, resource: port.Object | None, *, active: bool = False) -> runs.Run:
        """`active`: whether the cluster itself has an active pod; the cache is consulted in any case."""
        mirrored = self._mirror.get(entity_id)
        is_same_kind = mirrored is not None and registry.resource_kind(mirrored.entity.get("kind", "")) == kind
        return runs.Run(kind, entity_id, mirrored if is_same_kind else None, resource, active or self._is_active(entity_id))

    def _about_run(self, entity_id: str) -> log_fields.About:
        mirrored = self._mirror.get(entity_id)
        return log_fields.About(entity=entity_id) if mirrored is None else mirrored.about

    def _is_active(self, entity_id: str) -> bool:
        return any(map(holding.may_run, self._pods.group(entity_id)))

    async def _admission(self, live: Iterable[Mirrored]) -> list[outcomes.Change]:
        """The changes that result from admission."""
        waiting, unreadable = self._candidates.read(live)
        entities = tuple(entity for _, entity in waiting.values())
        taken = snapshot.Snapshot(
            waiting=entities,
            dependencies=await self._dependencies(entities),
            reserved=candidates.reserved(using := self._using(live)),
            limits=self._rules.limits,
            suspended=await self._suspended({each.account for each in entities if each.runs}),
        )
        decided = await anyio.to_thread.run_sync(cycle.decide, taken) if len(entities) > _IN_THREAD else cycle.decide(taken)
        self._counted.decided(decided, live, using)
        news = [(waiting[said.id][0], said) for said in decided if outcome.is_news(waiting[said.id][1], said)]
        return [*unreadable, *(outcomes.change(mirrored, said.status, said.reason, said.message) for mirrored, said in news)]

    async def _dependencies(self, waiting: Sequence[snapshot.Waiting]) -> dict[str, snapshot.Dependency]:
        """The state of all dependencies. One that is unknown even after the mirror has caught up with the log does not exist."""
        known, unknown = candidates.dependencies(waiting, self._mirror)
        if unknown:
            await self._mirror.wait_current()
            known, unknown = candidates.dependencies(waiting, self._mirror)
        return {**known, **{each: snapshot.Dependency(None, None) for each in unknown}}

    def _using(self, live: Iterable[Mirrored]) -> list[Mirrored]:
        """All entities that use quota: those with a reservation, and ended ones whose pods can still run or start."""
        using = {each.entity["id"]: each for each in live if each.entity.get("status") in runs.RESERVED}
        for each in map(self._mirror.get, set(self._held) - using.keys()):
            if each is not None and each.ended:
                using[each.entity["id"]] = each
        return list(using.values())

    async def _suspended(self, accounts: Iterable[str]) -> frozenset[str]:
        """Those of `accounts` that are suspended."""
        if self._rules.suspended is None:
            return frozenset()
        return frozenset([account for account in sorted(accounts) if await self._rules.suspended(account)])

    async def _with_suspensions(self, observed: Sequence[runs.Run]) -> list[runs.Run]:
        """The runs with `suspended` set: accounts can have been suspended after admission, especially while no orchestrator ran."""
        suspended = await self._suspended({_account(run) for run in observed if run.is_to_start})
        return [msgspec.structs.replace(run, suspended=_account(run) in suspended) if run.is_to_start else run for run in observed]

    async def _act(self, actions: Sequence[runs.Create | runs.Delete | runs.Release]) -> list[outcomes.Change | None]:
        """One result for each action that succeeded: a change to publish, or None."""
        results: list[outcomes.Change | None] = []
        limiter = anyio.CapacityLimiter(_ACTIONS_AT_ONCE)

        async def act(action: runs.Create | runs.Delete | runs.Release) -> None:
            log_fields.begin(self._about(action))
            async with limiter:
                try:
                    results.append(await self._do(action))
                    self._failing.over(_key(action))
                except (errors.RetryLater, errors.FixRequest, errors.OutcomeUnknown, errors.Conflict) as error:
                    results.append(self._failed(action, error))
                self._step()

        async with anyio.create_task_group() as group:
            for action in actions:
                group.start_soon(act, action)
        return results

    def _failed(self, action: runs.Create | runs.Delete | runs.Release, error: errors.DyffError) -> outcomes.Change | None:
        """Note that an action failed. Returns what its entity has to say about it, if anything."""
        key = _key(action)
        self._counted.failed(action, error)
        wait_s = self._failing.failed(key, error.retry_after_s if isinstance(error, errors.RetryLater) else None)
        log.warning(
            "action-failed",
            action=type(action).__name__,
            kind=action.kind,
            name=key[1],
            retry_in_s=round(wait_s, 1),
            **errors.details(error),
        )
        if not isinstance(action, runs.Create):
            return None
        if not isinstance(error, errors.Refused | errors.Blocked | errors.FixRequest | errors.Conflict):
            self._held.unanswered(action.kind, action.done.id)
            if self._failing.failing_s(key) < _SILENT_S:
                return None
        passing = not isinstance(error, errors.Refused) or error.passing
        patience_s = self._rules.passing_patience_s if passing else self._rules.refusal_patience_s
        lasts = isinstance(error, errors.Refused | errors.Blocked | errors.FixRequest) and self._failing.failing_s(key) >= patience_s
        message = f"The cluster refuses the custom resource: {error.message}"[:_MESSAGE_CHARS]
        if lasts:
            self._failing.over(key)
            return msgspec.structs.replace(action.refused, message=message)
        mirrored = self._mirror.get(action.done.id)
        if mirrored is None or mirrored.entity.get("message") == message:
            return None
        return msgspec.structs.replace(action.waits, message=message)

    async def _do(self, action: runs.Create | runs.Delete | runs.Release) -> outcomes.Change | None:
        kind = custom_resources.KINDS[action.kind]
        match action:
            case runs.Create():
                return await self._create(kind, action)
            case runs.Delete():
                log.info("resource-deleted", kind=action.kind, name=action.name)
                try:
                    await self._cluster.delete(kind, action.name, uid=action.uid)
                except errors.StaleVersion:
                    log.info("resource-replaced", kind=action.kind, name=action.name)
            case runs.Release():
                await self._release(kind, action)
        return None

    def _about(self, action: runs.Create | runs.Delete | runs.Release) -> log_fields.About:
        entity_id = action.done.id if isinstance(action, runs.Create) else action.id
        mirrored = self._mirror.get(entity_id)
        return log_fields.About(entity=entity_id) if mirrored is None else mirrored.about

    async def _create(self, kind: port.Kind, action: runs.Create) -> outcomes.Change:
        began_ns = time.time_ns()
        try:
            await self._cluster.create(kind, action.resource)
            self._record_creation(action, began_ns, None)
        except errors.AlreadyExists:
            log.info("resource-found", kind=action.kind, name=action.resource["metadata"]["name"])
        except (errors.InvalidFields, errors.TooLarge) as error:
            self._record_creation(action, began_ns, error)
            message = f"The cluster refuses the custom resource: {error.message}"
            return msgspec.structs.replace(action.refused, message=message[:_MESSAGE_CHARS])
        return action.done

    def _record_creation(self, action: runs.Create, began_ns: int, error: Exception | None) -> None:
        life = trace_context.of_object(action.resource)
        if life is None or not self._tracer.wants(life):
            return
        attributes = {
            span_names.ENTITY: action.done.id,
            span_names.KIND: action.done.kind,
            span_names.ACCOUNT: action.done.account,
            span_names.RESOURCE_NAME: f"{action.kind}/{action.resource['metadata']['name']}",
        }
        failed = None if error is None else str(error)
        self._tracer.record(span_names.RESOURCE, self._tracer.child(life), life, began_ns, attributes=attributes, error=failed)

    async def _release(self, kind: port.Kind, action: runs.Release) -> None:
        """Remove our finalizer unless pods can run. The cluster itself is asked, since nothing checks again once the resource is gone."""
        if await holding.active(self._cluster, action.id):
            return
        patch = {"metadata": {"resourceVersion": action.resource_version, "finalizers": list(action.finalizers)}}
        try:
            await self._cluster.patch(kind, action.name, patch)
        except (errors.StaleVersion, errors.NotFound):
            return  # it has changed, or is gone: the next pass decides again


def _key(action: runs.Create | runs.Delete | runs.Release) -> _Key:
    return type(action).__name__, action.resource["metadata"]["name"] if isinstance(action, runs.Create) else action.name


def _account(run: runs.Run) -> str:
    return str(run.mirrored.entity.get("account", "")) if run.mirrored else ""


def _is_live(run: runs.Run) -> bool:
    """Whether its entity has not ended, so that it has a reservation or waits for one."""
    return run.mirrored is not None and not run.mirrored.ended
