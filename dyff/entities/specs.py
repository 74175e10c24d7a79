"""The specs of custom resources: written by the orchestrator and possibly kubectl, read by the operator and the steps.

These structs are the only description of them: the CustomResourceDefinitions (`dyff.entities.definitions`) are generated from them,
and the local cluster validates against them. A field that is not here does not reach the operator, since an API server prunes it.
Specs are stored data, so fields that a later release adds are ignored. None means that the field is absent.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from dyff.entities import codecs, compute, identity, knobs
from dyff.kernel import ids

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

Identity = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
Quantity = compute.Quantity | Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=identity.MAX_COUNT)]
Few = Annotated[list[T], msgspec.Meta(max_length=100)]


EntityID = Annotated[Identity, msgspec.Meta(description="ID of the entity, 32 lower-case hex digits; its files are stored under it")]
Owner = Annotated[identity.Account, msgspec.Meta(description="Who owns it; a label of its pods")]


class Spec(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The fields that all specs share: the ID and the owner."""

    id: EntityID
    account: Owner


class EnvVar(msgspec.Struct, frozen=True):
    """A variable of the runner's environment."""

    name: identity.Short
    value: identity.Text = ""


class Resources(msgspec.Struct, frozen=True):
    """Kubernetes quantities by `cpu` and `memory`."""

    requests: dict[str, Quantity] = {}


class Gpu(msgspec.Struct, frozen=True, rename="camel"):
    """`count` devices of the first of `hardwareTypes`, which are names of cluster resources."""

    hardware_types: Annotated[list[identity.Short], msgspec.Meta(min_length=1, max_length=100)]
    count: Count = 1
    memory: Quantity | None = None


class Accelerator(msgspec.Struct, frozen=True):
    """An accelerator: hardware other than the CPU that computes."""

    kind: Literal["GPU"]
    gpu: Gpu | None = None


class Source(msgspec.Struct, frozen=True):
    """The entity whose files a volume contains."""

    kind: Literal["Dataset", "Model"]
    id: Identity


def model_source(model: str) -> Source:
    """The files of the Model with that ID."""
    return Source("Model", model)


class DataVolume(msgspec.Struct, frozen=True, rename="camel", tag="Data", tag_field="kind"):
    """An entity's files, read-only."""

    name: identity.Short
    mount_path: identity.Text
    source: Source


class ScratchVolume(msgspec.Struct, frozen=True, rename="camel", tag="Scratch", tag_field="kind"):
    """Writable space that is deleted with the pod."""

    name: identity.Short
    mount_path: identity.Text
    capacity: Quantity


class HuggingFace(msgspec.Struct, frozen=True, rename={"repo_id": "repoID"}):
    """A model in a Hugging Face cache."""

    repo_id: identity.Short
    revision: identity.Short

    @property
    def folder(self) -> str:
        """The model's folder inside the cache, in the layout of the Hugging Face libraries."""
        return f"models--{self.repo_id.replace('/', '--')}"

    @property
    def snapshot(self) -> str:
        """The folder of the revision inside the cache."""
        return f"{self.folder}/snapshots/{self.revision}"


