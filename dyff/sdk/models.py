"""What the server answers, as typed values. Fields that are not listed here are kept in nothing and ignored."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec


class Identified(Protocol):
    """What names an entity."""

    @property
    def kind(self) -> str:
        """Such as `Dataset`."""
        ...

    @property
    def id(self) -> str:
        """Its ID."""
        ...


class Entity(msgspec.Struct, kw_only=True, frozen=True):
    """What all kinds share. `status`: see docs/statuses. `reason` and `message`: why it is so, None: nothing to say."""

    id: str
    account: str
    kind: str
    status: str
    reason: str | None = None
    message: str | None = None
    creationTime: str | None = None
    lastTransitionTime: str | None = None
    labels: dict[str, str | None] = {}
    metadata: dict[str, Any] = {}


class Digest(msgspec.Struct, kw_only=True, frozen=True):
    """`md5`: base64."""

    md5: str | None = None


class Artifact(msgspec.Struct, kw_only=True, frozen=True):
    """A file. `path`: relative, POSIX."""

    path: str
    kind: str | None = None
    digest: Digest = Digest()


class SignedURL(msgspec.Struct, kw_only=True, frozen=True):
    """A URL that needs no token; `headers` must be sent with it."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}


class Downlink(msgspec.Struct, kw_only=True, frozen=True):
    """An artifact and where to get it."""

    artifact: Artifact
    signedURL: SignedURL


class Status(msgspec.Struct, kw_only=True, frozen=True):
    """How an entity is now."""

    status: str
    reason: str | None = None
    message: str | None = None


class Progress(msgspec.Struct, kw_only=True, frozen=True):
    """How far a run is. `done` of `total` items, `rate` items a second; None: not known."""

    stage: str = ""
    done: int | None = None
    total: int | None = None
    rate: float | None = None


class LogEntry(msgspec.Struct, kw_only=True, frozen=True):
    """A line that a pod of a workflow wrote. `labels`: which pod."""

    timestamp: str
    message: str
    labels: dict[str, str] = {}

    def __hash__(self) -> int:
        return hash((self.timestamp, self.message))


class WorkflowLogs(msgspec.Struct, kw_only=True, frozen=True):
    """The last lines of a workflow. `totalLines`: that there are."""

    workflow: dict[str, Any]
    logs: list[LogEntry]
    totalLines: int = 0


class AccessGrant(msgspec.Struct, kw_only=True, frozen=True):
    """All of `functions` on all of `resources` of the `accounts` and `entities`; `*` means all."""

    resources: list[str]
    functions: list[str]
    accounts: list[str] = []
    entities: list[str] = []


class APIKey(msgspec.Struct, kw_only=True, frozen=True):
    """A token, without its secret. `created` and `expires`: ISO 8601."""

    id: str
    subject: str
    grants: list[AccessGrant]
    created: str
    expires: str


class Documentation(msgspec.Struct, kw_only=True, frozen=True):
    """Texts for people."""

    title: str | None = None
    summary: str | None = None
    fullPage: str | None = None


class Dataset(Entity, kw_only=True, frozen=True):
    """Rows to be evaluated on. `schema`: with `arrowSchema`, the base64 of the serialized Arrow schema."""

    name: str
    artifacts: list[Artifact]
    schema: dict[str, Any]


class File(msgspec.Struct, kw_only=True, frozen=True):
    """A file of a model."""

    path: str
    size: int
    digest: Digest = Digest()


class Volume(msgspec.Struct, kw_only=True, frozen=True):
    """The files of a model."""

    files: list[File]


class ModelArtifact(msgspec.Struct, kw_only=True, frozen=True):
    """What a model consists of. `kind`: Volume, HuggingFaceCache or Mock."""

    kind: str
    volume: Volume | None = None
    huggingFaceCache: dict[str, Any] | None = None


class Model(Entity, kw_only=True, frozen=True):
    """Weights, and where they came from."""

    name: str
    artifact: ModelArtifact
    source: dict[str, Any]
    resources: dict[str, Any] = {}


class InferenceInterface(msgspec.Struct, kw_only=True, frozen=True):
    """How an item becomes a request and an answer rows."""

    endpoint: str
    outputSchema: dict[str, Any]
    inputPipeline: list[dict[str, Any]] | None = None
    outputPipeline: list[dict[str, Any]] | None = None


class InferenceService(Entity, kw_only=True, frozen=True):
    """How a model is served."""

    name: str
    interface: InferenceInterface
    runner: dict[str, Any] | None = None
    model: dict[str, Any] | None = None


class ForeignInferenceService(msgspec.Struct, kw_only=True, frozen=True):
    """A service as a session or an evaluation carries it."""

    id: str
    account: str
    name: str
    interface: InferenceInterface
    runner: dict[str, Any] | None = None
    model: dict[str, Any] | None = None


class InferenceSession(Entity, kw_only=True, frozen=True):
    """A running service."""

    inferenceService: ForeignInferenceService
    replicas: int = 1
    expires: str | None = None


class InferenceSessionAndToken(msgspec.Struct, kw_only=True, frozen=True):
    """A new session and the token for it."""

    inferencesession: InferenceSession
    token: str


class EvaluationSession(msgspec.Struct, kw_only=True, frozen=True):
    """The session that an evaluation runs on."""

    inferenceService: ForeignInferenceService
    replicas: int = 1
    expires: str | None = None


class Evaluation(Entity, kw_only=True, frozen=True):
    """A service run on a dataset."""

    dataset: str
    inferenceSession: EvaluationSession
    inferenceSessionReference: str | None = None
    replications: int = 1
    workersPerReplica: int | None = None
    client: dict[str, Any] = {}


T = TypeVar("T")


def read(value: Any, form: type[T]) -> T:
    """`value`, decoded JSON, as `form`."""
    return msgspec.convert(value, form)
