"""The client's group for use cases."""

from __future__ import annotations

from dyff.sdk import groups, models, requests
from dyff.sdk.calls import S


class UseCases(groups.Creatable[S, models.UseCase, requests.ConcernCreateRequest]):
    """Use cases."""


GROUP = UseCases
