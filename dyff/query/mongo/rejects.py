"""The documents that MongoDB rejected. They are tried again while this process runs, and read again from the log at the next start."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import anyio
import msgspec
import structlog

from dyff.kernel import backoff, degradation, errors
from dyff.query import port
from dyff.query.mongo import sides

log = structlog.get_logger()

TROUBLE = "documents that MongoDB rejects"
MAX_KEPT = 1000
MAX_KEPT_BYTES = 64 * 2**20
"""How many rejected documents are kept in memory to be tried again, and their bytes. Those beyond are read again at the next start."""
FIRST_S, CEILING_S = 1.0, 60.0
"""Delays between the attempts: the first, and the longest."""

_Key = tuple[str, str]
Apply = Callable[[Sequence[port.Document], port.Reached], Awaitable[object]]


class _Kept(msgspec.Struct, frozen=True):
    document: port.Document
    reason: str
    partitions: frozenset[int]
    generation: int


class Rejects:
    """The rejected documents of the partitions that this process writes."""

    def __init__(self, troubles: degradation.Troubles) -> None:
        """`troubles`: where they are reported until each is stored."""
        self._troubles = troubles
        self._kept: dict[_Key, _Kept] = {}
        self._beyond: dict[_Key, frozenset[int]] = {}
        self._came = anyio.Event()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._kept or self._beyond)

    def has(self, partition: int) -> bool:
        """Whether there is any of that partition."""
        return any(partition in each.partitions for each in self._kept.values()) or any(partition in each for each in self._beyond.values())

    def took(
        self, written: Iterable[port.Document], rejected: Sequence[sides.Rejected], partitions: Collection[int], generation: int
    ) -> None:
        """Note how a batch ended. `partitions`: those that moved. `generation`: of the view."""
        if not self and not rejected:
            return
        for each in written:
            key = each.collection, each.id
            known = self._kept.get(key)
            if known is None or known.document.version <= each.version:
                before = known.partitions if known else self._beyond.get(key, frozenset())
                self._kept.pop(key, None)
                self._beyond.pop(key, None)
                again = next((one for one in rejected if (one.document.collection, one.document.id) == key), None)
                if again is not None:
                    self._keep(_Kept(again.document, again.reason, before | frozenset(partitions), generation))
        self._report()

    def _keep(self, kept: _Kept) -> None:
        key = kept.document.collection, kept.document.id
        size = sum(len(each.document.body or b"") for each in (*self._kept.values(), kept))
        if len(self._kept) < MAX_KEPT and size <= MAX_KEPT_BYTES:
            self._kept[key] = kept
        else:
            self._beyond[key] = kept.partitions
        log.warning("document-rejected", collection=key[0], entity_id=key[1], version=kept.document.version, reason=kept.reason)
        came, self._came = self._came, anyio.Event()
        came.set()

    def _report(self) -> None:
        if not self:
            self._troubles.clear(TROUBLE)
            return
        (collection, entity_id), reason = next(
            ((key, each.reason) for key, each in self._kept.items()), (next(iter(self._beyond), ("", "")), "see the log")
        )
        count = len(self._kept) + len(self._beyond)
        which = f"{collection}/{entity_id}" if count == 1 else f"{count} entities, such as {collection}/{entity_id}"
        self._troubles.report(TROUBLE, f"only a part of {which} is in the view, and it is tried again: {reason}")

    async def try_again(self, apply: Apply, generation: Callable[[], Awaitable[int]]) -> NoReturn:
        """Apply them again with growing delays, until cancelled. `generation`: of the view at present; those of older ones are dropped."""
        while True:
            delays = backoff.delays(FIRST_S, ceiling_s=CEILING_S, jitter=random.Random())
            while self._kept:
                await anyio.sleep(next(delays))
                try:
                    now = await generation()
                    self._drop_older(now)
                    for each in list(self._kept.values()):
                        await apply([each.document], port.Reached())
                except errors.DyffError as error:
                    log.warning("documents-not-tried", **errors.details(error))
            await self._came.wait()

    def _drop_older(self, generation: int) -> None:
        for key in [key for key, each in self._kept.items() if each.generation != generation]:
            del self._kept[key]
        self._report()


def again_fields(view: Mapping[str, Any], reached: port.Reached, rejected: bool, rejects: Rejects) -> dict[str, dict[str, Any]]:
    """The update of the document with the positions that says from where a sink that starts reads again, in MongoDB's notation."""
    if rejected:
        return {"$min": {f"again.{each}": view["state"].get(str(each), 0) for each in reached.state}} if reached.state else {}
    known, state = view.get("again") or {}, view["state"]
    over = [each for each, end in reached.state.items() if str(each) in known and end >= state.get(str(each), 0) and not rejects.has(each)]
    return {"$unset": {f"again.{each}": "" for each in over}} if over else {}
