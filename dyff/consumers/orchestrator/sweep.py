"""The sweep: removes what is stored of entities that were deleted long ago, then has them forgotten.

Level-triggered: each look starts from what is there. The data go first and the command follows, so a crash in between is
healed by the next look, which finds nothing to remove and gives the same command. What a workflow that has not ended uses
stays until it has; nothing new can begin to use it, since what is deleted is refused as a reference and as a dependency.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

import anyio
import structlog

from dyff.bus import envelope
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import commands, registry, statuses
from dyff.kernel import clock, errors, ids, settings
from dyff.objects import layout, port

log = structlog.get_logger()

PRINCIPAL = "dyff.orchestrator"
AT_ONCE = 100
"""So many are removed before they are forgotten together."""
_TREES_AT_ONCE = 4


def due(deleted: Iterable[Mirrored], live: Iterable[Mirrored], busy: Collection[str], now: datetime, kept: timedelta) -> list[Mirrored]:
    """Those that were deleted at least `kept` ago and that nothing uses, the oldest first.

    `live`: all entities whose status is not terminal, whole. `busy`: IDs of which a custom resource or a running pod is
    still there, which may yet write. An entity whose kind or time of deletion is not known stays.
    """
    old = [
        (since, each) for each in deleted if (since := _since(each)) is not None and now - since >= kept and each.entity["id"] not in busy
    ]
    if not old:
        return []
    in_use = {each for mirrored in live for each in registry.used(mirrored.entity)}
    return [each for _, each in sorted(old, key=lambda pair: pair[0]) if each.entity["id"] not in in_use]


def forget(mirrored: Mirrored, now: datetime) -> commands.Command:
    """The command that forgets an entity if its deletion is still the one that this was decided on; always with the same ID."""
    entity, decided_on = mirrored.entity, mirrored.status_source.text()
    return commands.edit(
        ids.derived("forget", entity["id"], decided_on),
        commands.FORGET,
        entity["kind"],
        entity["id"],
        {},
        time=now,
        expires=now + outcomes.VALID,
        decided_on=decided_on,
        principal=PRINCIPAL,
    )


class Sweep:
    """Looks, and acts, for as long as `run` runs."""

    def __init__(
        self,
        mirror: StateMirror,
        objects: port.Objects,
        append: outcomes.Append,
        busy: Callable[[], Collection[str]],
        time: clock.Clock,
        rules: settings.Retention,
    ) -> None:
        """`append`: puts messages on the events topic. `busy`: see `due`."""
        self._mirror, self._objects, self._append, self._busy, self._clock = mirror, objects, append, busy, time
        self._rules = rules

    async def run(self) -> None:
        """Sweep until cancelled.

        Raises:
            Whatever `append` does, if it is not `RetryLater`.
        """
        while True:
            try:
                await self.once()
            except errors.RetryLater as error:
                log.warning("sweep-failed", **errors.details(error))
            await anyio.sleep(self._rules.sweep_s)

    async def once(self) -> int:
        """One look, and all that follows from it; returns how many were forgotten.

        Raises:
            Whatever `append` does; what was forgotten is.
        """
        if self._rules.deleted_days is None:
            return 0
        kept = timedelta(days=self._rules.deleted_days)
        found = due(self._mirror.deleted(), self._mirror.live(), self._busy(), self._clock.now(), kept)
        return sum([await self._forget(found[start : start + AT_ONCE]) for start in range(0, len(found), AT_ONCE)])

    async def _forget(self, found: Sequence[Mirrored]) -> int:
        """Returns when it is folded."""
        cleared = await self._clear(found)
        if not cleared:
            return 0
        now = self._clock.now()
        positions = await self._append([envelope.command_message(forget(each, now)) for each in cleared])
        await self._mirror.wait_events(outcomes.ends(positions))
        left = [each.entity["id"] for each in cleared if self._mirror.get(each.entity["id"]) is not None]
        if left:
            log.error("command-without-effect", command=commands.FORGET, entity_ids=left)
        return len(cleared) - len(left)

    async def _clear(self, found: Sequence[Mirrored]) -> list[Mirrored]:
        """Remove the data of each; returns those of which all is gone. One that fails waits for the next look."""
        cleared: list[Mirrored] = []
        limiter = anyio.CapacityLimiter(_TREES_AT_ONCE)

        async def clear(mirrored: Mirrored) -> None:
            kind, entity_id = mirrored.entity["kind"], mirrored.entity["id"]
            async with limiter:
                if self._mirror.get(entity_id) is not mirrored:
                    return  # it has changed meanwhile: look again
                try:
                    for prefix in layout.trees(registry.BY_KIND[kind].collections, entity_id):
                        await self._objects.delete_tree(prefix)
                except errors.RetryLater as error:
                    log.warning("data-not-removed", kind=kind, entity_id=entity_id, **errors.details(error))
                    return
            log.info("data-removed", kind=kind, entity_id=entity_id, deleted=mirrored.entity["lastTransitionTime"])
            cleared.append(mirrored)

        async with anyio.create_task_group() as group:
            for each in found:
                group.start_soon(clear, each)
        return cleared


def _since(mirrored: Mirrored) -> datetime | None:
    """When it was deleted; None: that is not known, or it is nothing that can be removed."""
    entity = mirrored.entity
    if entity.get("status") != statuses.DELETED or entity.get("kind") not in registry.BY_KIND or not ids.is_id(entity.get("id")):
        return None
    try:
        return clock.parse_iso(entity["lastTransitionTime"])
    except (KeyError, TypeError, ValueError):
        return None
