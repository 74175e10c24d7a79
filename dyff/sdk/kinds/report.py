"""The client's group for reports."""

from __future__ import annotations

from dyff.sdk import analyses, groups, models
from dyff.sdk.calls import S


class Reports(groups.Downloadable[S, models.Report], analyses.Kept[S, models.Report]):
    """Reports of older releases, which can be read. Measurements have replaced them."""


GROUP = Reports
