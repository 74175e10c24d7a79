"""The client's group for inference services."""

from __future__ import annotations

from dyff.sdk import groups, models
from dyff.sdk.calls import S


class InferenceServices(groups.Creatable[S, models.InferenceService]):
    """Inference services."""


GROUP = InferenceServices
