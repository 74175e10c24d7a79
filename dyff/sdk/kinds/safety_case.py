"""The client's group for safety cases."""

from __future__ import annotations

from dyff.sdk import analyses, models
from dyff.sdk.calls import S


class SafetyCases(analyses.Analyses[S, models.SafetyCase]):
    """Safety cases."""


GROUP = SafetyCases
