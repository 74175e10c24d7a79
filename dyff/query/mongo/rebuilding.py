"""A rebuild on MongoDB: the new view is built on the other side, then the active view changes sides (cutover).

No reader may see an older view than before, in any process, although all of them cannot be notified at the same moment. So
the cutover has steps, each of which is one change of the document with the positions and raises the turn:

    active A                     the new view is built on B
    active A, sinks write to B and A: their positions only move if they have done so. A sink that was writing to A alone gets
                 time to do so again; B receives everything up to A's position at that time
    active B, sinks write to B and A: readers notice within `sides.VALID_S`; until then both sides are the same
    active B                     A is dropped

A process that dies leaves a rebuild without a heartbeat; the next rebuild takes over and starts from the beginning.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import anyio
import structlog

from dyff.kernel import errors, mongo
from dyff.query import port, tables
from dyff.query.mongo import sides, stored

log = structlog.get_logger()

_HEARTBEAT_S = 1.0
_DEAD_S = 8.0
"""A rebuild without a heartbeat for this long is dead. Longer than any reader keeps to a side."""

_NOTICE_S = 1.0
"""Time for the sinks to notice that they must write to both sides."""

_RETIRE_S = 2 * sides.VALID_S
"""How long both sides are kept after the change."""


class MongoRebuild:
    """See `dyff.query.port.Rebuild`; use `begun`."""

    def __init__(self, database: mongo.Database, view: dict[str, Any], owner: str) -> None:
        self._database, self._view = database, database.collection("view")
        self._mine = {**sides.REACHED, "generation": view["generation"], "rebuild.owner": owner}
        self._generation, self._present, self._next = view["generation"], sides.present(view), 1 - sides.present(view)
        self._reached = port.Reached()
        self._needed: dict[int, int] | None = None
        self.changing = False

    async def apply(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        after = tables.moved_on(self._reached, reached)
        await self.heartbeat()
        batches = sides.by_collection(documents)
        written = [await sides.write(self._documents(name), batch, self._generation, again=True) for name, batch in batches.items()]
        for each in (one for _, several in written for one in several):
            log.warning("document-rejected", collection=each.document.collection, entity_id=each.document.id, reason=each.reason)
        self._reached = after
        return sum(count for count, _ in written)

    async def promote(self, beyond: Mapping[int, int] = MappingProxyType({})) -> dict[int, int]:
        if self._needed is None:
            await self._change({"$set": {"also": self._next}})
            await anyio.sleep(_NOTICE_S)
            view = await self._view.get(self._mine)
            if view is None:
                raise self._fenced()
            self._needed = _positions(view) if view["epoch"] == self._reached.epoch else {}
        further = tables.without(self._needed, beyond)
        needed = {partition: end for partition, end in further.items() if self._reached.state.get(partition, 0) < end}
        if needed:
            return needed
        with anyio.CancelScope(shield=True):
            await self._switch(beyond)
        return {}

    async def _switch(self, beyond: Mapping[int, int]) -> None:
        self.changing = True
        view = await self._view.get(sides.REACHED) or {}
        places: dict[str, Any] = {"side": self._next, "old": self._present}
        no_more = {"$unset": {"also": ""}}
        if view.get("epoch") == self._reached.epoch:
            fields = sides.position_fields(self._reached)
            back = [f"{log_name}.{partition}" for partition in beyond for log_name in ("state", "events")]
            places |= {name: fields.pop(name) for name in back if name in fields}
            unset = no_more["$unset"] | {name: "" for name in back if name not in places}
            await self._change({"$set": places, "$unset": unset, **({"$max": fields} if fields else {})})
        else:
            positions = {"epoch": self._reached.epoch, "state": _keys(self._reached.state), "events": _keys(self._reached.events)}
            await self._change({"$set": {**places, **positions}, **no_more})
        await anyio.sleep(_RETIRE_S)
        await self._change({"$unset": {"old": "", "rebuild": ""}})
        await drop(self._database, self._present)

    async def heartbeat(self) -> None:
        """Report that the rebuild is alive.

        Raises:
            Fenced: this is no longer the current rebuild.
        """
        if not await sides.repeatable(self._view.update(self._mine, {"$inc": {"rebuild.beat": 1}})):
            raise self._fenced()

    async def forget(self) -> None:
        """Abandon the rebuild, and leave the active view as it is."""
        after = await sides.repeatable(self._view.changed(self._mine, {"$unset": {"also": "", "rebuild": ""}, "$inc": {"turn": 1}}))
        if after is not None:
            await drop(self._database, self._next)

    def _documents(self, collection: str) -> mongo.Collection:
        return self._database.collection(stored.collection(collection, self._next))

    async def _change(self, change: dict[str, Any]) -> dict[str, Any]:
        after: dict[str, Any] | None = await sides.repeatable(self._view.changed(self._mine, {**change, "$inc": {"turn": 1}}))
        if after is None:
            raise self._fenced()
        return after

    def _fenced(self) -> errors.Fenced:
        return errors.Fenced(f"{sides.NAME} was reset, or another rebuild has taken over; begin again")


@asynccontextmanager
async def begun(database: mongo.Database) -> AsyncIterator[MongoRebuild]:
    """Start a rebuild on the inactive side."""
    owner = uuid.uuid4().hex
    view = await _claimed(database.collection("view"), owner)
    rebuild = MongoRebuild(database, view, owner)
    heartbeats = asyncio.create_task(_heartbeats(rebuild))
    try:
        other = 1 - sides.present(view)
        await drop(database, other)
        await sides.ensure(database, other)
        yield rebuild
    finally:
        heartbeats.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([heartbeats])
            if not rebuild.changing:
                with suppress(errors.RetryLater):  # otherwise the next rebuild does it
                    await rebuild.forget()


async def drop(database: mongo.Database, side: int) -> None:
    """Drop the collections of a side."""
    for name in await database.names():
        if stored.is_collection(name, side):
            await sides.repeatable(database.collection(name).drop())


async def _claimed(views: mongo.Collection, owner: str) -> dict[str, Any]:
    """The document with the positions, after claiming it for our rebuild. An existing rebuild is observed first."""
    known: dict[str, Any] | None = None
    since = anyio.current_time()
    while True:
        view = await views.get(sides.REACHED)
        if view is None:
            await sides.repeatable(views.insert({**sides.REACHED, "generation": 0, "epoch": None, "state": {}, "events": {}}))
            continue
        other = view.get("rebuild")
        if other is not None and known is not None and other != known:
            raise errors.InUse(f"{sides.NAME} is being rebuilt by another process; wait for it")
        if other is None or anyio.current_time() - since > _DEAD_S:
            same = {**sides.REACHED, "generation": view["generation"], "rebuild": other or {"$exists": False}}
            change = {"$set": {"rebuild": {"owner": owner, "beat": 0}}, "$unset": {"also": "", "old": ""}, "$inc": {"turn": 1}}
            claimed: dict[str, Any] | None = await sides.repeatable(views.changed(same, change))
            if claimed is not None:
                return claimed
            known, since = None, anyio.current_time()
        else:
            known = other
        await anyio.sleep(_HEARTBEAT_S / 4)


async def _heartbeats(rebuild: MongoRebuild) -> None:
    """Send heartbeats until cancelled or fenced; the rebuild notices the fencing on its own."""
    while True:
        await asyncio.sleep(_HEARTBEAT_S)
        try:
            await rebuild.heartbeat()
        except errors.Fenced:
            return
        except errors.RetryLater:
            continue


def _positions(view: dict[str, Any]) -> dict[int, int]:
    return {int(partition): end for partition, end in view["state"].items()}


def _keys(positions: dict[int, int]) -> dict[str, int]:
    return {str(partition): end for partition, end in positions.items()}
