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


class FamilyCreateRequest(TypedDict, total=False):
    """Creates a family without members. `memberKind`: the kind that all of them have."""

    memberKind: Required[Literal["Dataset", "InferenceService", "Method", "Model", "Module"]]
    schemaVersion: Literal["0.1"]
    account: Required[str]


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


class FamilyMemberBase(TypedDict, total=False):
    """What a tag stands for. `description`: how this version differs from others."""

    entity: Required[EntityIdentifier | msgspec.Struct]
    description: str | None


class FamilyMembersEditRequest(TypedDict, total=False):
    """Sets tags; null removes one, those not named stay. A tag can be moved to another entity."""

    members: Required[Mapping[str, FamilyMemberBase | msgspec.Struct | None]]
    schemaVersion: Literal["0.1"]


class Documentation(TypedDict, total=False):
    """Texts for people. `summary` and `fullPage` are Markdown."""

    title: str | None
    summary: str | None
    fullPage: str | None


class ConcernCreateRequest(TypedDict, total=False):
    """Describes a use case or a hazard. A method refers to it by the label `<plural>.dyff.io/<ID>`, whose value is 1."""

    documentation: Documentation | msgspec.Struct
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


class AnalysisScope(TypedDict, total=False):
    """What the results are about. A method for services needs `inferenceService`; one for evaluations `dataset` and `evaluation` too."""

    dataset: str | None
    inferenceService: str | None
    evaluation: str | None
    model: str | None


class AnalysisArgument(TypedDict, total=False):
    """The value of a parameter of the method: always a string, which the method reads as what it needs."""

    keyword: Required[str]
    value: Required[str]


class AnalysisInput(TypedDict, total=False):
    """The entity whose data the method reads as `keyword`: its ID, or `<family>@<tag>`."""

    keyword: Required[str]
    entity: Required[str]


class AnalysisCreateRequest(TypedDict, total=False):
    """Applies a method to data. `method`: its ID, or `<family>@<tag>`."""

    method: Required[str]
    scope: AnalysisScope | msgspec.Struct
    arguments: Sequence[AnalysisArgument | msgspec.Struct]
    inputs: Sequence[AnalysisInput | msgspec.Struct]
    reproduces: str | None
    schemaVersion: Literal["0.1"]
    account: Required[str]


class MethodImplementationPythonFunction(TypedDict, total=False):
    """A function, called with the arguments as a dict, and the inputs as keywords. It yields Arrow record batches."""

    fullyQualifiedName: Required[str]


class MethodImplementationPythonRubric(TypedDict, total=False):
    """A rubric, as older releases had it: a class that makes one row for each item."""

    fullyQualifiedName: Required[str]


class MethodImplementationJupyterNotebook(TypedDict, total=False):
    """A notebook in a module, which must be one of `modules` as well."""

    notebookModule: Required[str]
    notebookPath: Required[str]


class MethodImplementation(TypedDict, total=False):
    """The code. The field that belongs to its `kind` is required: `pythonFunction`, `pythonRubric` or `jupyterNotebook`."""

    kind: Required[str]
    pythonFunction: MethodImplementationPythonFunction | msgspec.Struct | None
    pythonRubric: MethodImplementationPythonRubric | msgspec.Struct | None
    jupyterNotebook: MethodImplementationJupyterNotebook | msgspec.Struct | None


class MeasurementSpec(TypedDict, total=False):
    """A table. `level`: `Instance` for one row for each item, which then has `_index_`; `Dataset` for rows about the whole."""

    name: Required[str]
    level: Required[Literal["Dataset", "Instance"]]
    schema: Required[DataSchema | msgspec.Struct]
    description: str | None


class SafetyCaseSpec(TypedDict, total=False):
    """A document."""

    name: Required[str]
    description: str | None


class MethodOutput(TypedDict, total=False):
    """What the method makes. The field that belongs to its `kind` is required: `measurement` or `safetyCase`."""

    kind: Required[Literal["Measurement", "SafetyCase"]]
    measurement: MeasurementSpec | msgspec.Struct | None
    safetyCase: SafetyCaseSpec | msgspec.Struct | None


class MethodParameter(TypedDict, total=False):
    """A parameter. Its argument is always a string."""

    keyword: Required[str]
    description: str | None


class MethodInput(TypedDict, total=False):
    """Data that the method reads."""

    kind: Required[Literal["Dataset", "Evaluation", "Measurement", "Report"]]
    keyword: Required[str]
    description: str | None


class ScoreSpec(TypedDict, total=False):
    """A score. `valence`: whether more is better. `minimum`, `maximum`: of its quantity; None if not known."""

    name: Required[str]
    title: Required[str]
    summary: Required[str]
    valence: Literal["positive", "negative", "neutral"]
    priority: Literal["primary", "secondary"]
    minimum: float | None
    maximum: float | None
    format: str
    unit: str | None


class ScoreOrCurveSpec(TypedDict, total=False):
    """A score or, if it has `dimensions`, a curve. A curve has only name, title, summary and dimensions."""

    name: Required[str]
    title: Required[str]
    summary: Required[str]
    valence: Literal["positive", "negative", "neutral"]
    priority: Literal["primary", "secondary"]
    minimum: float | None
    maximum: float | None
    format: str
    unit: str | None
    dimensions: Mapping[str, ScoreSpec | msgspec.Struct]


class MethodCreateRequest(TypedDict, total=False):
    """Describes a method. `scope`: what its results are about. `analysisImage`: the environment; None for the server's own."""

    name: Required[str]
    scope: Required[Literal["InferenceService", "Evaluation"]]
    implementation: Required[MethodImplementation | msgspec.Struct]
    output: Required[MethodOutput | msgspec.Struct]
    description: str | None
    parameters: Sequence[MethodParameter | msgspec.Struct]
    inputs: Sequence[MethodInput | msgspec.Struct]
    scores: Sequence[ScoreOrCurveSpec | msgspec.Struct]
    modules: Sequence[str]
    analysisImage: ContainerImageSource | msgspec.Struct | None
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


class ModuleCreateRequest(TypedDict, total=False):
    """Declares a module: all files with their digests, before they are uploaded. Its root is a place from which Python imports."""

    name: Required[str]
    artifacts: Required[Sequence[Artifact | msgspec.Struct]]
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


class ClaimPatch(TypedDict, total=False):
    """Sets texts, among them what the case claims. Null removes a text; texts that are not given stay."""

    title: str | None
    summary: str | None
    fullPage: str | None
    claim: str | None
    scope: str | None
    assumptions: str | None
    limits: str | None
    evaluators: str | None
    relationship: Literal["first_party", "third_party", "collaborative", "other"] | None


class ClaimEditRequest(TypedDict, total=False):
    """Changes the documentation of a kind that has a page: its texts, and what it claims."""

    documentation: Required[ClaimPatch | msgspec.Struct]
    schemaVersion: Literal["0.1"]


class InferenceSessionTokenCreateRequest(TypedDict, total=False):
    """Requests a token for one session. `expires`: None for the lifetime of the session."""

    expires: datetime | str | None
    schemaVersion: Literal["0.1"]
