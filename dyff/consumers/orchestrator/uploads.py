"""Finds finalized uploads, has them sealed, and records the end; removes staged files that nobody needs.

It is level-triggered, like the orchestrator's other work: which uploads are finalized is in the folded state, so a new leader
continues where the previous one was killed.
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import anyio.abc
import structlog

from dyff.consumers.common import outcomes, reconciling
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.consumers.orchestrator import finishing, sealing
from dyff.entities import registry, statuses
from dyff.kernel import backoff, degradation, errors
from dyff.kernel.telemetry import log_fields
from dyff.objects import layout, port

log = structlog.get_logger()

AT_ONCE = 8
"""Number of uploads that are sealed at the same time."""

_FAULTS = (errors.RetryLater, errors.OutcomeUnknown, errors.FixRequest, errors.Conflict, errors.Fatal)
"""What the store can raise. None of it ends the orchestrator: the upload is tried again, with growing delays."""


_SAID_CHARS = 500
"""Of a fault of the store, in the status of an entity that waits for its end."""


class Uploads:
    """Seals uploads while it runs."""

    def __init__(
        self,
        mirror: StateMirror,
        objects: port.Objects,
        publisher: outcomes.Publisher,
        trigger: reconciling.Trigger,
        troubles: degradation.Troubles,
        *,
        sweep_s: float,
    ) -> None:
        """`trigger`: set whenever the mirror has changed. `troubles`: where a failed sweep is reported. `sweep_s`: interval at which
        staged files are looked through.
        """
        self._mirror, self._objects, self._publisher = mirror, objects, publisher
        self._trigger, self._troubles, self._sweep_s = trigger, troubles, sweep_s
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._large = anyio.CapacityLimiter(sealing.LARGE_AT_ONCE)

    async def run(self) -> None:
        """Seal and sweep until cancelled.

        Raises:
            Any exception of the publisher except `RetryLater`.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._sweep_forever)
            await finishing.forever(self._mirror, self._trigger, self._finalized, self._finish)

    async def sweep(self) -> int:
        """Remove the staged files of all entities that do not wait for them; returns the number of these entities."""
        staged = {key[:2] async for info in self._objects.list(layout.UPLOADS) if (key := layout.staged(info.key)) is not None}
        await self._mirror.wait_current()  # after the listing: whatever is in it belongs to an entity that is mirrored now, or is gone
        removed = 0
        for plural, entity_id in sorted(staged):
            if self._is_over(entity_id):
                await self._objects.delete_tree(layout.staging(plural, entity_id))
                known = self._mirror.get(entity_id)
                with log_fields.during(known.about if known else log_fields.About(entity=entity_id)):
                    log.info("staged-files-removed", plural=plural)
                removed += 1
        return removed

    def _finalized(self) -> Iterator[Mirrored]:
        return (each for each in self._mirror.live() if _is_finalized(each))

    def _pending(self, entity_id: str) -> Mirrored | None:
        """The entity, if its files must be sealed now."""
        mirrored = self._mirror.get(entity_id)
        return mirrored if mirrored is not None and _is_finalized(mirrored) else None

    async def _finish(self, entity_id: str) -> None:
        """Try to seal the files of one entity and record the end, until it has an end; then remove its staged files."""
        pauses, plural = backoff.delays(), ""
        while (mirrored := self._pending(entity_id)) is not None:
            plural = registry.BY_KIND[mirrored.entity["kind"]].plural
            try:
                async with self._limiter:
                    change = await self._attempt(mirrored)
                if change is not None:
                    await self._publisher.publish([change])
            except errors.RetryLater as error:
                log.warning("upload-not-recorded", **errors.details(error))
            if self._pending(entity_id) is not None:
                await anyio.sleep(next(pauses))
        if plural and self._is_over(entity_id):
            await self._clear(plural, entity_id)

    async def _attempt(self, mirrored: Mirrored) -> outcomes.Change | None:
        """Seal once. Returns the change that records how it ended, or why it cannot end yet; None if there is nothing to record."""
        entity = mirrored.entity
        row = registry.BY_KIND[entity["kind"]]
        try:
            await sealing.seal(self._objects, row, entity, lambda: self._pending(entity["id"]) is not None, self._large)
        except sealing.NotWanted:
            return None
        except sealing.NotAsDeclared as error:
            message = f"{error} Create a new {row.name} and upload its files again."
            return outcomes.change(mirrored, row.failure, statuses.UPLOAD_FAILED, message)
        except _FAULTS as error:
            log.warning("upload-not-sealed", kind=row.name, **errors.details(error))
            return _delayed(mirrored, error)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            message = f"The files of the entity cannot be found: {type(error).__name__}: {error}. Create it again."
            return outcomes.change(mirrored, row.failure, statuses.SCHEMA_ERROR, message)
        return outcomes.change(mirrored, row.success)

    def _is_over(self, entity_id: str) -> bool:
        mirrored = self._mirror.get(entity_id)
        return mirrored is None or mirrored.ended

    async def _clear(self, plural: str, entity_id: str) -> None:
        """Remove the staged files. If it fails, the sweep does it later."""
        try:
            await self._objects.delete_tree(layout.staging(plural, entity_id))
        except _FAULTS as error:
            log.warning("staged-files-not-removed", **errors.details(error))

    async def _sweep_forever(self) -> None:
        await degradation.keep_doing(
            self.sweep, name="sweep of staged files", every_s=self._sweep_s, troubles=self._troubles, raised=(errors.Fenced,)
        )


def _delayed(mirrored: Mirrored, error: errors.DyffError) -> outcomes.Change | None:
    """Say to the owner why the files are not sealed yet; None if that is said already, or if it is this program's trouble."""
    message = f"The files cannot be sealed yet, and it is tried again: {error.message}"[:_SAID_CHARS]
    if not isinstance(error, errors.Unavailable) or mirrored.entity.get("message") == message:
        return None
    return outcomes.change(mirrored, statuses.WAITING_FOR_UPLOAD, statuses.FINALIZING, message)


def _is_finalized(mirrored: Mirrored) -> bool:
    entity = mirrored.entity
    return (
        entity.get("status") == statuses.WAITING_FOR_UPLOAD
        and entity.get("reason") == statuses.FINALIZING
        and entity.get("kind") in registry.BY_KIND
    )
