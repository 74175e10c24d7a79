"""The two sides of a view, one set of collections each, and the document with the positions, which names the active side.

Shared by the store and a rebuild; see `rebuilding` for the change of sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dyff.entities import registry
from dyff.kernel import errors, mongo, mongo_batches
from dyff.query import port
from dyff.query.mongo import stored

NAME = "the query store"

VALID_S = 2.0
"""If a reader checked the active side longer ago than this when its read ends, it checks again: the other side may be gone."""

REACHED = {"_id": "reached"}
"""The document with the positions. Its other fields are `generation`, which a reset raises; `side`: the active side, if it is not 0;
`also`: the next active side, or `old`: the previous one, while sinks write there too; `turn`: raised whenever one of these changes;
`rebuild`: the owner of the current rebuild, and its heartbeat; `again`: by partition, from where a sink that starts reads again.
"""


def present(view: Mapping[str, Any] | None) -> int:
    """The active side of a view."""
    return int(view.get("side", 0)) if view else 0


def reached_of(view: Mapping[str, Any] | None) -> port.Reached:
    """The positions in the document with the positions; those of an empty view if there is none."""
    if view is None:
        return port.Reached()
    names = ("state", "events", "again")
    state, events, again = ({int(partition): at for partition, at in (view.get(name) or {}).items()} for name in names)
    return port.Reached(view["epoch"], state, events, again)


def position_fields(reached: port.Reached) -> dict[str, int]:
    """Positions by their paths in the document with the positions."""
    logs = {"state": reached.state, "events": reached.events}
    return {f"{log}.{partition}": after for log, positions in logs.items() for partition, after in positions.items()}


def by_collection(documents: Sequence[port.Document]) -> dict[str, list[port.Document]]:
    """The documents by collection, in order."""
    batches: dict[str, list[port.Document]] = {}
    for each in documents:
        batches.setdefault(each.collection, []).append(each)
    return batches


class Rejected(msgspec.Struct, frozen=True):
    """A document that MongoDB cannot store as it is, and why. A stand-in is stored in its place."""

    document: port.Document
    reason: str


async def write(
    documents: mongo.Collection, batch: Sequence[port.Document], generation: int, *, again: bool = False
) -> tuple[int, list[Rejected]]:
    """Write the newest version of each entity if it is newer than the stored one; returns how many versions were newer, and what was
    rejected. `again`: a whole document also replaces the stand-in of the same version.

    Raises:
        Unavailable: nothing can be written now, or a stand-in is rejected, too.
    """
    newest: dict[str, port.Document] = {}
    rising: dict[str, list[int]] = {}
    for each in batch:
        versions = rising.setdefault(each.id, [])
        if not versions or each.version > versions[-1]:
            versions.append(each.version)
            newest[each.id] = each
    known = await _versions(documents, [name for name, versions in rising.items() if len(versions) > 1], generation)
    whole = list(newest.values())
    ended = await _replace(documents, [(each, stored.document(each, generation)) for each in whole], generation)
    why = dict(ended.rejected)
    if again:
        why |= await _complete(documents, {number: whole[number] for number in sorted(ended.newer)}, generation)
    rejected = [Rejected(whole[number], reason) for number, reason in sorted(why.items())]
    older = {whole[number].id for number in ended.newer} | await _stand_in(documents, rejected, generation)
    written = [name for name in newest if name not in older]
    return sum(version > known.get(name, -1) for name in written for version in rising[name]), rejected


async def _replace(
    documents: mongo.Collection, given: Sequence[tuple[port.Document, mongo.Json]], generation: int
) -> mongo_batches.Replaced:
    replacements = [(stored.older(each.id, each.version, generation), there) for each, there in given]
    ended: mongo_batches.Replaced = await repeatable(documents.replace(replacements)) if replacements else mongo_batches.Replaced()
    return ended


async def _complete(documents: mongo.Collection, given: Mapping[int, port.Document], generation: int) -> dict[int, str]:
    """Replace stand-ins by the whole documents of the same versions. Returns which are rejected again, and why."""
    numbers = [number for number, each in given.items() if each.body is not None]
    same = [
        (stored.same_partial(given[each].id, given[each].version, generation), stored.document(given[each], generation)) for each in numbers
    ]
    ended = await repeatable(documents.replace(same)) if same else mongo_batches.Replaced()
    return {numbers[number]: reason for number, reason in ended.rejected.items()}


async def _stand_in(documents: mongo.Collection, rejected: Sequence[Rejected], generation: int) -> set[str]:
    """Store stand-ins; returns the IDs of the entities that have this version, or a newer one, already."""
    parts = [port.stand_in(each.document, each.reason) for each in rejected]
    ended = await _replace(documents, [(each, {**stored.document(each, generation), stored.PARTIAL: True}) for each in parts], generation)
    for number, reason in ended.rejected.items():
        raise errors.Blocked(f"{NAME}: even a part of {parts[number].collection}/{parts[number].id} cannot be stored: {reason}")
    return {parts[number].id for number in ended.newer}


async def _versions(documents: mongo.Collection, ids: Sequence[str], generation: int) -> dict[str, int]:
    """The stored versions of these entities, by ID."""
    if not ids:
        return {}
    found = await documents.find({"_id": {"$in": list(ids)}}, {"at": 1})
    return {each["_id"]: stored.version(each["at"]) for each in found if each["at"] >= stored.place(0, generation)}


async def ensure(database: mongo.Database, side: int) -> None:
    """Create the missing indexes of a side."""
    for row in registry.ROWS:
        await repeatable(database.collection(stored.collection(row.plural, side)).ensure(stored.indexes(row)))


async def repeatable(call: Any) -> Any:
    """Turn an unknown outcome into `Unavailable`: every write here is guarded by a version, a generation or a maximum, so it can
    be retried.
    """
    try:
        return await call
    except errors.OutcomeUnknown as error:
        raise errors.Unavailable(error.message) from error
