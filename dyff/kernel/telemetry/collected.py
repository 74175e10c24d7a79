"""What a scrape has read, before it is written in a format."""

from __future__ import annotations

import msgspec

from dyff.kernel.telemetry import names

Labels = tuple[str, ...]
"""Values of labels, in the order of the table."""


class Collected(msgspec.Struct, frozen=True):
    """One metric at a scrape: either samples by labels, or the series of a histogram: counts by bucket, and sums."""

    metric: names.Metric
    samples: dict[Labels, float] = {}
    series: dict[Labels, tuple[list[int], float]] = {}
