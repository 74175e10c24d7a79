"""Reports: what older releases of the platform computed of an evaluation. They can be read, and no new ones are made."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from dyff.entities import data, described, identity, kind, statuses


class Report(identity.Entity, kw_only=True, frozen=True):
    """A rubric that was applied to an evaluation. `rubric`: its name. `evaluation`, `dataset`, `inferenceService`, `model`: IDs."""

    rubric: str
    evaluation: str
    dataset: str
    inferenceService: str
    model: str | None = None
    modules: list[str] = msgspec.field(default_factory=list)
    datasetView: Annotated[dict[str, Any], described.like(data.DataView)] | None = None
    evaluationView: Annotated[dict[str, Any], described.like(data.DataView)] | None = None


KIND = kind.Kind(
    name="Report",
    plural="reports",
    entity=Report,
    success=statuses.COMPLETE,
    failure=statuses.FAILED,
    dependencies=lambda entity: [entity["evaluation"], entity["dataset"], *entity.get("modules", ()), *kind.preconditions(entity)],
    query={
        "report": ("rubric",),
        "dataset": ("dataset",),
        "evaluation": ("evaluation",),
        "inferenceService": ("inferenceService",),
        "model": ("model",),
    },
    download=kind.Download("reports"),
    logs=kind.Logs(stored=True, pods=False),
)
