"""The specs of custom resources as the operator reads them: tolerant of what it does not know, exact in what it uses.

`dyff.entities.resources` writes them and documents each field; a person with kubectl may write them too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from dyff.cluster import port

Identity = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Quantity = str | int | float
Count = Annotated[int, msgspec.Meta(ge=1)]


class Spec(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What all have: whose it is."""

    id: Identity
    account: str


class EnvVar(msgspec.Struct, frozen=True):
    """A variable of the runner's environment."""

    name: str
    value: str = ""


class Resources(msgspec.Struct, frozen=True):
    """Kubernetes quantities by `cpu` and `memory`."""

    requests: dict[str, Quantity] = {}


class Gpu(msgspec.Struct, frozen=True, rename="camel"):
    """`count` devices of the first of `hardware_types`, which are names of cluster resources."""

    hardware_types: Annotated[list[str], msgspec.Meta(min_length=1)]
    count: Count = 1


class Accelerator(msgspec.Struct, frozen=True):
    """What computes besides the cpu."""

    kind: Literal["GPU"]
    gpu: Gpu | None = None


class Source(msgspec.Struct, frozen=True):
    """The entity whose files a volume shows."""

    kind: Literal["Dataset", "Model"]
    id: Identity


class DataVolume(msgspec.Struct, frozen=True, rename="camel", tag="Data", tag_field="kind"):
    """An entity's files, read-only."""

    name: str
    mount_path: str
    source: Source


class ScratchVolume(msgspec.Struct, frozen=True, rename="camel", tag="Scratch", tag_field="kind"):
    """Room to write that goes with the pod."""

    name: str
    mount_path: str
    capacity: Quantity


class HuggingFace(msgspec.Struct, frozen=True, rename={"repo_id": "repoID"}):
    """A model in a Hugging Face cache."""

    repo_id: str
    revision: str

    @property
    def snapshot(self) -> str:
        """Its folder inside the cache, as the Hugging Face libraries lay it out."""
        return f"models--{self.repo_id.replace('/', '--')}/snapshots/{self.revision}"


class Session(Spec, frozen=True, kw_only=True):
    """An InferenceSession: what it takes to run an inference service."""

    runner: str
    model: Identity | None = None
    hugging_face: HuggingFace | None = None
    image: str | None = None
    args: list[str] = []
    command: list[str] | None = None
    env: list[EnvVar] = []
    working_dir: str | None = None
    resources: Resources = Resources()
    replicas: Count = 1
    nodes: Count = 1
    accelerator: Accelerator | None = None
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    volumes: list[DataVolume | ScratchVolume] = []


class Client(msgspec.Struct, frozen=True, rename="camel"):
    """Of the evaluation client's settings those that decide how long it may run."""

    total_timeout_seconds: Annotated[int, msgspec.Meta(ge=0)] = 7200


class Evaluation(Spec, frozen=True, kw_only=True):
    """An Evaluation: of a session of its own, or of one that runs already."""

    inference_session: dict[str, Any] | None = None
    inference_session_reference: Identity | None = None
    client: Client = Client()

    def __post_init__(self) -> None:
        """Refuse what names no session or two."""
        if (self.inference_session is None) == (self.inference_session_reference is None):
            raise ValueError("exactly one of inferenceSession and inferenceSessionReference is needed")


class Model(Spec, frozen=True, kw_only=True):
    """A Model that is fetched. `resources`: what the fetch asks for."""

    source: dict[str, Any]
    resources: dict[str, Quantity] = {}


def session(resource: port.Object) -> Session:
    """The spec of an InferenceSession.

    Raises:
        ValidationError: a field is missing or wrong; the message names it.
    """
    return msgspec.convert(resource.get("spec") or {}, Session)


def evaluation(resource: port.Object) -> Evaluation:
    """The spec of an Evaluation.

    Raises:
        ValidationError: a field is missing or wrong; the message names it.
    """
    return msgspec.convert(resource.get("spec") or {}, Evaluation)


def model(resource: port.Object) -> Model:
    """The spec of a Model.

    Raises:
        ValidationError: a field is missing or wrong; the message names it.
    """
    return msgspec.convert(resource.get("spec") or {}, Model)
