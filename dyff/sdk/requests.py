"""The types of requests, so that editors complete their keys and type checkers find misspelt ones.

Made from the registry's rows by `python -m tests.sdk.typed_requests`; do not edit it. A test compares it with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

import msgspec


class Digest(TypedDict, total=False):
    """Digests of a file's bytes. `md5`: in base64, not in hex."""

    md5: str | None


class Artifact(TypedDict, total=False):
    """A file of a dataset or module."""

    path: Required[str]
    kind: str | None
    digest: Digest | msgspec.Struct


class DyffDataSchema(TypedDict, total=False):
    """A schema composed of known components, by name."""

    components: Required[Sequence[str]]
    schemaVersion: Literal["0.1"]


class DataSchema(TypedDict, total=False):
    """A schema. `arrowSchema`: base64 of the serialised Arrow schema; the API checks its contents, and drops large metadata."""

    arrowSchema: Required[str]
    dyffSchema: DyffDataSchema | msgspec.Struct | None
    jsonSchema: Mapping[str, Any] | None


class SchemaAdapter(TypedDict, total=False):
    """A step of a pipeline that transforms JSON objects. `configuration`: free-form JSON, interpreted according to the kind."""

    kind: Required[str]
    configuration: Mapping[str, Any] | None


class DataView(TypedDict, total=False):
    """A view of data through a pipeline."""

    id: Required[str]
    viewOf: Required[str]
    schema: Required[DataSchema | msgspec.Struct]
    adapterPipeline: Sequence[SchemaAdapter | msgspec.Struct] | None


class DatasetCreateRequest(TypedDict, total=False):
    """Declares a dataset: all files with their digests, before they are uploaded."""

    name: Required[str]
    artifacts: Required[Sequence[Artifact | msgspec.Struct]]
    schema: Required[DataSchema | msgspec.Struct]
    views: Sequence[DataView | msgspec.Struct]
    schemaVersion: Literal["0.1"]
    account: Required[str]


class EvaluationClientConfiguration(TypedDict, total=False):
    """Configuration of the evaluation client, with the published defaults."""

    badRequestPolicy: Literal["Abort", "Skip"]
    transientErrorRetryLimit: int
    transientErrorRetryDelaySeconds: int
    duplicateOutputPolicy: Literal["Deduplicate", "Error", "Ignore"]
    missingOutputPolicy: Literal["Error", "Ignore"]
    requestTimeoutSeconds: int
    totalTimeoutSeconds: int
    batchSize: int
    extraOptions: Mapping[str, str]
    inputPipeline: Sequence[SchemaAdapter | msgspec.Struct] | None


class AcceleratorGPU(TypedDict, total=False):
    """GPUs: `count` devices of any of `hardwareTypes` (such as `nvidia.com/gpu-t4`)."""

    hardwareTypes: Required[Sequence[str]]
    count: int
    memory: str | None


class Accelerator(TypedDict, total=False):
    """Hardware accelerators."""

    kind: Required[str]
    gpu: AcceleratorGPU | msgspec.Struct | None


class SessionSpec(TypedDict, total=False):
    """How to run a service. `expires`: UTC if it has no time zone."""

    inferenceService: Required[str]
    expires: datetime | str | None
    replicas: int
    accelerator: Accelerator | msgspec.Struct | None
    useSpotPods: bool


class EvaluationCreateRequest(TypedDict, total=False):
    """Requests an evaluation of a service that is started for it, or of a running session."""

    dataset: Required[str]
    replications: int
    workersPerReplica: int | None
    client: EvaluationClientConfiguration | msgspec.Struct
    inferenceSession: SessionSpec | msgspec.Struct | None
    inferenceSessionReference: str | None
    schemaVersion: Literal["0.1"]
    account: Required[str]


class InferenceInterface(TypedDict, total=False):
    """How data gets in and out. `endpoint`: the path below the service to which inference requests go."""

    endpoint: Required[str]
    outputSchema: Required[DataSchema | msgspec.Struct]
    inputPipeline: Sequence[SchemaAdapter | msgspec.Struct] | None
    outputPipeline: Sequence[SchemaAdapter | msgspec.Struct] | None


