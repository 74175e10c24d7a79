"""Hazards: harm that systems can do, which methods refer to."""

from __future__ import annotations

from dyff.entities import concerns, kind


class Hazard(concerns.Concern, kw_only=True, frozen=True):
    """Harm that a system can do."""


KIND = kind.Kind(
    name="Hazard",
    plural="hazards",
    entity=Hazard,
    creation=kind.Creation(request=concerns.ConcernCreateRequest),
    documentation="entity",
)
