"""The two sides of a view, one set of collections each, and the document with the positions, which names the active side.

Shared by the store and a rebuild; see `rebuilding` for the change of sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dyff.entities import registry
from dyff.kernel import errors, mongo
from dyff.query import port
from dyff.query.mongo import stored

NAME = "the query store"

VALID_S = 2.0
"""If a reader checked the active side longer ago than this when its read ends, it checks again: the other side may be gone."""

REACHED = {"_id": "reached"}
"""The document with the positions. Its other fields are `generation`, which a reset raises; `side`: the active side, if it is not 0;
`also`: the next active side, or `old`: the previous one, while sinks write there too; `turn`: raised whenever one of these changes;
`rebuild`: the owner of the current rebuild, and its heartbeat.
"""


def present(view: Mapping[str, Any] | None) -> int:
    """The active side of a view."""
    return int(view.get("side", 0)) if view else 0


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


async def write(documents: mongo.Collection, batch: Sequence[port.Document], generation: int) -> int:
    """Write the newest version of each entity if it is newer than the stored one; returns how many versions were newer."""
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
