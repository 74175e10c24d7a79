"""Measurements: tables that a method computes from data."""

from __future__ import annotations

from typing import Annotated, Any

from dyff.entities import analyses, costs, data, described


class Measurement(analyses.Analysis, kw_only=True, frozen=True):
    """A table that a method computed from data. `level`: `Instance` for a row for each item."""

    level: str
    schema: Annotated[dict[str, Any], described.like(data.DataSchema)]


KIND = analyses.row("Measurement", "measurements", Measurement, "measurement", costs.measurement)
