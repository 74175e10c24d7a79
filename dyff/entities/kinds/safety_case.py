"""Safety cases: documents that a method, which is a notebook, makes of data."""

from __future__ import annotations

from dyff.entities import analyses, analysis, analysis_requests, codecs, costs, identity, kind, statuses


class SafetyCase(analyses.Analysis, kw_only=True, frozen=True):
    """A document that a method made of data. Its file is `index.html`."""


def _own(request: analysis_requests.AnalysisCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    return analyses.spec(request, embedded, "SafetyCase", "safetyCase")


KIND = kind.Kind(
    name="SafetyCase",
    plural="safetycases",
    entity=SafetyCase,
    creation=kind.Creation(
        request=analysis_requests.AnalysisCreateRequest,
        references=analysis_requests.references,
        further=analysis_requests.further,
        wholes=analyses.wholes,
        spec=_own,
    ),
    success=statuses.COMPLETE,
    failure=statuses.FAILED,
    dependencies=analyses.dependencies,
    uses=analyses.uses,
    query=analyses.QUERY,
    elements=analyses.ELEMENTS,
    download=kind.Download("safetycases"),
    logs=kind.Logs(stored=True),
    run=kind.Run(
        resource=analysis.RESOURCE,
        spec=analyses.resource,
        ended={"Failed": statuses.FAILED, "Complete": statuses.COMPLETE},
        cost=costs.safety_case,
        results=kind.Results("RecordSafetyCaseResults", analyses.RECORDED),
    ),
)