class Template(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Everything needed to run an inference service."""

    runner: Annotated[identity.Short, msgspec.Meta(description="Kind of the runner: mock, container, vllm, huggingface, ...")]
    service: Annotated[Identity | None, msgspec.Meta(description="ID of the InferenceService")] = None
    model: Annotated[Identity | None, msgspec.Meta(description="ID of the Model behind the service")] = None
    hugging_face: HuggingFace | None = None
    image: Annotated[identity.Text | None, msgspec.Meta(description="Container image, host/name@digest; the mock runner has one")] = None
    args: Few[identity.Text] = []
    command: Few[identity.Text] | None = None
    env: Few[EnvVar] = []
    working_dir: identity.Text | None = None
    resources: Resources = Resources()
    replicas: Annotated[Count, msgspec.Meta(description="Pods that serve")] = 1
    nodes: Annotated[Count, msgspec.Meta(description="Nodes of each replica")] = 1
    accelerator: Accelerator | None = None
    use_spot_pods: Annotated[bool, msgspec.Meta(description="Whether pods may run where they can be evicted")] = True
    expires: Annotated[datetime, msgspec.Meta(tz=True, description="When the session ends, RFC 3339 with a zone")] | None = None
    volumes: Few[DataVolume | ScratchVolume] = []


class Session(Template, frozen=True, kw_only=True):
    """An InferenceSession: a service that runs until it expires or is deleted."""

    id: EntityID
    account: Owner


class Adapter(msgspec.Struct, frozen=True):
    """A step of a pipeline. Its configuration is JSON in a string: a CustomResourceDefinition cannot hold free-form JSON."""

    kind: identity.Short
    configuration: Annotated[str, msgspec.Meta(max_length=2**20, description="JSON")] = "{}"


class OutputSchema(msgspec.Struct, frozen=True, rename="camel"):
    """The schema of a row of the outputs."""

    arrow_schema: Annotated[str, msgspec.Meta(max_length=2**20, description="Base64 of the serialized Arrow schema")]


class Interface(msgspec.Struct, frozen=True, rename="camel"):
    """How the service is called, and how items and responses are transformed."""

    endpoint: Annotated[identity.Text, msgspec.Meta(description="Path below the service that inference calls")]
    output_schema: OutputSchema
    input_pipeline: Few[Adapter] | None = None
    output_pipeline: Few[Adapter] | None = None


class Client(knobs.ClientKnobs[Adapter], frozen=True):
    """Configuration of the evaluation client. Times in seconds; 0 for no limit."""


class Evaluation(Spec, frozen=True, kw_only=True):
    """An Evaluation: a dataset sent through a new inference session or a running one, and then verified."""

    dataset: Annotated[Identity, msgspec.Meta(description="ID of the Dataset")]
    interface: Interface
    replications: Annotated[Count, msgspec.Meta(description="How often each item is sent")] = 1
    workers_per_replica: Annotated[Count, msgspec.Meta(description="Requests at once to each replica")] = 2
    client: Client = Client()
    inference_session: Annotated[Template | None, msgspec.Meta(description="A session that is started for the evaluation")] = None
    inference_session_reference: Annotated[Identity | None, msgspec.Meta(description="ID of a session that runs already")] = None

    def __post_init__(self) -> None:
        """Refuse a spec that names no session, or two."""
        if (self.inference_session is None) == (self.inference_session_reference is None):
            raise ValueError("exactly one of inferenceSession and inferenceSessionReference is needed")


class GitLFS(msgspec.Struct, frozen=True):
    """A Git repository with large files."""

    url: identity.Text


class HuggingFaceHub(msgspec.Struct, frozen=True, rename={"repo_id": "repoID", "allow": "allowPatterns", "ignore": "ignorePatterns"}):
    """A repository of the hub at a revision. The patterns select files, with shell syntax."""

    repo_id: identity.Short
    revision: identity.Short
    allow: Few[identity.Text] | None = None
    ignore: Few[identity.Text] | None = None


class OpenLLM(msgspec.Struct, frozen=True, rename={"model_kind": "modelKind", "model_id": "modelID", "model_version": "modelVersion"}):
    """A model that OpenLLM knows; published, but not fetched."""

    model_kind: identity.Short
    model_id: identity.Short
    model_version: identity.Short


class ModelSource(msgspec.Struct, frozen=True, rename={"git_lfs": "gitLFS", "hugging_face_hub": "huggingFaceHub", "open_llm": "openLLM"}):
    """Where a model comes from: the field that belongs to its kind."""

    kind: Literal["GitLFS", "HuggingFaceHub", "Mock", "OpenLLM", "Upload"]
    git_lfs: GitLFS | None = None
    hugging_face_hub: HuggingFaceHub | None = None
    open_llm: OpenLLM | None = None


class Digest(msgspec.Struct, frozen=True):
    """`md5` in base64."""

    md5: identity.Short | None = None


class File(msgspec.Struct, frozen=True, rename="camel"):
    """A file of a model."""

    path: identity.Text
    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    media_type: identity.Short | None = None
    digest: Digest = Digest()


class Volume(msgspec.Struct, frozen=True):
    """A tree of files."""

    files: Annotated[list[File], msgspec.Meta(max_length=10_000)] = []


class Artifact(msgspec.Struct, frozen=True, rename="camel"):
    """How a model's files are laid out."""

    kind: Literal["HuggingFaceCache", "Mock", "Volume"]
    hugging_face_cache: HuggingFace | None = None
    volume: Volume | None = None


class Model(Spec, frozen=True, kw_only=True):
    """A Model that is fetched."""

    source: ModelSource
    artifact: Artifact
    resources: Annotated[dict[str, Quantity], msgspec.Meta(description="What the fetch asks for: cpu, memory, storage")] = {}


class Service(Template, frozen=True, kw_only=True):
    """An InferenceService. It runs nothing itself; its sessions do."""

    id: EntityID
    account: Owner


class Scope(msgspec.Struct, frozen=True, rename="camel"):
    """The IDs of the entities that an analysis is about."""

    dataset: Identity | None = None
    inference_service: Identity | None = None
    evaluation: Identity | None = None
    model: Identity | None = None


class Argument(msgspec.Struct, frozen=True):
    """A parameter of the method."""

    keyword: identity.Short
    value: identity.Text


class Input(msgspec.Struct, frozen=True):
    """An entity whose data the method reads, by its ID. `kind`: where its data is."""

    keyword: identity.Short
    entity: identity.Short
    kind: Literal["Dataset", "Evaluation", "Measurement", "Report"]


class Data(msgspec.Struct, frozen=True):
    """Any other data that the method needs, in base64."""

    key: identity.Short
    value: Annotated[str, msgspec.Meta(max_length=2**20)]


class Analysis(Spec, frozen=True, kw_only=True):
    """An Analysis: a method applied to data, for a Measurement or a SafetyCase."""

    kind: Literal["Measurement", "SafetyCase"]
    method: Annotated[Identity, msgspec.Meta(description="ID of the Method")]
    scope: Scope = Scope()
    arguments: Few[Argument] = []
    inputs: Few[Input] = []
    modules: Annotated[list[Identity], msgspec.Meta(max_length=100, description="IDs of the Modules with the code")] = []
    image: Annotated[identity.Short | None, msgspec.Meta(description="The environment; the operator's own if there is none")] = None
    data: Few[Data] = []
    reproduces: Annotated[Identity | None, msgspec.Meta(description="ID of the analysis that is run again: its seed is used")] = None


_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


def read(resource: codecs.Json, kind: type[S]) -> S:
    """The spec of a custom resource.

    Raises:
        ValidationError: a field is missing or wrong; the message names it.
    """
    return msgspec.convert(resource.get("spec") or {}, kind)


def wrong(error: msgspec.ValidationError, root: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], str]:
    """Which field of a spec is wrong, as a path below `root`, and what is wrong with it."""
    sentence, _, at = str(error).partition(" - at `$")
    steps = [int(index) if index.isdecimal() else name or index for name, index in _STEP.findall(at.rstrip("`"))]
    missing = _MISSING.fullmatch(sentence)
    if missing:
        return (*root, *steps, missing.group(1)), "is missing"
    return (*root, *steps), sentence


def replication_id(evaluation_id: str, index: int) -> str:
    """The ID of a replication of an evaluation: uuid5, as published."""
    return ids.child(evaluation_id, str(index))


def session(resource: codecs.Json) -> Session:
    """The spec of an InferenceSession; see `read`."""
    return read(resource, Session)


def evaluation(resource: codecs.Json) -> Evaluation:
    """The spec of an Evaluation; see `read`."""
    return read(resource, Evaluation)


def model(resource: codecs.Json) -> Model:
    """The spec of a Model; see `read`."""
    return read(resource, Model)
