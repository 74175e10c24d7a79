"""Completes runs that compute results: puts what they have stored into their entities, and says `Complete` when that is folded.

It is level-triggered: the custom resource says that a run is complete, and the folded state that its entity is not. Both commands are
valid only for the status on which they were decided, and their IDs follow from it. So it can be repeated and can run twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import anyio.abc
import msgspec
import structlog

from dyff.bus import envelope, expiry
from dyff.cluster import conditions
from dyff.cluster import port as cluster_port
from dyff.consumers.common import custom_resources, outcomes, reconciling
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.consumers.orchestrator import finishing
from dyff.entities import codecs, commands, folding, kind, registry, statuses
from dyff.kernel import backoff, clock, errors, ids
from dyff.objects import layout, port

log = structlog.get_logger()

PRINCIPAL = "dyff.orchestrator"
AT_ONCE = 8
MAX_BYTES = 2 * 2**20
"""Limit of the stored results of one run, which is higher than what the steps of runs store."""


_FAULTS = (errors.RetryLater, errors.OutcomeUnknown, errors.FixRequest, errors.Conflict, errors.Fatal)
"""What the store can raise. None of it ends the orchestrator: it is tried again, with growing delays."""


class _Wrong(Exception):
    """What is stored cannot be put into the entity. The message is for its owner."""


class Results(msgspec.Struct, frozen=True):
    """What a run has stored."""

    scores: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    provenance: dict[str, Any] = {}


class Collecting:
    """Completes runs while it runs."""

    def __init__(
        self,
        mirror: StateMirror,
        resources: custom_resources.CustomResources,
        objects: port.Objects,
        publisher: outcomes.Publisher,
        append: outcomes.Append,
        log_offset: outcomes.LogOffset,
        trigger: reconciling.Trigger,
        time: clock.Clock,
    ) -> None:
        """`append`: appends messages to the events topic. `trigger`: set whenever the mirror or the custom resources have changed."""
        self._mirror, self._resources, self._objects = mirror, resources, objects
        self._publisher, self._append, self._log_offset = publisher, append, log_offset
        self._trigger, self._clock = trigger, time
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def run(self) -> None:
        """Complete runs until cancelled.

        Raises:
            Any exception of the publisher and of `append` except `RetryLater`.
        """
        await finishing.forever(self._mirror, self._trigger, self._due, self._finish)

    def _due(self) -> Iterator[Mirrored]:
        """The entities whose runs are complete in the cluster, but not in the log."""
        for name, entity_id, resource in self._resources.of_entities():
            mirrored = self._mirror.get(entity_id)
            if mirrored is not None and _is_due(mirrored, name, resource):
                yield mirrored

    async def _finish(self, entity_id: str) -> None:
        """Try to complete one entity until it has ended."""
        pauses = backoff.delays()
        while (mirrored := self._pending(entity_id)) is not None:
            try:
                async with self._limiter:
                    await self._attempt(mirrored)
            except errors.RetryLater as error:
                log.warning("results-not-recorded", **errors.details(error))
            if self._pending(entity_id) is not None:
                await anyio.sleep(next(pauses))

    def _pending(self, entity_id: str) -> Mirrored | None:
        """The entity, if it has not ended."""
        mirrored = self._mirror.get(entity_id)
        return mirrored if mirrored is not None and mirrored.entity.get("status") == statuses.ADMITTED else None

    async def _attempt(self, mirrored: Mirrored) -> None:
        row = registry.BY_KIND[mirrored.entity["kind"]]
        assert row.run is not None
        assert row.run.results is not None
        try:
            found = await self._read(row, mirrored.entity)
        except _Wrong as error:
            await self._publisher.publish([outcomes.change(mirrored, row.failure, statuses.SCHEMA_ERROR, str(error))])
            return
        except _FAULTS as error:
            log.warning("results-not-read", **errors.details(error))
            return
        message = envelope.command_message(self._command(mirrored, row.run.results, found))
        await self._mirror.wait_events(outcomes.ends(await self._append([message])))
        now = self._pending(mirrored.entity["id"])
        if now is None:
            return
        if all(name in now.entity for name in row.run.results.fields):
            await self._publisher.publish([outcomes.change(now, row.success)])
        else:  # it came too late, or the log is folded by an older version until `dyff migrate post`
            log.warning("results-not-folded", kind=row.name)

    async def _read(self, row: kind.Kind, entity: codecs.Json) -> Results:
        key = layout.results(layout.root(row.collection, entity["id"]))
        info = await self._objects.head(key)
        if info is None:
            raise _Wrong(f"The results of the run are missing in the object store ({key}). Create it again.")
        if info.size_bytes > MAX_BYTES or info.size_bytes + len(codecs.encode(entity)) > folding.MAX_ENTITY_BYTES:
            raise _Wrong(f"The results of the run have {info.size_bytes} bytes, which is too much. Report fewer points and shorter texts.")
        try:
            return msgspec.json.decode(await self._objects.get(key), type=Results)
        except msgspec.DecodeError as error:
            raise _Wrong(f"The results of the run cannot be read: {error}. Create it again.") from error

    def _command(self, mirrored: Mirrored, results: kind.Results, found: Results) -> commands.Command:
        entity, decided_on = mirrored.entity, mirrored.status_source.text()
        now = self._clock.now()
        attributes: codecs.Json = msgspec.to_builtins(found)
        return commands.edit(
            ids.derived("results", entity["id"], decided_on),
            results.command,
            entity["kind"],
            entity["id"],
            {name: attributes[name] for name in results.fields},
            time=now,
            expires=expiry.after(now, self._log_offset()),
            decided_on=decided_on,
            principal=PRINCIPAL,
            trace=mirrored.life,
        )


def _is_due(mirrored: Mirrored, name: str, resource: cluster_port.Object) -> bool:
    row = registry.BY_KIND.get(mirrored.entity.get("kind", ""))
    if row is None or row.run is None or row.run.results is None or row.run.resource.kind != name:
        return False
    if mirrored.entity.get("status") != statuses.ADMITTED:
        return False
    return conditions.is_true(resource, conditions.COMPLETE) and not conditions.is_true(resource, conditions.FAILED)
