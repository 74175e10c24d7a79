"""The two sides that a view can be on, a set of collections each, and the document with the positions, which says on which it is.

What the store and a rebuild share; see `rebuilding` for the change of sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dyff.entities import kinds
from dyff.kernel import errors, mongo
from dyff.query import port
from dyff.query.mongo import stored

NAME = "the query store"

VALID_S = 2.0
"""A reader that looked for the present side longer ago, when it has read, looks again: the other side may be gone."""

REACHED = {"_id": "reached"}
"""The document with the positions. Besides them it has `generation`, which a reset raises; `side`: of the view, where it is not 0; `also`:
the side that will be it, or `old`: that was it, while sinks write there too; `turn`: raised whenever one of these changes; `rebuild`: whose
it is, and whether that lives.
"""


def present(view: Mapping[str, Any] | None) -> int:
    """The side that a view is on."""
    return int(view.get("side", 0)) if view else 0


def position_fields(reached: port.Reached) -> dict[str, int]:
    """Positions by their paths in the document that has them."""
    logs = {"state": reached.state, "events": reached.events}
    return {f"{log}.{partition}": after for log, positions in logs.items() for partition, after in positions.items()}


def by_collection(documents: Sequence[port.Document]) -> dict[str, list[port.Document]]:
    """The documents of each collection, in order."""
    batches: dict[str, list[port.Document]] = {}
    for each in documents:
        batches.setdefault(each.collection, []).append(each)
    return batches


async def write(documents: mongo.Collection, batch: Sequence[port.Document], generation: int) -> int:
    """Write the newest version of each entity, where it is newer than what is stored; returns how many versions were."""
    newest: dict[str, port.Document] = {}
    rising: dict[str, list[int]] = {}
    for each in batch:
        versions = rising.setdefault(each.id, [])
        if not versions or each.version > versions[-1]:
            versions.append(each.version)
            newest[each.id] = each
    known = await _versions(documents, [name for name, versions in rising.items() if len(versions) > 1], generation)
    replacements = [(stored.older(each.id, each.version, generation), stored.document(each, generation)) for each in newest.values()]
    refused = await repeatable(documents.replace(replacements))
    written = [name for number, name in enumerate(newest) if number not in refused]
    return sum(version > known.get(name, -1) for name in written for version in rising[name])


async def _versions(documents: mongo.Collection, ids: Sequence[str], generation: int) -> dict[str, int]:
    """What is stored of these, by ID."""
    if not ids:
        return {}
    found = await documents.find({"_id": {"$in": list(ids)}}, {"at": 1})
    return {each["_id"]: stored.version(each["at"]) for each in found if each["at"] >= stored.place(0, generation)}


async def ensure(database: mongo.Database, side: int) -> None:
    """Make the indexes of a side that are not there."""
    for row in kinds.TABLE:
        await repeatable(database.collection(stored.collection(row.plural, side)).ensure(stored.indexes(row)))


async def repeatable(call: Any) -> Any:
    """What is right to do again says so: every write here is guarded by a version, a generation or a maximum."""
    try:
        return await call
    except errors.OutcomeUnknown as error:
        raise errors.Unavailable(error.message) from error
