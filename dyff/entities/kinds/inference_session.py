"""Inference sessions: running services."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from dyff.entities import codecs, compute, costs, custom_resource, described, identity, kind, specs, statuses, stored
from dyff.entities.identity import Part, Short
from dyff.entities.kinds import inference_service


class SessionSpec(Part, frozen=True):
    """How to run a service. `expires`: UTC if it has no time zone."""

    inferenceService: Short
    expires: identity.Expiry | None = None
    replicas: identity.Count = 1
    accelerator: compute.Accelerator | None = None
    useSpotPods: bool = True


class InferenceSessionCreateRequest(identity.CreateRequest, frozen=True):
    """Requests a running service. `expires`: None for the server's default."""

    example: ClassVar[codecs.Json] = {
        "account": "example",
        "inferenceService": "00000000000040008000000000000002",
        "expires": identity.EXAMPLE_TIME,
    }

    inferenceService: Short
    expires: identity.Expiry | None = None
    replicas: identity.Count = 1
    accelerator: compute.Accelerator | None = None
    useSpotPods: bool = True


class InferenceSessionTokenCreateRequest(identity.Request, frozen=True):
    """Requests a token for one session. `expires`: None for the lifetime of the session."""

    example: ClassVar[codecs.Json] = {"expires": identity.EXAMPLE_TIME}

    expires: identity.Expiry | None = None


Accelerator = Annotated[dict[str, Any], described.like(compute.Accelerator)]


class SessionAsUsed(stored.Part, frozen=True):
    """A session as embedded in an evaluation: the fields that `KIND.embedded` names."""

    inferenceService: inference_service.ForeignInferenceService
    replicas: int = 1
    expires: stored.Time | None = None
    accelerator: Accelerator | None = None
    useSpotPods: bool = True


class InferenceSession(identity.Entity, kw_only=True, frozen=True):
    """A running service. `expires`: ISO 8601. `name`: published clients may ask for it; sessions of this release have none."""

    inferenceService: inference_service.ForeignInferenceService
    name: str | None = None
    replicas: int = 1
    expires: stored.Time | None = None
    accelerator: Accelerator | None = None
    useSpotPods: bool = True


class InferenceSessionAndToken(stored.Part, frozen=True):
    """A new session and the token for it."""

    hidden: ClassVar[frozenset[str]] = frozenset({"token"})

    inferencesession: InferenceSession
    token: str


def _references(request: InferenceSessionCreateRequest) -> list[identity.Reference]:
    return [identity.Reference("InferenceService", request.inferenceService, ("body", "inferenceService"))]


def _own(request: InferenceSessionCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    service = embedded[request.inferenceService]
    return {**identity.spec_of(request), "inferenceService": service, "securityContext": identity.security_context()}


def data_sources(session: codecs.Json) -> list[str]:
    """IDs of the entities that a session, whole or embedded, runs on."""
    return inference_service.data_sources(session["inferenceService"])


def template(session: codecs.Json) -> codecs.Json:
    """The spec of a session, whole or embedded: `dyff.entities.specs.Template`. Absent fields are omitted."""
    service = session["inferenceService"]
    model = service.get("model") or {}
    runner = service.get("runner") or {"kind": "mock"}
    resources = {key: value for key, value in (runner.get("resources") or {}).items() if key in ("cpu", "memory") and value}
    found: dict[str, Any] = {
        "service": service["id"],
        "model": model.get("id"),
        "huggingFace": (model.get("artifact") or {}).get("huggingFaceCache"),
        "runner": runner["kind"],
        "image": _image(runner.get("image")),
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
    return {key: value for key, value in found.items() if value is not None}


def _image(value: codecs.Json | None) -> str | None:
    """A published image reference, always by digest."""
    return None if value is None else f"{value['host']}/{value['name']}@{value['digest']}"


def _volume(mount: codecs.Json) -> codecs.Json:
    common = {"name": mount["name"], "mountPath": str(mount["mountPath"]), "kind": mount["kind"]}
    if mount["kind"] == "Scratch":
        return {**common, "capacity": mount["scratch"]["capacity"]}
    return {**common, "source": mount["data"]["source"]}


RESOURCE = custom_resource.CustomResource(
    kind="InferenceSession",
    plural="inferencesessions",
    short="session",
    spec=specs.Session,
    columns=(
        custom_resource.READY,
        custom_resource.FAILED,
        custom_resource.REASON,
        custom_resource.RUNNER,
        custom_resource.Column("Replicas", ".spec.replicas", "Pods that serve", "integer"),
        custom_resource.Column("Expires", ".spec.expires", "When it ends", "date", wide=True),
        *custom_resource.END,
        custom_resource.IMAGE,
    ),
    aliases=("session", "sessions"),
    is_part=True,
    read_by_api=True,
)

QUERY: dict[str, kind.Path] = {
    "inferenceService": ("inferenceService", "id"),
    "inferenceServiceName": ("inferenceService", "name"),
    "model": ("inferenceService", "model", "id"),
    "modelName": ("inferenceService", "model", "name"),
}
"""Query parameters of a session, whole or embedded."""

KIND = kind.Kind(
    name="InferenceSession",
    plural="inferencesessions",
    entity=InferenceSession,
    creation=kind.Creation(
        request=InferenceSessionCreateRequest, references=_references, spec=_own, checks=(kind.Check("future", ("expires",)),)
    ),
    embedded=("expires", "replicas", "accelerator", "useSpotPods", "inferenceService"),
    success=statuses.TERMINATED,
    dependencies=lambda entity: [entity["inferenceService"]["id"], *kind.preconditions(entity)],
    uses=data_sources,
    query={"name": ("name",), **QUERY},
    logs=kind.Logs(),
    run=kind.Run(
        resource=RESOURCE,
        spec=template,
        ended={"Failed": statuses.ERROR, "Complete": statuses.TERMINATED},
        cost=costs.session,
    ),
    own_routes=True,
)
