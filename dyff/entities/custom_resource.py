"""Description of a custom resource type, and what all custom resources share: names, labels, kubectl columns. Pure.

A custom resource contains everything that its steps need (nothing is looked up later). Kubernetes schemas cannot hold
free-form JSON, so an adapter's `configuration` is JSON in a string here, but an object in the API.
"""

from __future__ import annotations

from typing import Any

import msgspec

GROUP_VERSION = "dyff.io/v1alpha1"
FINALIZER = "dyff.io/orchestrator"
"""Keeps a custom resource until its terminal status is folded and its pods are deleted."""

SESSION_SAYS = "the inference session: "
"""In the message of an evaluation's status, the state of its session follows these words."""


class Column(msgspec.Struct, frozen=True):
    """A column of `kubectl get`. `path`: a JSON path. `wide`: shown only with `-o wide`."""

    name: str
    path: str
    words: str
    type: str = "string"
    wide: bool = False


class CustomResource(msgspec.Struct, frozen=True, kw_only=True):
    """A custom resource type.

    `kind`, `plural`: as in Kubernetes. `short`: name prefix of its objects. `spec`: the struct of its spec, from which the
    CustomResourceDefinition is generated. `aliases`: other names for kubectl. `columns`: the columns that kubectl shows. `rules`:
    constraints between several fields of its spec, as Kubernetes validation rules. `is_part`: the operator itself creates some of
    them, as parts of others. `read_by_api`: routes of its kind read it.
    """

    kind: str
    plural: str
    short: str
    spec: type[Any]
    columns: tuple[Column, ...]
    aliases: tuple[str, ...] = ()
    rules: tuple[dict[str, str], ...] = ()
    is_part: bool = False
    read_by_api: bool = False


def name(resource: CustomResource, entity_id: str, component: str | None = None) -> str:
    """`<short>-<id>`, or `<short>-<id>-<component>` for a part. The name is always the same, so a second creation is refused."""
    return f"{resource.short}-{entity_id}" + (f"-{component}" if component else "")


def labels(workflow: str, component: str, account: str, entity_id: str) -> dict[str, str]:
    """The labels of a custom resource and of everything created for it."""
    return {
        "dyff.io/workflow": workflow.lower(),
        "dyff.io/component": component.lower(),
        "dyff.io/account": account,
        "dyff.io/id": entity_id,
    }


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


READY = Column("Ready", _condition("Ready", "status"), "Whether it serves")
COMPLETE = Column("Complete", _condition("Complete", "status"), "Whether it has ended as wanted")
FAILED = Column("Failed", _condition("Failed", "status"), "Whether it has ended badly")
REASON = Column("Reason", _condition("Complete", "reason"), "What it does now, or why it has ended")
ACCOUNT = Column("Account", ".spec.account", "Who owns it")
AGE = Column("Age", ".metadata.creationTimestamp", "How long ago it was created", "date")
MESSAGE = Column("Message", _condition("Complete", "message"), "What it waits for", wide=True)
FAILURE = Column("Failure", _condition("Failed", "message"), "Why it has failed, and what to do", wide=True)
END = (ACCOUNT, AGE, MESSAGE, FAILURE)
"""The last columns of resources that run to completion."""

RUNNER = Column("Runner", ".spec.runner", "What serves")
IMAGE = Column("Image", ".spec.image", "The container image of the runner", wide=True)
