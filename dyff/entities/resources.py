"""Custom resources: their kinds, names and specs. What the orchestrator writes, the operator and the steps read.

A custom resource carries everything its steps need (nothing is looked up later). Kubernetes schemas cannot hold free
JSON, so an adapter's `configuration` is JSON in a string here, an object in the API.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.entities import codecs

GROUP_VERSION = "dyff.io/v1alpha1"
FINALIZER = "dyff.io/orchestrator"
"""Keeps a custom resource until its terminal status is folded and its pods are gone."""


class ResourceKind(msgspec.Struct, frozen=True):
    """A custom resource's type. `short`: the prefix of its names."""

    kind: str
    plural: str
    short: str


EVALUATION = ResourceKind("Evaluation", "evaluations", "eval")
INFERENCE_SESSION = ResourceKind("InferenceSession", "inferencesessions", "session")
MODEL = ResourceKind("Model", "models", "model")
INFERENCE_SERVICE = ResourceKind("InferenceService", "inferenceservices", "infer")
ANALYSIS = ResourceKind("Analysis", "analyses", "analysis")
ALL = (EVALUATION, INFERENCE_SESSION, MODEL, INFERENCE_SERVICE, ANALYSIS)
BY_ENTITY_KIND = {each.kind: each for each in (EVALUATION, INFERENCE_SESSION, MODEL)}
"""Those that the orchestrator makes."""


def name(kind: ResourceKind, entity_id: str, component: str | None = None) -> str:
    """`<short>-<id>`, or `<short>-<id>-<component>` for a part: the same every time, so that a repetition is refused."""
    return f"{kind.short}-{entity_id}" + (f"-{component}" if component else "")


def labels(workflow: str, component: str, account: str, entity_id: str) -> dict[str, str]:
    """The labels of a custom resource and of everything made for it."""
    return {
        "dyff.io/workflow": workflow.lower(),
        "dyff.io/component": component.lower(),
        "dyff.io/account": account,
        "dyff.io/id": entity_id,
    }


def for_entity(entity: codecs.Json) -> codecs.Json:
    """The custom resource of an admitted entity.

    Raises:
        KeyError: its kind has none, or a needed field is missing.
    """
    kind = BY_ENTITY_KIND[entity["kind"]]
    spec = {"Evaluation": evaluation_spec, "InferenceSession": session_spec, "Model": model_spec}[kind.kind](entity)
    return {
        "apiVersion": GROUP_VERSION,
        "kind": kind.kind,
        "metadata": {
            "name": name(kind, entity["id"]),
            "labels": labels(kind.kind, kind.kind, entity["account"], entity["id"]),
            "finalizers": [FINALIZER],
        },
        "spec": {"id": entity["id"], "account": entity["account"], **spec},
    }


def evaluation_spec(entity: codecs.Json) -> codecs.Json:
    """Keys: `dataset` (ID), `interface`, `replications`, `workersPerReplica`, `client`, and either `inferenceSession`
    (a template as in `session_template`) or `inferenceSessionReference` (the ID of a running one).
    """
    service = entity["inferenceSession"]["inferenceService"]
    reference = entity.get("inferenceSessionReference")
    session = {"inferenceSessionReference": reference} if reference else {"inferenceSession": session_template(entity["inferenceSession"])}
    client = dict(entity.get("client") or {})
    if client.get("inputPipeline"):
        client["inputPipeline"] = pipeline(client["inputPipeline"])
    return {
        "dataset": entity["dataset"],
        "interface": interface(service["interface"]),
        "replications": entity.get("replications") or 1,
        "workersPerReplica": entity.get("workersPerReplica") or 2,
        "client": client,
        **session,
    }


def session_spec(entity: codecs.Json) -> codecs.Json:
    """`session_template` of the session itself."""
    return session_template(entity)


def session_template(session: codecs.Json) -> codecs.Json:
    """What it takes to run an inference service.

    Keys: `service` and `model` (IDs, `model` may be absent), `huggingFace` (`repoID` and `revision` of a model in a Hugging
    Face cache), `runner` (kind), `image` (`host/name@digest`), `args`,
    `command`, `env` (list of name and value), `workingDir`, `resources` (`{"requests": {...}}`), `replicas`, `nodes`,
    `accelerator`, `useSpotPods`, `expires` (RFC 3339), `volumes` (list of `{"name", "mountPath", "kind": "Data",
    "source": {"kind", "id"}}` or `{..., "kind": "Scratch", "capacity"}`).
    """
    service = session["inferenceService"]
    model = service.get("model") or {}
    runner = service.get("runner") or {"kind": "mock"}
    resources = {key: value for key, value in (runner.get("resources") or {}).items() if key in ("cpu", "memory") and value}
    template: dict[str, Any] = {
        "service": service["id"],
        "model": model.get("id"),
        "huggingFace": (model.get("artifact") or {}).get("huggingFaceCache"),
        "runner": runner["kind"],
        "image": image(runner.get("image")),
        "args": runner.get("args") or [],
        "command": runner.get("command"),
        "env": runner.get("env") or [],
        "workingDir": runner.get("workingDir"),
        "resources": {"requests": resources},
        "replicas": session.get("replicas") or 1,
        "nodes": runner.get("nodes") or 1,
        "accelerator": session.get("accelerator") or runner.get("accelerator"),
        "useSpotPods": session.get("useSpotPods", True),
        "expires": session.get("expires"),
        "volumes": [_volume(mount) for mount in runner.get("volumeMounts") or []],
    }
    return {key: value for key, value in template.items() if value is not None}


def model_spec(entity: codecs.Json) -> codecs.Json:
    """Keys: `source` (as in the API), `artifact`, `resources`."""
    return {key: entity[key] for key in ("source", "artifact", "resources") if entity.get(key) is not None}


def interface(value: codecs.Json) -> codecs.Json:
    """An inference interface with its pipelines' configurations as strings."""
    pipelines = {key: pipeline(value[key]) for key in ("inputPipeline", "outputPipeline") if value.get(key)}
    schema = {"arrowSchema": value["outputSchema"]["arrowSchema"]}
    return {"endpoint": value["endpoint"], "outputSchema": schema, **pipelines}


def pipeline(adapters: list[codecs.Json]) -> list[codecs.Json]:
    """A pipeline of adapters with each `configuration` as a JSON string."""
    return [{"kind": each["kind"], "configuration": codecs.encode(each.get("configuration") or {}).decode()} for each in adapters]


def image(value: codecs.Json | None) -> str | None:
    """A published image reference: always by digest."""
    return None if value is None else f"{value['host']}/{value['name']}@{value['digest']}"


def _volume(mount: codecs.Json) -> codecs.Json:
    common = {"name": mount["name"], "mountPath": str(mount["mountPath"]), "kind": mount["kind"]}
    if mount["kind"] == "Scratch":
        return {**common, "capacity": mount["scratch"]["capacity"]}
    return {**common, "source": mount["data"]["source"]}
