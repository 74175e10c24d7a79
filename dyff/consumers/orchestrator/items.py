"""Counts the items of evaluations, from the progress objects that their clients write: those run in pods of their own.

What ran before this process began is not counted again. An evaluation is followed until it has ended, then read once more, so that nothing
of a short one is missed.
"""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import msgspec
import structlog

from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import codecs, registry, statuses
from dyff.kernel import degradation, errors
from dyff.kernel.telemetry import log_fields, metrics, names
from dyff.objects import layout, port

log = structlog.get_logger()

EVERY_S = 5.0
MAX_READS = 100
"""The most progress objects that are read at a time, every `EVERY_S` seconds. If more evaluations run, they take turns."""
MAX_FOLLOWED = 2000
"""The most evaluations that are followed. Further ones are not counted."""
LAST_READS = 3
"""So often an evaluation that has ended is read, if that fails."""

_AT_ONCE = 8
_TROUBLE = "progress of evaluations"


class Tally(msgspec.Struct):
    """What is known of one evaluation: items that were done and given up, of how many.

    `collection`: where its progress is. `counted`: whether what is read first counts.
    """

    collection: str
    counted: bool
    done: int = 0
    errors: int = 0
    total: int = 0
    reads_left: int = LAST_READS


class Items:
    """Follows the evaluations that run."""

    def __init__(self, mirror: StateMirror, objects: port.Objects, measured: metrics.Metrics, troubles: degradation.Troubles) -> None:
        """Follows nothing yet."""
        self._mirror, self._objects, self._metrics, self._troubles = mirror, objects, measured, troubles
        self._done, self._errors = measured.counter(names.ITEMS), measured.counter(names.ITEM_ERRORS)
        self._followed: dict[str, Tally] = {}
        self._is_first = True

    def follow(self, live: Iterable[Mirrored]) -> None:
        """Follow those of these entities that are evaluations that run. What runs at the first call is not counted from its beginning."""
        for entity in (each.entity for each in live):
            runs = entity.get("status") == statuses.ADMITTED and _is_of_items(entity)
            if runs and entity["id"] not in self._followed and len(self._followed) < MAX_FOLLOWED:
                collection = registry.BY_KIND[entity["kind"]].collection
                self._followed[entity["id"]] = Tally(collection, counted=not self._is_first)
        self._is_first = False

    async def run(self) -> None:
        """Read every few seconds, until cancelled; the metrics of all of them are shown meanwhile."""
        with self._metrics.reading("evaluations", self.read):
            await degradation.keep_doing(self.look, name=_TROUBLE, every_s=EVERY_S, troubles=self._troubles)

    async def look(self) -> None:
        """Read the progress of as many as may be read at once; those come first that were not read for longest."""
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        chosen = list(self._followed)[:MAX_READS]
        async with anyio.create_task_group() as group:
            for entity_id in chosen:
                group.start_soon(self._read, entity_id, limiter)
        for entity_id in chosen:
            if (tally := self._followed.pop(entity_id)).reads_left:
                self._followed[entity_id] = tally

    async def read(self) -> list[metrics.Sample]:
        """How many items are left to do."""
        left = sum(max(0, each.total - each.done - each.errors) for each in self._followed.values())
        return [metrics.Sample(names.ITEMS_LEFT, float(left))]

    async def _read(self, entity_id: str, limiter: anyio.CapacityLimiter) -> None:
        tally, known = self._followed[entity_id], self._mirror.get(entity_id)
        has_ended = known is None or known.ended  # looked up before the object is read, which is then the last one
        key = layout.progress(tally.collection, entity_id)
        try:
            async with limiter:
                self._note(tally, codecs.decode_object(await self._objects.get(key)))
        except errors.NotFound:
            tally.reads_left = 0 if has_ended else tally.reads_left
        except (errors.DyffError, ValueError) as error:
            tally.reads_left -= has_ended
            with log_fields.during(known.about if known else log_fields.About(entity=entity_id)):
                log.debug("progress-not-read", **errors.details(error))
        else:
            tally.reads_left = 0 if has_ended else tally.reads_left

    def _note(self, tally: Tally, written: codecs.Json) -> None:
        found = written.get("items")
        if not isinstance(found, dict):
            return  # of an older release
        done, given_up, total = (_count(found.get(name)) for name in ("done", "errors", "total"))
        if tally.counted:
            # A new attempt tries again what the last one gave up, so its number of errors begins again.
            self._done.add(by=max(0, done - tally.done))
            self._errors.add(by=max(0, given_up - tally.errors))
        tally.counted, tally.done, tally.errors, tally.total = True, done, given_up, total


def _is_of_items(entity: codecs.Json) -> bool:
    """Whether it is a run on items, some of which can be left without output."""
    row = registry.BY_KIND.get(entity.get("kind", ""))
    return row is not None and row.run is not None and row.download is not None and row.download.incomplete


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
