"""The sweep: removes the stored data of entities that were deleted long ago, then makes the log forget them.

Of what was run, the entity stays (`dyff.entities.kind.Kind.stays`): then the log only records that nothing is stored of it any more.

It is level-triggered: each pass starts from the present state. The data is removed before the command is published, so after a
crash in between, the next pass finds nothing to remove and publishes the same command. Entities in use by a workflow that has not
ended stay until it has. Nothing new can begin to use them, since deleted entities are refused as references and dependencies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

import anyio
import structlog

from dyff.bus import envelope, expiry
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import codecs, commands, registry, statuses, storage
from dyff.kernel import clock, degradation, errors, ids, settings
from dyff.kernel.telemetry import log_fields
from dyff.objects import layout, port

log = structlog.get_logger()

PRINCIPAL = "dyff.orchestrator"
AT_ONCE = 100
"""Number of entities whose data is removed before they are forgotten together."""
_TREES_AT_ONCE = 4


def due(deleted: Iterable[Mirrored], live: Iterable[Mirrored], busy: Collection[str], now: datetime, kept: timedelta) -> list[Mirrored]:
    """The entities that were deleted at least `kept` ago and are not in use, the oldest first.

    `live`: all entities whose status is not terminal, with all fields. `busy`: IDs of entities with a custom resource or a
    running pod, which could still write. An entity whose kind or time of deletion is not known stays.
    """
    old = [
        (since, each) for each in deleted if (since := _since(each)) is not None and now - since >= kept and each.entity["id"] not in busy
    ]
    if not old:
        return []
    in_use = {each for mirrored in live for each in registry.used(mirrored.entity)}
    return [each for _, each in sorted(old, key=lambda pair: pair[0]) if each.entity["id"] not in in_use]


def forget(mirrored: Mirrored, now: datetime, expires: datetime) -> commands.Command:
    """The command that ends an entity, valid only for the deletion on which it was decided. Its ID is always the same."""
    entity, decided_on = mirrored.entity, mirrored.status_source.text()
    name = _name(entity)
    stays = name == commands.RECORD_STORAGE
    return commands.edit(
        ids.derived("removed" if stays else "forget", entity["id"], decided_on),
        name,
        entity["kind"],
        entity["id"],
        {storage.STORED: 0} if stays else {},
        time=now,
        expires=expires,
        decided_on=decided_on,
        principal=PRINCIPAL,
    )


def _name(entity: codecs.Json) -> str:
    """The command for an entity. Until `dyff migrate post`, that for kinds that stay has no effect."""
    return commands.RECORD_STORAGE if registry.BY_KIND[entity["kind"]].stays else commands.FORGET


class Sweep:
    """Runs the sweep periodically."""

    def __init__(
        self,
        mirror: StateMirror,
        objects: port.Objects,
        append: outcomes.Append,
        log_offset: outcomes.LogOffset,
        busy: Callable[[], Collection[str]],
        time: clock.Clock,
        rules: settings.Retention,
        troubles: degradation.Troubles | None = None,
    ) -> None:
        """`append`: appends messages to the events topic. `busy`: see `due`. `troubles`: where a failed pass is reported."""
        self._mirror, self._objects, self._busy, self._clock = mirror, objects, busy, time
        self._append, self._log_offset = append, log_offset
        self._rules, self._troubles = rules, troubles or degradation.Troubles(time)
        self._refused: dict[str, str] = {}

    async def run(self) -> None:
        """Sweep until cancelled. A store that refuses deletes is reported and asked again, and harms nothing else.

        Raises:
            Fenced, OutcomeUnknown: of `append`; the role has to be started again.
            LogDiverged, NewerSchema: see `degradation.keep_doing`.
        """
        await degradation.keep_doing(
            self.once, name="sweep", every_s=self._rules.sweep_s, troubles=self._troubles, raised=(errors.Fenced, errors.OutcomeUnknown)
        )

    async def once(self) -> int:
        """Run one pass; returns the number of entities that were forgotten, or of which only the entity stays.

        Raises:
            Unavailable: the data of some entities cannot be removed; all others are forgotten.
            Any exception of `append`; entities forgotten before stay forgotten.
        """
        if self._rules.deleted_days is None:
            return 0
        kept = timedelta(days=self._rules.deleted_days)
        found = due(self._mirror.deleted(), self._mirror.live(), self._busy(), self._clock.now(), kept)
        self._refused.clear()
        forgotten = sum([await self._forget(found[start : start + AT_ONCE]) for start in range(0, len(found), AT_ONCE)])
        if self._refused:
            entity_id, reason = next(iter(self._refused.items()))
            raise errors.Unavailable(
                f"the data of {len(self._refused)} deleted entities cannot be removed, such as of {entity_id}: {reason}"
            )
        return forgotten

    async def _forget(self, found: Sequence[Mirrored]) -> int:
        """Remove the data of these entities and forget them. Returns their number when the commands are folded."""
        cleared = await self._clear(found)
        if not cleared:
            return 0
        now = self._clock.now()
        expires = expiry.after(now, self._log_offset())
        positions = await self._append([envelope.command_message(forget(each, now, expires)) for each in cleared])
        await self._mirror.wait_events(outcomes.ends(positions))
        deleted = {each.entity["id"] for each in self._mirror.deleted()}
        left = [each for each in cleared if each.entity["id"] in deleted]
        for each in left:
            name = _name(each.entity)
            with log_fields.during(each.about):
                # The first version of the fold does not know the one: then the next pass tries again, until `dyff migrate post`.
                (log.error if name == commands.FORGET else log.debug)("command-without-effect", command=name)
        return len(cleared) - len(left)

    async def _clear(self, found: Sequence[Mirrored]) -> list[Mirrored]:
        """Remove the data of each; returns those whose data is completely gone. A failed one waits for the next pass."""
        cleared: list[Mirrored] = []
        limiter = anyio.CapacityLimiter(_TREES_AT_ONCE)

        async def clear(mirrored: Mirrored) -> None:
            kind, entity_id = mirrored.entity["kind"], mirrored.entity["id"]
            log_fields.begin(mirrored.about)
            async with limiter:
                now = self._mirror.get(entity_id)
                if now is None or now.status_source != mirrored.status_source:
                    return  # it has changed meanwhile: the next pass decides again
                try:
                    row = registry.BY_KIND[kind]
                    for prefix in (*layout.trees(row.collections, entity_id), layout.staging(row.plural, entity_id)):
                        await self._objects.delete_tree(prefix)
                except (errors.DyffError, OSError) as error:
                    log.warning("data-not-removed", kind=kind, **errors.details(error))
                    self._refused[entity_id] = errors.details(error)["reason"]
                    return
            log.info("data-removed", kind=kind, deleted=mirrored.entity["lastTransitionTime"])
            cleared.append(mirrored)

        async with anyio.create_task_group() as group:
            for each in found:
                group.start_soon(clear, each)
        return cleared


def _since(mirrored: Mirrored) -> datetime | None:
    """When it was deleted; None if that is not known, or if it cannot be removed."""
    entity = mirrored.entity
    if entity.get("status") != statuses.DELETED or entity.get("kind") not in registry.BY_KIND or not ids.is_id(entity.get("id")):
        return None
    try:
        return clock.parse_iso(entity["lastTransitionTime"])
    except (KeyError, TypeError, ValueError):
        return None