class ModelResources(TypedDict, total=False):
    """Resource requests of a container."""

    storage: str | None
    memory: str | None
    cpu: str | None


class EnvVar(TypedDict, total=False):
    """An environment variable."""

    name: Required[str]
    value: Required[str]


class ContainerImageSource(TypedDict, total=False):
    """A container image, which is always pulled by digest."""

    host: Required[str]
    name: Required[str]
    digest: Required[str]
    tag: str | None


class EntityIdentifier(TypedDict, total=False):
    """Identifies one entity."""

    id: Required[str]
    kind: Required[
        Literal[
            "Account",
            "Analysis",
            "Audit",
            "AuditProcedure",
            "Challenge",
            "Curve",
            "DataSource",
            "Dataset",
            "Evaluation",
            "Family",
            "Hazard",
            "History",
            "InferenceService",
            "InferenceSession",
            "Measurement",
            "Method",
            "Model",
            "Module",
            "OCIArtifact",
            "Pipeline",
            "PipelineRun",
            "Quota",
            "Report",
            "Revision",
            "SafetyCase",
            "Submission",
            "Team",
            "UseCase",
        ]
    ]


class VolumeMountData(TypedDict, total=False):
    """Mounts the files of a Model or Dataset."""

    source: Required[EntityIdentifier | msgspec.Struct]


class VolumeMountScratch(TypedDict, total=False):
    """Mounts an empty volume."""

    capacity: Required[str]


class VolumeMount(TypedDict, total=False):
    """A volume in a container. Kind `Data` needs `data`, kind `Scratch` needs `scratch`."""

    kind: Required[Literal["Data", "Scratch"]]
    name: Required[str]
    mountPath: Required[str]
    data: VolumeMountData | msgspec.Struct | None
    scratch: VolumeMountScratch | msgspec.Struct | None


class InferenceServiceRunner(TypedDict, total=False):
    """The serving container. Exactly one of `image` and `imageRef` is required."""

    kind: Required[Literal["bentoml_service_openllm", "container", "huggingface", "mock", "standalone", "vllm"]]
    resources: Required[ModelResources | msgspec.Struct]
    args: Sequence[str] | None
    command: Sequence[str] | None
    env: Sequence[EnvVar | msgspec.Struct] | None
    image: ContainerImageSource | msgspec.Struct | None
    imageRef: EntityIdentifier | msgspec.Struct | None
    volumeMounts: Sequence[VolumeMount | msgspec.Struct] | None
    workingDir: str | None
    accelerator: Accelerator | msgspec.Struct | None
    nodes: int


class InferenceServiceBuilder(TypedDict, total=False):
    """How the service is built; published, but unused."""

    kind: Required[str]
    args: Sequence[str] | None


class InferenceServiceCreateRequest(TypedDict, total=False):
    """Describes a service. `model`: the ID of the Model behind it."""

    name: Required[str]
    interface: Required[InferenceInterface | msgspec.Struct]
    runner: Required[InferenceServiceRunner | msgspec.Struct | None]
    builder: InferenceServiceBuilder | msgspec.Struct | None
    outputViews: Sequence[DataView | msgspec.Struct]
    model: str | None
    schemaVersion: Literal["0.1"]
    account: Required[str]


class InferenceSessionCreateRequest(TypedDict, total=False):
    """Requests a running service. `expires`: None for the server's default."""

    inferenceService: Required[str]
    expires: datetime | str | None
    replicas: int
    accelerator: Accelerator | msgspec.Struct | None
    useSpotPods: bool
    schemaVersion: Literal["0.1"]
    account: Required[str]


class ModelArtifactHuggingFaceCache(TypedDict, total=False):
    """The files, laid out as in a Hugging Face cache directory."""

    repoID: Required[str]
    revision: Required[str]


class File(TypedDict, total=False):
    """A file of a volume. `size`: in bytes."""

    path: Required[str]
    size: Required[int]
    mediaType: str | None
    digest: Digest | msgspec.Struct


class Volume(TypedDict, total=False):
    """A tree of files."""

    files: Required[Sequence[File | msgspec.Struct]]


class ModelArtifact(TypedDict, total=False):
    """How a model's data is represented: exactly the field that belongs to its kind."""

    kind: Required[Literal["HuggingFaceCache", "Mock", "Volume"]]
    huggingFaceCache: ModelArtifactHuggingFaceCache | msgspec.Struct | None
    volume: Volume | msgspec.Struct | None


