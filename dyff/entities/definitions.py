"""The definitions of our custom resources for a Kubernetes cluster (CustomResourceDefinition): schemas, status, columns. Pure.

The schema of a spec follows from the struct that reads it (`dyff.entities.specs`), so the two cannot differ.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from dyff.entities import codecs, resources, specs, structural

CATEGORY = "dyff"
"""`kubectl get dyff` shows all kinds."""


class Column(msgspec.Struct, frozen=True):
    """What `kubectl get` prints. `path`: a JSON path. `wide`: only with `-o wide`."""

    name: str
    path: str
    words: str
    type: str = "string"
    wide: bool = False


class Row(msgspec.Struct, frozen=True):
    """How a kind is shown. `shorts`: other names for kubectl. `rules`: what holds of several fields of its spec."""

    kind: resources.ResourceKind
    shorts: tuple[str, ...]
    columns: tuple[Column, ...]
    rules: tuple[dict[str, str], ...] = ()


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_READY = Column("Ready", _condition("Ready", "status"), "Whether it serves")
_COMPLETE = Column("Complete", _condition("Complete", "status"), "Whether it has ended as wanted")
_FAILED = Column("Failed", _condition("Failed", "status"), "Whether it has ended badly")
_REASON = Column("Reason", _condition("Complete", "reason"), "What it does now, or why it has ended")
_ACCOUNT = Column("Account", ".spec.account", "Who owns it")
_AGE = Column("Age", ".metadata.creationTimestamp", "How long ago it was created", "date")
_MESSAGE = Column("Message", _condition("Complete", "message"), "What it waits for", wide=True)
_FAILURE = Column("Failure", _condition("Failed", "message"), "Why it has failed, and what to do", wide=True)
_END = (_ACCOUNT, _AGE, _MESSAGE, _FAILURE)
_RUNNER = Column("Runner", ".spec.runner", "What serves")
_IMAGE = Column("Image", ".spec.image", "The container image of the runner", wide=True)

_ONE_SESSION = {
    "rule": "has(self.inferenceSession) != has(self.inferenceSessionReference)",
    "message": "exactly one of inferenceSession and inferenceSessionReference is needed",
}

TABLE = (
    Row(
        resources.EVALUATION,
        ("eval", "evals"),
        (
            _COMPLETE,
            _FAILED,
            _REASON,
            Column("Runner", ".spec.inferenceSession.runner", "What serves; empty: a session that runs already"),
            *_END,
            Column("Dataset", ".spec.dataset", "ID of the dataset", wide=True),
            Column("Session", ".spec.inferenceSessionReference", "ID of the session that runs already", wide=True),
        ),
        (_ONE_SESSION,),
    ),
    Row(
        resources.INFERENCE_SESSION,
        ("session", "sessions"),
        (
            _READY,
            _FAILED,
            _REASON,
            _RUNNER,
            Column("Replicas", ".spec.replicas", "Pods that serve", "integer"),
            Column("Expires", ".spec.expires", "When it ends", "date", wide=True),
            *_END,
            _IMAGE,
        ),
    ),
    Row(resources.INFERENCE_SERVICE, ("infer",), (_REASON, _RUNNER, _ACCOUNT, _AGE, _IMAGE, _MESSAGE)),
    Row(
        resources.MODEL,
        ("mdl",),
        (
            _COMPLETE,
            _FAILED,
            _REASON,
            Column("Source", ".spec.source.kind", "Where it comes from"),
            *_END,
            Column("Repository", ".spec.source.huggingFaceHub.repoID", "Its name on the hub", wide=True),
        ),
    ),
    Row(
        resources.ANALYSIS,
        (),
        (_COMPLETE, _FAILED, _REASON, Column("Method", ".spec.method", "ID of the method"), *_END),
    ),
)


class Condition(msgspec.Struct, rename="camel", kw_only=True):
    """One thing that is said about the run, as the Kubernetes API conventions want it."""

    type: Annotated[str, msgspec.Meta(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, description="A CamelCase word, for programs")]
    message: Annotated[
        str, msgspec.Meta(max_length=32_768, description="For people: what it waits for, or why it ended and what to do")
    ] = ""
    last_transition_time: Annotated[datetime, msgspec.Meta(tz=True, description="When the status changed last")]
    observed_generation: Annotated[int, msgspec.Meta(ge=0, description="The metadata.generation that this was said about")] = 0


class Status(msgspec.Struct, rename="camel", kw_only=True):
    """What the operator says about the run. Complete or Failed being True is its end."""

    conditions: Annotated[list[Condition], msgspec.Meta(max_length=32)] = []
    observed_generation: Annotated[int, msgspec.Meta(ge=0, description="The metadata.generation that was looked at last")] = 0
    ready_since: Annotated[datetime, msgspec.Meta(tz=True, description="When the session served for the first time")] | None = None
    steps: Annotated[dict[str, str], msgspec.Meta(description="Outcomes of the steps that have ended, by component")] = {}


def all_() -> list[codecs.Json]:
    """The definitions, in the order of the table."""
    return [_definition(row) for row in TABLE]


@functools.cache
def schemas() -> Mapping[str, codecs.Json]:
    """By kind, the schema of the whole object."""
    status, *found = structural.of([Status, *(specs.BY_KIND[row.kind.kind] for row in TABLE)])
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {row.kind.kind: _resource(row, spec, status) for row, spec in zip(TABLE, found, strict=True)}


def _definition(row: Row) -> codecs.Json:
    group, version = resources.GROUP_VERSION.split("/")
    kind = row.kind
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}", "labels": {"app.kubernetes.io/name": "dyff", "app.kubernetes.io/component": "crds"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(row.shorts),
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(each) for each in row.columns],
                    "schema": {"openAPIV3Schema": schemas()[kind.kind]},
                }
            ],
        },
    }


def _resource(row: Row, spec: codecs.Json, status: codecs.Json) -> codecs.Json:
    rules = {"x-kubernetes-validations": list(row.rules)} if row.rules else {}
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


def _column(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.words}
    return {**found, "priority": 1} if column.wide else found
