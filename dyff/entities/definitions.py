"""The CustomResourceDefinitions of our custom resources for a Kubernetes cluster: schemas, status, columns. Pure.

The schema of a spec is generated from the struct that reads it (`dyff.entities.specs`), so the two cannot diverge.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from dyff.entities import codecs, custom_resource, registry, structural

CATEGORY = "dyff"
"""`kubectl get dyff` shows all kinds."""


class Condition(msgspec.Struct, rename="camel", kw_only=True):
    """One condition of the run, following the Kubernetes API conventions."""

    type: Annotated[str, msgspec.Meta(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, description="A CamelCase word, for programs")]
    message: Annotated[
        str, msgspec.Meta(max_length=32_768, description="For people: what it waits for, or why it ended and what to do")
    ] = ""
    last_transition_time: Annotated[datetime, msgspec.Meta(tz=True, description="When the status changed last")]
    observed_generation: Annotated[int, msgspec.Meta(ge=0, description="The metadata.generation that this was said about")] = 0


class Status(msgspec.Struct, rename="camel", kw_only=True):
    """The operator's report about the run. The run has ended once Complete or Failed is True."""

    conditions: Annotated[list[Condition], msgspec.Meta(max_length=32)] = []
    observed_generation: Annotated[int, msgspec.Meta(ge=0, description="The metadata.generation that was looked at last")] = 0
    ready_since: Annotated[datetime, msgspec.Meta(tz=True, description="When the session served for the first time")] | None = None
    steps: Annotated[dict[str, str], msgspec.Meta(description="Outcomes of the steps that have ended, by component")] = {}


def all_() -> list[codecs.Json]:
    """The definitions of all types."""
    return [_definition(each) for each in registry.RESOURCES]


@functools.cache
def schemas() -> Mapping[str, codecs.Json]:
    """The schema of the whole object, by kind."""
    status, *found = structural.of([Status, *(each.spec for each in registry.RESOURCES)])
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {each.kind: _schema(each, spec, status) for each, spec in zip(registry.RESOURCES, found, strict=True)}


def _definition(resource: custom_resource.CustomResource) -> codecs.Json:
    group, version = custom_resource.GROUP_VERSION.split("/")
    labels = {"app.kubernetes.io/name": "dyff", "app.kubernetes.io/component": "crds"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{group}", "labels": labels},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": list(resource.aliases),
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(each) for each in resource.columns],
                    "schema": {"openAPIV3Schema": schemas()[resource.kind]},
                }
            ],
        },
    }


def _schema(resource: custom_resource.CustomResource, spec: codecs.Json, status: codecs.Json) -> codecs.Json:
    rules = {"x-kubernetes-validations": list(resource.rules)} if resource.rules else {}
    return {
        "type": "object",
        "description": spec["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {**spec, **rules},
            "status": status,
        },
    }


def _column(column: custom_resource.Column) -> dict[str, Any]:
    found: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.words}
    return {**found, "priority": 1} if column.wide else found