class ModelSourceGitLFS(TypedDict, total=False):
    """A public Git repository with large files."""

    url: Required[str]


class ModelSourceHuggingFaceHub(TypedDict, total=False):
    """A model of the Hugging Face hub at a revision. The patterns select files, with shell syntax."""

    repoID: Required[str]
    revision: Required[str]
    allowPatterns: Sequence[str] | None
    ignorePatterns: Sequence[str] | None


class ModelSourceOpenLLM(TypedDict, total=False):
    """A model that OpenLLM knows."""

    modelKind: Required[str]
    modelID: Required[str]
    modelVersion: Required[str]


class ModelSource(TypedDict, total=False):
    """Where a model comes from: exactly the field that belongs to its kind."""

    kind: Required[Literal["GitLFS", "HuggingFaceHub", "Mock", "OpenLLM", "Upload"]]
    gitLFS: ModelSourceGitLFS | msgspec.Struct | None
    huggingFaceHub: ModelSourceHuggingFaceHub | msgspec.Struct | None
    openLLM: ModelSourceOpenLLM | msgspec.Struct | None


class ModelStorage(TypedDict, total=False):
    """Where the data is kept; published, and deprecated there."""

    medium: Required[Literal["Mock", "ObjectStorage", "PersistentVolume", "FUSEVolume"]]


class ModelCreateRequest(TypedDict, total=False):
    """Declares a model. One that is fetched from the hub has the same `repoID` in its source and in its artifact."""

    name: Required[str]
    artifact: Required[ModelArtifact | msgspec.Struct]
    source: Required[ModelSource | msgspec.Struct]
    resources: Required[ModelResources | msgspec.Struct]
    storage: ModelStorage | msgspec.Struct | None
    accelerators: Sequence[Accelerator | msgspec.Struct] | None
    schemaVersion: Literal["0.1"]
    account: Required[str]


class AccessGrant(TypedDict, total=False):
    """Grants `functions` on `resources` that belong to `accounts` or are among `entities`."""

    resources: Required[
        Sequence[
            Literal[
                "accounts",
                "analyses",
                "artifacts",
                "audits",
                "auditprocedures",
                "challenges",
                "concerns",
                "curves",
                "datasets",
                "datasources",
                "descriptors",
                "documentation",
                "evaluations",
                "families",
                "hazards",
                "histories",
                "inferenceservices",
                "inferencesessions",
                "measurements",
                "methods",
                "models",
                "modules",
                "pipelines",
                "pipelineruns",
                "quotas",
                "reports",
                "revisions",
                "safetycases",
                "scores",
                "submissions",
                "teams",
                "usecases",
                "tasks",
                "chores/validate-schema",
                "*",
            ]
        ]
    ]
    functions: Required[
        Sequence[Literal["consume", "create", "get", "query", "edit", "download", "upload", "data", "strata", "terminate", "delete", "*"]]
    ]
    accounts: Sequence[str]
    entities: Sequence[str]


class AccountPermissionsSetRequest(TypedDict, total=False):
    """Replaces all permissions of an account."""

    permissions: Required[Sequence[AccessGrant | msgspec.Struct]]
    schemaVersion: Literal["0.1"]


class AccountTokenCreateRequest(TypedDict, total=False):
    """Requests a token with some of the account's permissions."""

    grants: Required[Sequence[AccessGrant | msgspec.Struct]]
    expires: Required[datetime | str]
    schemaVersion: Literal["0.1"]


class DocumentationPatch(TypedDict, total=False):
    """Sets texts. Null removes a text; texts that are not given stay."""

    title: str | None
    summary: str | None
    fullPage: str | None


class DocumentationEditRequest(TypedDict, total=False):
    """Changes an entity's documentation."""

    documentation: Required[DocumentationPatch | msgspec.Struct]
    schemaVersion: Literal["0.1"]


class InferenceSessionTokenCreateRequest(TypedDict, total=False):
    """Requests a token for one session. `expires`: None for the lifetime of the session."""

    expires: datetime | str | None
    schemaVersion: Literal["0.1"]
