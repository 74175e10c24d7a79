"""The input of a step: its manifest file and its environment.

The manifest of an evaluation's steps is JSON: `{"spec": <the custom resource's spec>, "session": {"url", "replicas"?,
"readinessPath"?}}`. The manifest of a model's fetch is `{"spec": <the custom resource's spec>}`, that of an analysis's steps
`{"spec": <the custom resource's spec>, "limits": {...}}`. Specs are decoded with the
structs of `dyff.entities.specs`, like in the operator. Manifests are stored data, so unknown keys are ignored.

Environment: `DYFF_STORAGE_URL` (the object store: `file:///absolute/directory`, or the URL of a cloud store as in
`dyff.objects.stores`, with credentials in the cloud's usual variables), `DYFF_ATTEMPT` (the name of the attempt, which is
part of the keys that it writes: the pod's name).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from dyff.entities import codecs, specs, tree_paths
from dyff.kernel import errors
from dyff.objects import port, stores
from dyff.workflows import endings

M = TypeVar("M")


class Session(msgspec.Struct, frozen=True, rename="camel"):
    """How to reach the service. `replicas`: None for the template's number, or one. `readiness_path`: answers 200 when ready."""

    url: str
    replicas: int | None = None
    readiness_path: str = "/ready"


class Evaluation(msgspec.Struct, frozen=True):
    """The manifest of an evaluation's step. `session`: None if the step does not need one."""

    spec: specs.Evaluation
    session: Session | None = None


class Model(msgspec.Struct, frozen=True):
    """The manifest of a model's fetch."""

    spec: specs.Model


Bytes = Annotated[int, msgspec.Meta(ge=0)]


class Limits(msgspec.Struct, frozen=True):
    """What an analysis may use. `timeout_s`: of its program, in seconds. `memory_bytes`: of its program; None for no limit of its own.

    `log_bytes`: of what it prints. `file_bytes`: of one file that it writes. `cell_bytes`: of what one cell of a notebook shows.
    `input_bytes`: of its inputs and modules together. `output_bytes`: of its output.
    """

    timeout_s: Annotated[int, msgspec.Meta(ge=1)]
    memory_bytes: Bytes | None
    log_bytes: Bytes
    file_bytes: Bytes
    cell_bytes: Bytes
    input_bytes: Bytes
    output_bytes: Bytes


class Analysis(msgspec.Struct, frozen=True):
    """The manifest of an analysis's step."""

    spec: specs.Analysis
    limits: Limits


def evaluation(arguments: list[str], step: str) -> Evaluation:
    """Read the manifest of an evaluation's step; see `read`."""
    return read(arguments, step, Evaluation)


def model(arguments: list[str], step: str) -> Model:
    """Read the manifest of a model's fetch; see `read`."""
    return read(arguments, step, Model)


def read(arguments: list[str], step: str, kind: type[M]) -> M:
    """Read the manifest that `--manifest FILE` names. `step`: the name of the program, for messages.

    Raises:
        Misconfigured: it cannot be read or is wrong; the message names the field.
    """
    parser = endings.Arguments(prog=step)
    parser.add_argument("--manifest", required=True, type=Path, help="the manifest file, JSON")
    return load(parser.parse_args(arguments).manifest, kind)


def load(file: Path, kind: type[M]) -> M:
    """Read a manifest.

    Raises:
        Misconfigured: it cannot be read or is wrong; the message names the field.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise errors.Misconfigured(f"the manifest {file} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise errors.Misconfigured(f"the manifest {file} is wrong: {error}") from error


def replication_ids(spec: specs.Evaluation) -> list[str]:
    """Return the IDs of an evaluation's replications, in order."""
    return [specs.replication_id(spec.id, index) for index in range(spec.replications)]


def adapters(pipeline: Iterable[specs.Adapter] | None) -> list[codecs.Json]:
    """Return a custom resource's pipeline with its configurations decoded. None means no adapters.

    Raises:
        Misconfigured: a configuration is not JSON.
    """
    return [{"kind": adapter.kind, "configuration": _configuration(adapter.configuration)} for adapter in pipeline or ()]


def _configuration(text: str) -> Any:
    try:
        return codecs.decode(text)
    except ValueError as error:
        raise errors.Misconfigured(f"an adapter's configuration is not JSON: {error}") from error


def store() -> port.Objects:
    """Open the object store of this step.

    Raises:
        Misconfigured: `DYFF_STORAGE_URL` is missing or wrong.
    """
    return stores.open_store(_variable("DYFF_STORAGE_URL", "the URL of the object store, such as file:///absolute/directory"), os.environ)


def attempt() -> str:
    """Return the name of this attempt.

    Raises:
        Misconfigured: `DYFF_ATTEMPT` is missing or cannot be part of a key.
    """
    name = _variable("DYFF_ATTEMPT", "the name of this attempt, for instance the pod's")
    problem = tree_paths.path_problem(name)
    if problem or "/" in name:
        raise errors.Misconfigured(f"DYFF_ATTEMPT={name!r} {problem or 'must not contain /'}")
    return name


def _variable(name: str, meaning: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise errors.Misconfigured(f"the environment variable {name} is missing: set it to {meaning}")
    return value
