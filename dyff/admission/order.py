"""Who comes first."""

from __future__ import annotations

from collections.abc import Iterable

from dyff.admission.snapshot import Waiting


def in_turn(waiting: Iterable[Waiting]) -> list[Waiting]:
    """The oldest first; of those created at the same moment the smaller ID.

    What has been admitted comes before all of them: it is in `Snapshot.reserved`, and nothing takes it away.
    """
    return sorted(waiting, key=lambda entity: (entity.created, entity.id))
