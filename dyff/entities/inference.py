"""Inference services (how a model is served) and sessions (a service that runs)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from dyff.entities import codecs, compute, data, identity, kinds
from dyff.entities.identity import Few, Part, Short, Text

FOREIGN = ("id", "account", "name", "builder", "runner", "interface", "outputViews", "model")
"""The fields of an InferenceService that are embedded where one is used."""

SESSION_SPEC = ("expires", "replicas", "accelerator", "useSpotPods", "inferenceService")
"""The fields of an InferenceSession that are embedded in an Evaluation that uses a running one."""


class InferenceServiceBuilder(Part, frozen=True):
    """How the service is built; published, and unused."""

    kind: Short
    args: Few[Text] | None = None


class InferenceServiceRunner(Part, frozen=True):
    """The container that serves. Exactly one of `image` and `imageRef`."""

    kind: Literal["bentoml_service_openllm", "container", "huggingface", "mock", "standalone", "vllm"]
    resources: compute.ModelResources
    args: Few[Text] | None = None
    command: Few[Text] | None = None
    env: Few[compute.EnvVar] | None = None
    image: compute.ContainerImageSource | None = None
    imageRef: identity.EntityIdentifier | None = None
    volumeMounts: Few[compute.VolumeMount] | None = None
    workingDir: Text | None = None
    accelerator: compute.Accelerator | None = None
    nodes: identity.Count = 1

    def __post_init__(self) -> None:
        """Refuse a runner with no image, or two."""
        if (self.image is None) == (self.imageRef is None):
            raise ValueError("must have exactly one of image and imageRef")


class InferenceInterface(Part, frozen=True):
    """How data gets in and out. `endpoint`: the path below the service that inference calls."""

    endpoint: Text
    outputSchema: data.DataSchema
    inputPipeline: Few[data.SchemaAdapter] | None = None
    outputPipeline: Few[data.SchemaAdapter] | None = None


class InferenceServiceCreateRequest(identity.CreateRequest, frozen=True):
    """Describes a service. `model`: the ID of the Model behind it."""

    name: Short
    interface: InferenceInterface
    runner: InferenceServiceRunner | None = None
    builder: InferenceServiceBuilder | None = None
    outputViews: Few[data.DataView] = ()
    model: Short | None = None

    def __post_init__(self) -> None:
        """As published: optional in the schema, but a new service must have one."""
        if self.runner is None:
            raise ValueError("runner must be given: a new service needs one")


class SessionSpec(Part, frozen=True):
    """How a service is run. `expires`: without a zone it is UTC."""

    inferenceService: Short
    expires: datetime | None = None
    replicas: identity.Count = 1
    accelerator: compute.Accelerator | None = None
    useSpotPods: bool = True


class InferenceSessionCreateRequest(identity.CreateRequest, frozen=True):
    """Asks for a running service. `expires`: None: the server's default."""

    inferenceService: Short
    expires: datetime | None = None
    replicas: identity.Count = 1
    accelerator: compute.Accelerator | None = None
    useSpotPods: bool = True


class InferenceSessionTokenCreateRequest(identity.Request, frozen=True):
    """Asks for a token for one session. `expires`: None: as long as the session."""

    expires: datetime | None = None


def service_references(request: InferenceServiceCreateRequest) -> list[identity.Reference]:
    """The model, the image and what is mounted."""
    found = [identity.Reference("Model", request.model, ("body", "model"))] if request.model is not None else []
    runner = request.runner
    if runner is not None and runner.imageRef is not None:
        found.append(identity.Reference(runner.imageRef.kind, runner.imageRef.id, ("body", "runner", "imageRef")))
    for n, mount in enumerate((runner.volumeMounts if runner else None) or ()):
        if mount.data is not None:
            loc = ("body", "runner", "volumeMounts", n, "data", "source")
            found.append(identity.Reference(mount.data.source.kind, mount.data.source.id, loc))
    return found


def service(request: InferenceServiceCreateRequest, embedded: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
    """The whole new InferenceService."""
    spec = identity.spec_of(request)
    if request.model is not None:
        spec["model"] = embedded[request.model]
    return kinds.with_first_status(identity.entity("InferenceService", entity_id, request, now, spec))


def foreign_service(entity: codecs.Json) -> codecs.Json:
    """An InferenceService as it is embedded in a session."""
    return {name: entity[name] for name in FOREIGN if name in entity}


def session_references(request: InferenceSessionCreateRequest) -> list[identity.Reference]:
    """The service."""
    return [identity.Reference("InferenceService", request.inferenceService, ("body", "inferenceService"))]


def session(request: InferenceSessionCreateRequest, embedded: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
    """The whole new InferenceSession."""
    spec = identity.spec_of(request)
    spec["inferenceService"] = embedded[request.inferenceService]
    spec["securityContext"] = identity.security_context()
    return kinds.with_first_status(identity.entity("InferenceSession", entity_id, request, now, spec))


def foreign_session(entity: codecs.Json) -> codecs.Json:
    """What an Evaluation embeds of the running session that it uses."""
    return {name: entity[name] for name in SESSION_SPEC if name in entity}
