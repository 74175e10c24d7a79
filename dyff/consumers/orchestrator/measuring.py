"""Records in the log how much the object store holds of each entity, which counts in its account's usage (ADR 21).

It is level-triggered: the mirror has the entities of which it is not recorded yet, so a new leader continues where the previous one was
killed. What was recorded for an upload in progress is corrected every minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import anyio
import structlog

from dyff.bus import envelope, expiry
from dyff.consumers.common import outcomes, reconciling
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import commands, registry, statuses, storage
from dyff.kernel import clock, degradation, errors, ids
from dyff.kernel.telemetry import log_fields
from dyff.objects import layout, port

log = structlog.get_logger()

PRINCIPAL = "dyff.orchestrator"
BATCH = 100
"""Entities that are measured before it is recorded."""

STAGED_EVERY_S = 60.0
"""Interval at which uploads in progress are measured."""

_SETTLED = timedelta(minutes=1)
"""How long after its deletion or termination an entity is measured: its pods may still write until they have ended."""

_WAIT_S = 600.0
"""How long to wait if the log does not take the records: it is folded by an older version until `dyff migrate post`."""

_TREES_AT_ONCE = 4


class Measuring:
    """Measures while it runs."""

    def __init__(
        self,
        mirror: StateMirror,
        objects: port.Objects,
        append: outcomes.Append,
        log_offset: outcomes.LogOffset,
        trigger: reconciling.Trigger,
        time: clock.Clock,
        troubles: degradation.Troubles,
    ) -> None:
        """`append`: appends messages to the events topic. `trigger`: set whenever the mirror has changed."""
        self._mirror, self._objects, self._append, self._log_offset = mirror, objects, append, log_offset
        self._trigger, self._clock, self._troubles = trigger, time, troubles

    async def run(self) -> None:
        """Measure until cancelled. A store that does not answer is reported and asked again.

        Raises:
            Fenced, OutcomeUnknown: of `append`; the role has to be started again.
        """
        raised = (errors.Fenced, errors.OutcomeUnknown)
        async with anyio.create_task_group() as group:
            group.start_soon(self._ended_forever, raised)
            await degradation.keep_doing(
                self.staged, name="measuring of uploads", every_s=STAGED_EVERY_S, troubles=self._troubles, raised=raised
            )

    async def ended(self) -> int:
        """Record what there is of entities that have ended; returns of how many it was recorded.

        Raises:
            Unavailable: some cannot be measured; of all others it is recorded.
        """
        recorded, failed = 0, 0
        due = self._due()
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            sizes = await self._sizes(batch)
            failed += len(batch) - len(sizes)
            found = [each for each in batch if each.entity["id"] in sizes]
            news = await self._record(storage.STORED, [(each, sizes[each.entity["id"]]) for each in found])
            recorded += news
            if found and not news:
                break  # see `_WAIT_S`
        if failed:
            raise errors.Unavailable(f"{failed} entities that have ended cannot be measured in the object store")
        return recorded

    async def staged(self) -> int:
        """Record what there is of uploads in progress, where that has changed; returns of how many it was recorded."""
        sizes: dict[str, int] = {}
        async for info in self._objects.list(layout.UPLOADS):
            if (key := layout.staged(info.key)) is not None:
                sizes[key[1]] = sizes.get(key[1], 0) + info.size_bytes
        found: list[tuple[Mirrored, int]] = []
        for each in self._mirror.live():
            size = min(sizes.get(each.entity["id"], 0), storage.MAX_OBJECT_BYTES)
            if each.entity.get("status") == statuses.WAITING_FOR_UPLOAD and size != (storage.staged(each.entity) or 0):
                found.append((each, size))
        batches = [found[start : start + BATCH] for start in range(0, len(found), BATCH)]
        return sum([await self._record(storage.STAGED, batch) for batch in batches])

    async def _ended_forever(self, raised: tuple[type[BaseException], ...]) -> None:
        async def once() -> None:
            await self._trigger.wait(STAGED_EVERY_S)
            if self._due() and await self.ended() == 0:
                await anyio.sleep(_WAIT_S)

        await degradation.keep_doing(
            once, name="measuring of stored data", every_s=reconciling.PAUSE_S, troubles=self._troubles, raised=raised
        )

    def _due(self) -> list[Mirrored]:
        """The entities to measure now."""
        now = self._clock.now()
        return [each for each in self._mirror.unmeasured() if _is_settled(each, now)]

    async def _sizes(self, batch: Sequence[Mirrored]) -> dict[str, int]:
        """Bytes by ID, of those that could be measured. Staged files do not count any more: they are removed soon."""
        sizes: dict[str, int] = {}
        limiter = anyio.CapacityLimiter(_TREES_AT_ONCE)

        async def measure(mirrored: Mirrored) -> None:
            entity_id, row = mirrored.entity["id"], registry.BY_KIND[mirrored.entity["kind"]]
            log_fields.begin(mirrored.about)
            async with limiter:
                try:
                    total = 0
                    for prefix in layout.trees(row.collections, entity_id):
                        async for info in self._objects.list(prefix):
                            total += info.size_bytes
                except (errors.DyffError, OSError) as error:
                    log.warning("not-measured", kind=row.name, **errors.details(error))
                    return
            sizes[entity_id] = min(total, storage.MAX_OBJECT_BYTES)

        async with anyio.create_task_group() as group:
            for each in batch:
                group.start_soon(measure, each)
        return sizes

    async def _record(self, name: str, measured: Sequence[tuple[Mirrored, int]]) -> int:
        """Record these sizes; returns how many entities have changed meanwhile, by this or otherwise."""
        if not measured:
            return 0
        now = self._clock.now()
        expires = expiry.after(now, self._log_offset())
        messages = [envelope.command_message(_command(name, mirrored, size, now, expires)) for mirrored, size in measured]
        await self._mirror.wait_events(outcomes.ends(await self._append(messages)))
        return sum(self._is_news(name, mirrored) for mirrored, _ in measured)

    def _is_news(self, name: str, before: Mirrored) -> bool:
        now = self._mirror.get(before.entity["id"])
        if now is None or now.status_source != before.status_source:
            return True
        return now.is_measured if name == storage.STORED else storage.staged(now.entity) != storage.staged(before.entity)


def _is_settled(mirrored: Mirrored, now: datetime) -> bool:
    entity = mirrored.entity
    if entity.get("status") not in (statuses.DELETED, statuses.TERMINATED):
        return True
    try:
        return now - clock.parse_iso(entity["lastTransitionTime"]) >= _SETTLED
    except (KeyError, TypeError, ValueError):
        return True


def _command(name: str, mirrored: Mirrored, size: int, now: datetime, expires: datetime) -> commands.Command:
    """The command that records a size, valid only for the status in which it was measured."""
    entity, decided_on = mirrored.entity, mirrored.status_source.text()
    return commands.edit(
        ids.derived("storage", entity["id"], decided_on, name, str(size)),
        commands.RECORD_STORAGE,
        entity["kind"],
        entity["id"],
        {name: size},
        time=now,
        expires=expires,
        decided_on=decided_on,
        principal=PRINCIPAL,
        trace=mirrored.life,
    )
