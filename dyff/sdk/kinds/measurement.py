"""The client's group for measurements."""

from __future__ import annotations

from dyff.sdk import analyses, models
from dyff.sdk.calls import S


class Measurements(analyses.Analyses[S, models.Measurement]):
    """Measurements."""


GROUP = Measurements
