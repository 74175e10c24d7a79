"""The query store on MongoDB. It writes single documents, so an apply becomes visible document by document, the positions last.

A reset of a view begins a new generation, in one step. Data that an older generation has, or still writes, never conflicts with
a newer one, and a sink that did not notice the reset cannot move the positions.

A view is on one of two sides, one set of collections each; the document with the positions names the active side. While the view
changes sides, sinks write to both, and a reader that checked that document recently is correct on either. See `rebuilding`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import msgspec

from dyff.entities import registry
from dyff.kernel import degradation, errors, mongo
from dyff.query import filters, port
from dyff.query.mongo import queries, reading, rebuilding, rejects, sides, stored

_NONE = {"$exists": False}
_LOOK_S = 0.025
"""Interval at which the positions are read while a caller waits for them."""
_SCANNED = 200
"""Documents per read."""
FRESH_S = 1.0
"""If a reader checked the active side longer ago than this, it checks again before it reads."""

T = TypeVar("T")


class MongoQuery:
    """The `QueryStore` on MongoDB; use `open`. Several processes can have it open."""

    def __init__(self, database: mongo.Database, troubles: degradation.Troubles | None = None) -> None:
        self._database, self._view = database, database.collection("view")
        self._rejects = rejects.Rejects(troubles or degradation.Troubles())
        self._seen = port.Reached()
        self._moved = anyio.Event()
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None
        self._side, self._generation, self._looked = 0, 0, float("-inf")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, connection: mongo.Connection, *, prepared: bool = False, troubles: degradation.Troubles | None = None
    ) -> AsyncIterator[MongoQuery]:
        """Open the store in a database and create missing indexes, unless `prepared`, which means that they exist.

        `troubles`: where documents that MongoDB rejects are reported; None if they are only logged.

        Raises:
            Unavailable: the database does not answer.
            Misconfigured: it refuses us.
        """
        async with mongo.Database.open(connection, sides.NAME) as database:
            if not prepared:
                await prepare(database)
            store = cls(database, troubles)
            trying = asyncio.create_task(store._rejects.try_again(store.apply, store._present_generation))
            try:
                yield store
            finally:
                with anyio.CancelScope(shield=True):
                    trying.cancel()
                    await asyncio.wait([trying])
                    await store._stop()

    async def get(self, collection: str, entity_id: str) -> bytes | None:
        where = {"_id": entity_id, **stored.LIVE}
        found = await self._on_present_side(lambda side: self._documents(collection, side).get(where, stored.BODY))
        return None if found is None else stored.body(found)

    async def is_forgotten(self, collection: str, entity_id: str) -> bool:
        where = {"_id": entity_id, "live": _NONE}
        return await self._on_present_side(lambda side: self._documents(collection, side).get(where, {"_id": 1})) is not None

    async def find(self, query: filters.Find) -> AsyncGenerator[list[bytes], None]:
        """It is not a snapshot, but a view that is reset or replaced meanwhile is noticed: until something was read, it begins again."""
        while True:
            if _now() - self._looked > FRESH_S:
                await self.reached()
            seen, count = (self._side, self._generation), 0
            async with aclosing(reading.batches(self._documents(query.collection, seen[0]), query)) as batches:
                async for batch in batches:
                    if not await self._is_still(seen):
                        break
                    count += 1
                    yield batch
                else:
                    if count > 1:
                        await self.reached()
                    if await self._is_still(seen):
                        return
            if count:
                raise errors.Unavailable(f"{sides.NAME} was rebuilt or reset meanwhile; try again")

    async def _is_still(self, seen: tuple[int, int]) -> bool:
        """Whether the view is on the side and of the generation that it was, or was less than `VALID_S` ago."""
        if (self._side, self._generation) == seen and _now() - self._looked > sides.VALID_S:
            await self.reached()
        return (self._side, self._generation) == seen

    async def count(self, query: filters.Find) -> int:
        pipeline = queries.counting(query)
        found = await self._on_present_side(lambda side: self._documents(query.collection, side).aggregate(pipeline))
        return int(found[0]["count"]) if found else 0

    async def usage(self, account: str) -> port.Usage:
        found = [await self._on_present_side(partial(self._usage, account, row.plural)) for row in registry.ROWS]
        return port.Usage(*(sum(column) for column in zip(*map(msgspec.structs.astuple, found), strict=True)))

    async def _usage(self, account: str, collection: str, side: int) -> port.Usage:
        return stored.used(await self._documents(collection, side).aggregate(stored.usage(account)))

    async def _on_present_side(self, read: Callable[[int], Awaitable[T]]) -> T:
        """The result of `read` on the side that is active, or was active less than `VALID_S` ago."""
        while True:
            if _now() - self._looked > FRESH_S:
                await self.reached()
            side = self._side
            found = await read(side)
            if self._side == side and _now() - self._looked > sides.VALID_S:
                await self.reached()
            if self._side == side:
                return found

    async def reached(self) -> port.Reached:
        return sides.reached_of(await self._look_at_view())

    async def _look_at_view(self) -> dict[str, Any] | None:
        """Read the document with the positions. Later reads use the side that it names."""
        started = _now()
        view = await self._view.get(sides.REACHED)
        if started > self._looked:
            self._side, self._generation, self._looked = sides.present(view), view["generation"] if view else 0, started
        return view

    async def wait(self, events: Mapping[int, int], timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        seen = await self.reached()
        while not _has_seen(seen, events):
            left = end - loop.time()
            if left <= 0:
                return False
            seen = await self._next_look(left)
        return True

    async def apply(self, documents: Sequence[port.Document], reached: port.Reached) -> int:
        batches = sides.by_collection(documents)
        while True:
            view = await self._begin(reached.epoch)
            news, rejected = 0, []
            for each in _written(view):
                written = [await self._write(name, batch, view, each) for name, batch in batches.items()]
                rejected += [one for _, several in written for one in several]
                news = sum(count for count, _ in written) if each == sides.present(view) else news
            self._rejects.took(documents, rejected, reached.state, view["generation"])
            if await self._advance(reached, view, rejected=bool(rejected)):
                return news

    async def _present_generation(self) -> int:
        await self._look_at_view()
        return self._generation

    async def reset(self) -> None:
        begun = {
            "$inc": {"generation": 1, "turn": 1},
            "$set": {"epoch": None, "state": {}, "events": {}, "clearing": True},
            "$unset": {"also": "", "old": "", "rebuild": "", "again": ""},
        }
        after = await sides.repeatable(self._view.changed(sides.REACHED, begun, upsert=True))
        await self._clear(after["generation"] if after else 0)
        self._announce(port.Reached())

    async def lost(self) -> None:
        await anyio.sleep_forever()  # MongoDB checks what it reads, and repairs a replica from the others

    async def scan(self) -> AsyncIterator[Sequence[port.Scanned]]:
        view = await self._look_at_view()
        generation = view["generation"] if view else 0
        for name in sorted(await self._database.names()):
            if not stored.is_collection(name, sides.present(view)):
                continue
            after = ""
            while True:
                where = {"_id": {"$gt": after}, "at": {"$gte": stored.place(0, generation)}}
                found = await self._database.collection(name).find(where, order=[("_id", 1)], limit=_SCANNED)
                now = await self._look_at_view()
                if (sides.present(now), now["generation"] if now else 0) != (sides.present(view), generation):
                    raise errors.Fenced(f"{sides.NAME} was rebuilt or reset meanwhile; begin again")
                if not found:
                    break
                after = found[-1]["_id"]
                yield [stored.scanned(name, each) for each in found]

    def rebuild(self) -> AbstractAsyncContextManager[port.Rebuild]:
        return rebuilding.begun(self._database)

    def _documents(self, collection: str, side: int) -> mongo.Collection:
        return self._database.collection(stored.collection(collection, side))

    async def _begin(self, epoch: str | None) -> dict[str, Any]:
        """The document with the positions, once the view belongs to this epoch and can be written."""
        while True:
            view = await self._view.get(sides.REACHED)
            if view is None:
                await sides.repeatable(self._view.insert({**sides.REACHED, "generation": 0, "epoch": epoch, "state": {}, "events": {}}))
            elif view.get("clearing"):
                await self._clear(view["generation"])
            elif epoch is None or view["epoch"] == epoch:
                return view
            elif view["epoch"] is None:
                same = {**sides.REACHED, "generation": view["generation"], "epoch": None}
                await sides.repeatable(self._view.update(same, {"$set": {"epoch": epoch}}))
            else:
                raise errors.LogDiverged(f"{sides.NAME} belongs to log epoch {view['epoch']}, not {epoch}; reset it first")

    async def _write(
        self, collection: str, batch: Sequence[port.Document], view: Mapping[str, Any], side: int
    ) -> tuple[int, list[sides.Rejected]]:
        again = bool(view.get("again") or self._rejects)
        return await sides.write(self._documents(collection, side), batch, view["generation"], again=again)

    async def _advance(self, reached: port.Reached, view: Mapping[str, Any], *, rejected: bool = False) -> bool:
        """Move the positions. False if the view began to change sides meanwhile, so that the documents must be written once more."""
        moved = sides.position_fields(reached)
        if not moved:
            return True
        same = {**sides.REACHED, "generation": view["generation"], "turn": view.get("turn", _NONE)}
        again = rejects.again_fields(view, reached, rejected, self._rejects)
        after = await sides.repeatable(self._view.changed(same, {"$max": moved, **again}))
        if after is not None:
            self._announce(sides.reached_of(after))
            return True
        now = await self._view.get(sides.REACHED)
        if now is not None and now["generation"] == view["generation"]:
            return False
        raise errors.Unavailable(f"{sides.NAME} was reset meanwhile by another sink; go on from its own positions")

    async def _clear(self, generation: int) -> None:
        """Remove the documents of older generations."""
        for name in filter(stored.is_collection, await self._database.names()):
            await sides.repeatable(self._database.collection(name).delete(stored.outdated(generation)))
        await sides.repeatable(self._view.update({**sides.REACHED, "generation": generation}, {"$unset": {"clearing": ""}}))

    async def _next_look(self, timeout_s: float) -> port.Reached:
        """The position of the view at the next read, or once this process has moved it. All waiting callers share the reads."""
        moved = self._moved
        self._waiting += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            with anyio.move_on_after(timeout_s):
                await moved.wait()
        finally:
            self._waiting -= 1
        return self._seen

    async def _look(self) -> None:
        """A separate task, so that callers can stop waiting at any time: cancelling a call costs its connection."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._waiting:
                return
            with suppress(errors.Unavailable):
                self._announce(await self.reached())

    async def _stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _announce(self, reached: port.Reached) -> None:
        self._seen = reached
        moved, self._moved = self._moved, anyio.Event()
        moved.set()


async def prepare(database: mongo.Database) -> None:
    """Create the missing indexes."""
    await sides.ensure(database, sides.present(await database.collection("view").get(sides.REACHED)))


def _written(view: Mapping[str, Any]) -> list[int]:
    """The sides that a sink writes to, in this order: readers move from one to an earlier one, and must find there what they saw."""
    around = ([view[name]] if name in view else [] for name in ("also", "old"))
    before, after = around
    return [*before, sides.present(view), *after]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _has_seen(reached: port.Reached, events: Mapping[int, int]) -> bool:
    return all(reached.events.get(partition, 0) >= end for partition, end in events.items())
