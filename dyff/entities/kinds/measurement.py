"""Measurements: tables that a method computes from data."""

from __future__ import annotations

from typing import Annotated, Any

from dyff.entities import analyses, analysis, analysis_requests, codecs, costs, data, described, identity, kind, statuses


class Measurement(analyses.Analysis, kw_only=True, frozen=True):
    """A table that a method computed from data. `level`: `Instance` for a row for each item."""

    level: str
    schema: Annotated[dict[str, Any], described.like(data.DataSchema)]


def _own(request: analysis_requests.AnalysisCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    return analyses.spec(request, embedded, "Measurement", "measurement")


KIND = kind.Kind(
    name="Measurement",
    plural="measurements",
    entity=Measurement,
    creation=kind.Creation(
        request=analysis_requests.AnalysisCreateRequest,
        references=analysis_requests.references,
        further=analysis_requests.further,
        spec=_own,
    ),
    success=statuses.COMPLETE,
    failure=statuses.FAILED,
    dependencies=analyses.dependencies,
    uses=analyses.uses,
    query=analyses.QUERY,
    elements=analyses.ELEMENTS,
    download=kind.Download("measurements"),
    logs=kind.Logs(stored=True),
    run=kind.Run(
        resource=analysis.RESOURCE,
        spec=analyses.resource,
        ended={"Failed": statuses.FAILED, "Complete": statuses.COMPLETE},
        cost=costs.measurement,
        results=kind.Results("RecordMeasurementResults", analyses.RECORDED),
    ),
)
