"""What a step is told: its manifest file and its environment.

The manifest of an evaluation's steps is JSON: `{"spec": <the custom resource's spec>, "session": {"url", "replicas"?,
"readinessPath"?}}`. It is stored data, so unknown keys are ignored.

That of a model's fetch is `{"spec": <the custom resource's spec>}`.

Environment: `DYFF_STORAGE_URL` (the object store, `file:///absolute/directory`, or a cloud's, as `dyff.objects.stores` says,
with its credentials beside it as the cloud names them), `DYFF_ATTEMPT` (the attempt's name, under which it writes: the
pod's name).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dyff.entities import codecs, specs
from dyff.kernel import errors
from dyff.objects import layout, port, stores
from dyff.workflows import endings

M = TypeVar("M")


class Client(msgspec.Struct, frozen=True, rename="camel"):
    """The published knobs of the evaluation client. Times of 0 s mean no limit."""

    bad_request_policy: str = "Abort"
    transient_error_retry_limit: int = 120
    transient_error_retry_delay_seconds: float = 30
    duplicate_output_policy: str = "Deduplicate"
    missing_output_policy: str = "Error"
    request_timeout_seconds: float = 30
    total_timeout_seconds: float = 7200
    batch_size: int = 1000
    extra_options: dict[str, str] = {}
    input_pipeline: list[dict[str, Any]] | None = None


class OutputSchema(msgspec.Struct, frozen=True, rename="camel"):
    """`arrow_schema`: base64 of the serialized Arrow schema."""

    arrow_schema: str


class Interface(msgspec.Struct, frozen=True, rename="camel"):
    """How a service is called. Each adapter's `configuration` is JSON in a string."""

    endpoint: str
    output_schema: OutputSchema
    input_pipeline: list[dict[str, Any]] | None = None
    output_pipeline: list[dict[str, Any]] | None = None


class Template(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a session's template that the client needs."""

    replicas: int = 1


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """The spec of an Evaluation's custom resource (`dyff.entities.resources.evaluation_spec`)."""

    id: str
    dataset: str
    interface: Interface
    replications: int = 1
    workers_per_replica: int = 2
    client: Client = Client()
    inference_session: Template | None = None

    def replication_ids(self) -> list[str]:
        """The replications' IDs, in order."""
        return [specs.replication_id(self.id, index) for index in range(self.replications)]


class Session(msgspec.Struct, frozen=True, rename="camel"):
    """Where the service is. `replicas` None: as in the template, or one. `readiness_path`: answers 200 when ready."""

    url: str
    replicas: int | None = None
    readiness_path: str = "/ready"


class Evaluation(msgspec.Struct, frozen=True):
    """A manifest. `session` None: the step doesn't need one."""

    spec: Spec
    session: Session | None = None


class HuggingFaceHub(msgspec.Struct, frozen=True, rename={"repo_id": "repoID", "allow": "allowPatterns", "ignore": "ignorePatterns"}):
    """A repository of the hub at a revision. The patterns choose files, as in a shell; None: all, none."""

    repo_id: str
    revision: str
    allow: list[str] | None = None
    ignore: list[str] | None = None


class GitLFS(msgspec.Struct, frozen=True):
    """A Git repository."""

    url: str


class ModelSource(msgspec.Struct, frozen=True, rename={"hugging_face_hub": "huggingFaceHub", "git_lfs": "gitLFS"}):
    """Where a model comes from: the field of its kind."""

    kind: str
    hugging_face_hub: HuggingFaceHub | None = None
    git_lfs: GitLFS | None = None


class HuggingFaceCache(msgspec.Struct, frozen=True, rename={"repo_id": "repoID"}):
    """How a cache directory names the model."""

    repo_id: str
    revision: str


class ModelArtifact(msgspec.Struct, frozen=True, rename="camel"):
    """How the model's files are laid out."""

    kind: str
    hugging_face_cache: HuggingFaceCache | None = None


class ModelResources(msgspec.Struct, frozen=True):
    """`storage`: a Kubernetes quantity; None: no limit."""

    storage: str | None = None


class ModelSpec(msgspec.Struct, frozen=True):
    """The spec of a Model's custom resource (`dyff.entities.resources.model_spec`)."""

    id: str
    source: ModelSource
    artifact: ModelArtifact
    resources: ModelResources = ModelResources()


class Model(msgspec.Struct, frozen=True):
    """A manifest of a fetch."""

    spec: ModelSpec


def evaluation(arguments: list[str], step: str) -> Evaluation:
    """The manifest that `--manifest FILE` names.

    Raises:
        Misconfigured: it cannot be read or is wrong; the message names the field.
    """
    return _read(arguments, step, Evaluation)


def model(arguments: list[str], step: str) -> Model:
    """Like `evaluation`, for the fetch of a model."""
    return _read(arguments, step, Model)


def _read(arguments: list[str], step: str, kind: type[M]) -> M:
    parser = endings.Arguments(prog=step)
    parser.add_argument("--manifest", required=True, type=Path, help="the manifest file, JSON")
    file = parser.parse_args(arguments).manifest
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise errors.Misconfigured(f"the manifest {file} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise errors.Misconfigured(f"the manifest {file} is wrong: {error}") from error


def adapters(pipeline: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """A custom resource's pipeline with its configurations as objects; None: no adapters.

    Raises:
        Misconfigured: a configuration is not JSON.
    """
    return [{**adapter, "configuration": _configuration(adapter.get("configuration"))} for adapter in pipeline or []]


def _configuration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return codecs.decode(value)
    except ValueError as error:
        raise errors.Misconfigured(f"an adapter's configuration is not JSON: {error}") from error


def store() -> port.Objects:
    """The object store of this step.

    Raises:
        Misconfigured: `DYFF_STORAGE_URL` is missing or wrong.
    """
    return stores.open_store(_variable("DYFF_STORAGE_URL", "the URL of the object store, such as file:///absolute/directory"), os.environ)


def attempt() -> str:
    """The name of this attempt.

    Raises:
        Misconfigured: `DYFF_ATTEMPT` is missing or cannot be part of a key.
    """
    name = _variable("DYFF_ATTEMPT", "the name of this attempt, for instance the pod's")
    problem = layout.path_problem(name)
    if problem or "/" in name:
        raise errors.Misconfigured(f"DYFF_ATTEMPT={name!r} {problem or 'must not contain /'}")
    return name


def _variable(name: str, meaning: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise errors.Misconfigured(f"the environment variable {name} is missing: set it to {meaning}")
    return value
