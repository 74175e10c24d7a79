"""Use cases: what systems are used for, which methods refer to."""

from __future__ import annotations

from dyff.entities import concerns, kind


class UseCase(concerns.Concern, kw_only=True, frozen=True):
    """What a system is used for."""


KIND = kind.Kind(
    name="UseCase",
    plural="usecases",
    entity=UseCase,
    creation=kind.Creation(request=concerns.ConcernCreateRequest),
    documentation="entity",
)
