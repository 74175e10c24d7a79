"""The client's group for inference services."""

from __future__ import annotations

from dyff.sdk import groups, models, requests
from dyff.sdk.calls import S


class InferenceServices(groups.Creatable[S, models.InferenceService, requests.InferenceServiceCreateRequest]):
    """Inference services."""


GROUP = InferenceServices
