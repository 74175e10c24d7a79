"""The mirror's entities as admission sees them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from dyff.admission import snapshot
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.consumers.orchestrator import runs
from dyff.entities import registry, statuses

Waiting = dict[str, tuple[Mirrored, snapshot.Waiting]]
"""What waits, by ID: as folded, and as admission sees it."""


class Candidates:
    """Remembers how it read an entity as long as that does not change, since most of thousands that wait never do."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Mirrored, snapshot.Waiting | outcomes.Change | None]] = {}

    def read(self, live: Iterable[Mirrored]) -> tuple[Waiting, list[outcomes.Change]]:
        """What waits for admission, and the end of what cannot be read."""
        before, self._read = self._read, {}
        waiting: Waiting = {}
        unreadable: list[outcomes.Change] = []
        for mirrored in live:
            if mirrored.entity.get("status") != statuses.CREATED:
                continue
            entity_id = mirrored.entity["id"]
            known = before.get(entity_id)
            _, found = self._read[entity_id] = known if known and known[0] is mirrored else (mirrored, _read(mirrored))
            if isinstance(found, snapshot.Waiting):
                waiting[entity_id] = mirrored, found
            elif found is not None:
                unreadable.append(found)
        return waiting, unreadable


def dependencies(waiting: Iterable[snapshot.Waiting], mirror: StateMirror) -> tuple[dict[str, snapshot.Dependency], set[str]]:
    """What is known of all that they depend on, and the IDs of which nothing is known."""
    known: dict[str, snapshot.Dependency] = {}
    unknown: set[str] = set()
    for each in {dependency for entity in waiting for dependency in entity.dependencies}:
        mirrored = mirror.get(each)
        if mirrored is None:
            unknown.add(each)
        else:
            known[each] = snapshot.Dependency(mirrored.entity.get("kind"), mirrored.entity.get("status"))
    return known, unknown


def reserved(using: Iterable[Mirrored]) -> dict[str, snapshot.Amounts]:
    """What entities use, by account."""
    sums: dict[str, dict[str, Decimal]] = {}
    for mirrored in using:
        account = sums.setdefault(mirrored.entity["account"], {})
        for resource, amount in snapshot.amounts(mirrored.cost).items():
            account[resource] = account.get(resource, Decimal(0)) + amount
    return dict(sums)


def _read(mirrored: Mirrored) -> snapshot.Waiting | outcomes.Change | None:
    """None: not for admission to decide, as what waits for an upload, or a kind that a newer release brought."""
    row = registry.BY_KIND.get(mirrored.entity.get("kind", ""))
    try:
        if row is None or row.first(mirrored.entity) != statuses.CREATED:
            return None
        return snapshot.waiting(mirrored.entity)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return runs.unreadable(mirrored, error)
