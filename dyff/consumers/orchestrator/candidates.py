"""Converts the mirror's entities to the input of admission."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from dyff.admission import snapshot
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.consumers.orchestrator import runs
from dyff.entities import registry, statuses

Waiting = dict[str, tuple[Mirrored, snapshot.Waiting]]
"""Waiting entities by ID: as folded, and as the input of admission."""


class Candidates:
    """Caches the conversion of an entity until it changes: of thousands of waiting entities, most stay the same between two passes."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Mirrored, snapshot.Waiting | outcomes.Change | None]] = {}

    def read(self, live: Iterable[Mirrored]) -> tuple[Waiting, list[outcomes.Change]]:
        """The entities that wait for admission, and changes that fail the unreadable ones."""
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
    """The state of all entities on which they depend, and the IDs of those that are not in the mirror."""
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
    """The quota that these entities use, by account."""
    sums: dict[str, dict[str, Decimal]] = {}
    for mirrored in using:
        account = sums.setdefault(mirrored.entity["account"], {})
        for resource, amount in snapshot.amounts(mirrored.cost).items():
            account[resource] = account.get(resource, Decimal(0)) + amount
    return dict(sums)


def _read(mirrored: Mirrored) -> snapshot.Waiting | outcomes.Change | None:
    """None if admission does not decide on it: it waits for an upload, or its kind belongs to a newer release."""
    row = registry.BY_KIND.get(mirrored.entity.get("kind", ""))
    try:
        if row is None or row.first(mirrored.entity) != statuses.CREATED:
            return None
        return snapshot.waiting(mirrored.entity)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return runs.unreadable(mirrored, error)
