"""The client's group for hazards."""

from __future__ import annotations

from dyff.sdk import groups, models, requests
from dyff.sdk.calls import S


class Hazards(groups.Creatable[S, models.Hazard, requests.ConcernCreateRequest]):
    """Hazards."""


GROUP = Hazards
