"""The custom resource for analyses, which measurements and safety cases share."""

from __future__ import annotations

from dyff.entities import custom_resource, specs

RESOURCE = custom_resource.CustomResource(
    kind="Analysis",
    plural="analyses",
    short="analysis",
    spec=specs.Analysis,
    columns=(
        custom_resource.COMPLETE,
        custom_resource.FAILED,
        custom_resource.REASON,
        custom_resource.Column("Method", ".spec.method", "ID of the method"),
        *custom_resource.END,
    ),
)
