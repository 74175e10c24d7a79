"""Inference services: how a model is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from dyff.entities import codecs, compute, custom_resource, data, described, identity, kind, specs, stored, variables
from dyff.entities.identity import Few, Part, Short, Text, Word
from dyff.entities.kinds import model as models

IMAGE_KIND = "OCIArtifact"
"""The published kind of images that entities stand for. Only servers that have this kind can resolve an `imageRef`."""
IMAGE_REF_HINT = (
    f'imageRef refers to an entity of the kind {IMAGE_KIND}, by its "kind" and "id". This server has no such kind, '
    f"so give `image` in its place: {compute.IMAGE_HINT}"
)


class InferenceServiceBuilder(Part, frozen=True):
    """How the service is built; published, but unused."""

    kind: Short
    args: Few[Text] | None = None


class InferenceServiceRunner(Part, frozen=True):
    """The serving container. Exactly one of `image` and `imageRef` is required."""

    rules: ClassVar[codecs.Json] = {
        **described.exactly_one("image", "imageRef"),
        "properties": {"imageRef": {"properties": {"kind": {"enum": [IMAGE_KIND]}}}},
    }
    hints: ClassVar[Mapping[str, str]] = {
        "args": 'one string for each word, such as ["--port", "8000"]',
        "command": 'one string for each word, such as ["python3", "serve.py"]',
        "image": compute.IMAGE_HINT,
        "imageRef": IMAGE_REF_HINT,
        "resources": 'resources are quantities, such as {"cpu": "1", "memory": "2Gi"}; {} asks for none',
    }

    kind: Literal["bentoml_service_openllm", "container", "huggingface", "mock", "standalone", "vllm"]
    resources: compute.ModelResources
    args: Few[Word] | None = None
    command: Few[Word] | None = None
    env: Few[compute.EnvVar] | None = None
    image: compute.ContainerImageSource | None = None
    imageRef: identity.EntityIdentifier | None = None
    volumeMounts: Few[compute.VolumeMount] | None = None
    workingDir: Word | None = None
    accelerator: compute.Accelerator | None = None
    nodes: identity.Count = 1

    def __post_init__(self) -> None:
        """Refuse a runner with no image, or with two, and variables that become too large."""
        if (self.image is None) == (self.imageRef is None):
            raise ValueError(f"must have exactly one of image and imageRef; {compute.IMAGE_HINT}")
        if self.imageRef is not None and self.imageRef.kind != IMAGE_KIND:
            raise ValueError(f"imageRef.kind must be {IMAGE_KIND}, which a {self.imageRef.kind} is not; {IMAGE_REF_HINT}")
        variables.expanded([(each.name, each.value) for each in self.env or ()], (*(self.command or ()), *(self.args or ())))


class InferenceInterface(Part, frozen=True):
    """How data gets in and out. `endpoint`: the path below the service to which inference requests go."""

    hints: ClassVar[Mapping[str, str]] = {
        "endpoint": "it is a path of the service, such as v1/chat/completions",
        "outputSchema": "dyff.sdk.schemas.output_schema makes it from the Arrow schema of one response",
    }

    endpoint: Text
    outputSchema: data.DataSchema
    inputPipeline: Few[data.SchemaAdapter] | None = None
    outputPipeline: Few[data.SchemaAdapter] | None = None


class InferenceServiceCreateRequest(identity.CreateRequest, frozen=True):
    """Describes a service. `model`: the ID of the Model behind it."""

    rules: ClassVar[codecs.Json] = {
        "required": ["account", "name", "interface", "runner"],
        "properties": {"runner": {"anyOf": None, "default": None, "$ref": described.reference(InferenceServiceRunner)}},
    }
    example: ClassVar[codecs.Json] = {
        "account": "example",
        "name": "mock",
        "runner": {
            "kind": "mock",
            "image": {
                "host": "registry.gitlab.com",
                "name": "dyff/workflows/inferenceservice-mock",
                "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            },
            "resources": {"memory": "1Gi"},
        },
        "interface": {
            "endpoint": "openai/v1/completions",
            "outputSchema": {"arrowSchema": data.EXAMPLE_SCHEMA},
            "inputPipeline": [{"kind": "TransformJSON", "configuration": {"prompt": "$.text", "model": "mock"}}],
        },
    }

    name: Short
    interface: InferenceInterface
    runner: InferenceServiceRunner | None = None
    builder: InferenceServiceBuilder | None = None
    outputViews: Few[data.DataView] = ()
    model: Short | None = None

    def __post_init__(self) -> None:
        """As published: the field is optional in the schema, but a new service must have one."""
        if self.runner is None:
            raise ValueError("runner must be given: a new service needs one")


Adapter = Annotated[dict[str, Any], described.like(data.SchemaAdapter)]
Builder = Annotated[dict[str, Any], described.like(InferenceServiceBuilder)]
ModelAsUsed = Annotated[dict[str, Any], described.like(models.ForeignModel)]
Runner = Annotated[dict[str, Any], described.like(InferenceServiceRunner)]
View = Annotated[dict[str, Any], described.like(data.DataView)]


class StoredInterface(stored.Part, frozen=True):
    """How an item becomes a request, and a response becomes rows."""

    endpoint: str
    outputSchema: Annotated[dict[str, Any], described.like(data.DataSchema)]
    inputPipeline: list[Adapter] | None = None
    outputPipeline: list[Adapter] | None = None


class InferenceService(identity.Entity, kw_only=True, frozen=True):
    """How a model is served."""

    name: str
    interface: StoredInterface
    runner: Runner | None = None
    model: ModelAsUsed | None = None
    builder: Builder | None = None
    outputViews: list[View] = msgspec.field(default_factory=list)


class ForeignInferenceService(stored.Part, frozen=True):
    """A service as embedded in a session or an evaluation: the fields that `KIND.embedded` names."""

    id: str
    account: str
    name: str
    interface: StoredInterface
    runner: Runner | None = None
    model: ModelAsUsed | None = None
    builder: Builder | None = None
    outputViews: list[View] = msgspec.field(default_factory=list)


def references(request: InferenceServiceCreateRequest) -> list[identity.Reference]:
    """The model, the image and the mounted entities."""
    found = [identity.Reference("Model", request.model, ("body", "model"))] if request.model is not None else []
    runner = request.runner
    if runner is not None and runner.imageRef is not None:
        found.append(identity.Reference(runner.imageRef.kind, runner.imageRef.id, ("body", "runner", "imageRef"), IMAGE_REF_HINT))
    for n, mount in enumerate((runner.volumeMounts if runner else None) or ()):
        if mount.data is not None:
            loc = ("body", "runner", "volumeMounts", n, "data", "source")
            found.append(identity.Reference(mount.data.source.kind, mount.data.source.id, loc))
    return found


def _own(request: InferenceServiceCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    own = identity.spec_of(request)
    if request.model is not None:
        own["model"] = embedded[request.model]
    return own


def data_sources(service: codecs.Json) -> list[str]:
    """IDs of the entities that a service, whole or embedded, runs on: its model, its mounts, its preconditions."""
    mounts = ((service.get("runner") or {}).get("volumeMounts")) or []
    sources = [mount["data"]["source"]["id"] for mount in mounts if mount.get("data")]
    model = [service["model"]["id"]] if service.get("model") else []
    return [*model, *sources, *kind.preconditions(service)]


RESOURCE = custom_resource.CustomResource(
    kind="InferenceService",
    plural="inferenceservices",
    short="infer",
    spec=specs.Service,
    columns=(
        custom_resource.REASON,
        custom_resource.RUNNER,
        custom_resource.ACCOUNT,
        custom_resource.AGE,
        custom_resource.IMAGE,
        custom_resource.MESSAGE,
    ),
    aliases=("infer",),
)

KIND = kind.Kind(
    name="InferenceService",
    plural="inferenceservices",
    entity=InferenceService,
    creation=kind.Creation(
        request=InferenceServiceCreateRequest,
        references=references,
        spec=_own,
        checks=(
            kind.Check("indexed-schema", ("interface", "outputSchema")),
            kind.Check("upload-pipeline", ("interface", "inputPipeline")),
            kind.Check("pipeline", ("interface", "outputPipeline")),
            kind.Check("schema", ("outputViews", "*", "schema")),
            kind.Check("pipeline", ("outputViews", "*", "adapterPipeline")),
        ),
    ),
    embedded=("id", "account", "name", "builder", "runner", "interface", "outputViews", "model"),
    dependencies=data_sources,
    query={"name": ("name",), "model": ("model", "id"), "modelName": ("model", "name")},
    resource=RESOURCE,
)
