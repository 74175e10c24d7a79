"""The order in which waiting entities are admitted."""

from __future__ import annotations

from collections.abc import Iterable

from dyff.admission.snapshot import Waiting


def in_turn(waiting: Iterable[Waiting]) -> list[Waiting]:
    """The oldest first; entities that were created at the same moment are ordered by ID.

    Admitted entities come before all of them: their cost is in `Snapshot.reserved` and is never taken away.
    """
    return sorted(waiting, key=lambda entity: (entity.created, entity.id))
