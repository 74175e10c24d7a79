"""Models: fetched from where they are published, uploaded by their owner, or mocked."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from dyff.entities import codecs, compute, costs, custom_resource, data, described, identity, kind, specs, statuses, stored
from dyff.entities.identity import Part

RepoID = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}$(?!\n)",
        max_length=255,
        description="the name of a repository of the hub, such as org/name",
    ),
]


class ModelSourceGitLFS(Part, frozen=True):
    """A public Git repository with large files."""

    rules: ClassVar[codecs.Json] = {
        "properties": {
            "url": {
                "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(/[^\s?#]*)?$",
                "description": "a URL with http:// or https:// and a host, without user, password, '?' and '#'",
            }
        }
    }

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#][^\s]*$(?!\n)", max_length=2083, description="a URL with a scheme and a host"
        ),
    ]

    def __post_init__(self) -> None:
        """Refuse URLs that cannot be fetched, and passwords, which everyone with read access to the model would see."""
        scheme, _, rest = self.url.partition("://")
        if scheme.lower() not in ("http", "https"):
            raise ValueError("url must begin with https:// or http://")
        if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
            raise ValueError("url must not have a user or a password")
        if "?" in rest or "#" in rest:
            raise ValueError("url must be that of a repository, without '?' and '#'")


class ModelSourceHuggingFaceHub(Part, frozen=True):
    """A model of the Hugging Face hub at a revision. The patterns select files, with shell syntax."""

    repoID: RepoID
    revision: identity.Short
    allowPatterns: identity.Few[identity.Text] | None = None
    ignorePatterns: identity.Few[identity.Text] | None = None


class ModelSourceOpenLLM(Part, frozen=True):
    """A model that OpenLLM knows."""

    modelKind: identity.Short
    modelID: identity.Short
    modelVersion: identity.Short


class ModelSource(Part, frozen=True):
    """Where a model comes from: exactly the field that belongs to its kind."""

    rules: ClassVar[codecs.Json] = {
        "properties": {"kind": {"enum": ["GitLFS", "HuggingFaceHub", "Mock", "Upload"]}, "openLLM": {"anyOf": None, "type": "null"}},
        "allOf": described.field_of_kind({"GitLFS": "gitLFS", "HuggingFaceHub": "huggingFaceHub"}),
    }

    kind: Literal["GitLFS", "HuggingFaceHub", "Mock", "OpenLLM", "Upload"]
    gitLFS: ModelSourceGitLFS | None = None
    huggingFaceHub: ModelSourceHuggingFaceHub | None = None
    openLLM: ModelSourceOpenLLM | None = None

    def __post_init__(self) -> None:
        """Refuse a source that cannot be fetched."""
        _only({"GitLFS": "gitLFS", "HuggingFaceHub": "huggingFaceHub", "OpenLLM": "openLLM"}, self.kind, self)
        if self.kind == "OpenLLM":
            raise ValueError("the kind OpenLLM is not supported; use HuggingFaceHub with the repository that OpenLLM takes the model from")


class ModelArtifactHuggingFaceCache(Part, frozen=True):
    """The files, laid out as in a Hugging Face cache directory."""

    repoID: RepoID
    revision: identity.Short


class ModelArtifact(Part, frozen=True):
    """How a model's data is represented: exactly the field that belongs to its kind."""

    rules: ClassVar[codecs.Json] = {
        "allOf": described.field_of_kind({"HuggingFaceCache": "huggingFaceCache", "Volume": "volume"}),
    }

    kind: Literal["HuggingFaceCache", "Mock", "Volume"]
    huggingFaceCache: ModelArtifactHuggingFaceCache | None = None
    volume: data.Volume | None = None

    def __post_init__(self) -> None:
        """Refuse data that is not described."""
        _only({"HuggingFaceCache": "huggingFaceCache", "Volume": "volume"}, self.kind, self)


class ModelStorage(Part, frozen=True):
    """Where the data is kept; published, and deprecated there."""

    medium: Literal["Mock", "ObjectStorage", "PersistentVolume", "FUSEVolume"]


def _from(*kinds: str) -> codecs.Json:
    return {"properties": {"source": {"properties": {"kind": {"enum": list(kinds)}}}}}


_NOT_MOCK: codecs.Json = {"not": {"const": "Mock"}}
_UPLOADED: codecs.Json = {
    "properties": {
        "kind": {"const": "Volume"},
        "volume": {"properties": {"files": {"minItems": 1, "items": data.WITH_DIGEST}}},
    }
}


class ModelCreateRequest(identity.CreateRequest, frozen=True):
    """Declares a model. One that is fetched from the hub has the same `repoID` in its source and in its artifact."""

    rules: ClassVar[codecs.Json] = {
        "allOf": [
            {"if": _from("Upload"), "then": {"properties": {"artifact": _UPLOADED}}},
            {"if": _from("GitLFS", "HuggingFaceHub"), "then": {"properties": {"artifact": {"properties": {"kind": _NOT_MOCK}}}}},
        ]
    }
    example: ClassVar[codecs.Json] = {
        "account": "example",
        "name": "model",
        "artifact": {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": "example/model", "revision": "main"}},
        "source": {"kind": "HuggingFaceHub", "huggingFaceHub": {"repoID": "example/model", "revision": "main"}},
        "resources": {"storage": "2Gi", "memory": "1Gi"},
    }

    name: identity.Short
    artifact: ModelArtifact
    source: ModelSource
    resources: compute.ModelResources
    storage: ModelStorage | None = None
    accelerators: identity.Few[compute.Accelerator] | None = None

    def __post_init__(self) -> None:
        """Refuse a model that could never become ready."""
        if self.source.kind == "Upload":
            self._check_upload()
        elif self.source.kind != "Mock":
            self._check_fetch()

    def _check_fetch(self) -> None:
        """Refuse a layout that cannot be produced from the fetched files."""
        if self.artifact.kind == "Mock":
            raise ValueError(f"artifact.kind must be HuggingFaceCache or Volume for a model with the source {self.source.kind}")
        hub, cache = self.source.huggingFaceHub, self.artifact.huggingFaceCache
        if hub is not None and cache is not None and hub.repoID != cache.repoID:
            raise ValueError(f"artifact.huggingFaceCache.repoID must be that of the source, {hub.repoID}")

    def _check_upload(self) -> None:
        if self.artifact.volume is None or not self.artifact.volume.files:
            raise ValueError("a model with the source Upload needs artifact.kind Volume with the list of its files")
        data.require_digests(((each.path, each.digest) for each in self.artifact.volume.files), "artifact.volume.files")


Storage = Annotated[dict[str, Any], described.like(ModelStorage)]


class StoredModelArtifact(stored.Part, frozen=True):
    """What a model consists of. `kind`: Volume, HuggingFaceCache or Mock."""

    kind: str
    volume: stored.Volume | None = None
    huggingFaceCache: Annotated[dict[str, Any], described.like(ModelArtifactHuggingFaceCache)] | None = None


class Model(identity.Entity, kw_only=True, frozen=True):
    """Weights, and where they came from."""

    name: str
    artifact: StoredModelArtifact
    source: Annotated[dict[str, Any], described.like(ModelSource)]
    resources: Annotated[dict[str, Any], described.like(compute.ModelResources)] = msgspec.field(default_factory=dict)
    storage: Storage | None = None
    accelerators: list[Annotated[dict[str, Any], described.like(compute.Accelerator)]] | None = None


class ForeignModel(stored.Part, frozen=True):
    """A model as a service carries it: the fields that `KIND.embedded` names."""

    id: str
    account: str
    name: str
    artifact: StoredModelArtifact
    storage: Storage | None = None


def _only(fields: dict[str, str], kind: str, part: msgspec.Struct) -> None:
    for of_kind, field in fields.items():
        if (of_kind == kind) != (getattr(part, field) is not None):
            need = f"needs {fields[kind]} and nothing else" if kind in fields else f"must not have {field}"
            raise ValueError(f"one of kind {kind} {need}")


def _is_fetched(entity: codecs.Json) -> bool:
    return entity["source"]["kind"] in ("GitLFS", "HuggingFaceHub", "OpenLLM")


def _first(entity: codecs.Json) -> str:
    return statuses.WAITING_FOR_UPLOAD if entity["source"]["kind"] == "Upload" else statuses.CREATED


def _files(entity: codecs.Json) -> list[kind.DeclaredFile]:
    if entity["source"]["kind"] != "Upload":
        return []  # an artifact may list files that are fetched, or that are not there
    volume = (entity.get("artifact") or {}).get("volume") or {"files": []}
    return [kind.DeclaredFile(each["path"], each["digest"]["md5"], None, each["size"]) for each in volume["files"]]


def _size_bytes(entity: codecs.Json) -> int:
    if entity["source"]["kind"] != "Upload":
        return 0
    volume = (entity.get("artifact") or {}).get("volume") or {"files": []}
    return sum(each["size"] for each in volume["files"])


def _spec(entity: codecs.Json) -> codecs.Json:
    return {key: entity[key] for key in ("source", "artifact", "resources") if entity.get(key) is not None}


RESOURCE = custom_resource.CustomResource(
    kind="Model",
    plural="models",
    short="model",
    spec=specs.Model,
    columns=(
        custom_resource.COMPLETE,
        custom_resource.FAILED,
        custom_resource.REASON,
        custom_resource.Column("Source", ".spec.source.kind", "Where it comes from"),
        *custom_resource.END,
        custom_resource.Column("Repository", ".spec.source.huggingFaceHub.repoID", "Its name on the hub", wide=True),
    ),
    aliases=("mdl",),
)

KIND = kind.Kind(
    name="Model",
    plural="models",
    entity=Model,
    creation=kind.Creation(
        request=ModelCreateRequest,
        checks=(kind.Check("paths", ("artifact", "volume", "files", "*", "path")),),
    ),
    embedded=("id", "account", "name", "artifact", "storage"),
    first=_first,
    query={"name": ("name",)},
    upload=kind.Upload(files=_files, size_bytes=_size_bytes),
    download=kind.Download("models"),
    logs=kind.Logs(stored=True),
    run=kind.Run(
        resource=RESOURCE,
        spec=_spec,
        ended={"Failed": statuses.ERROR, "Complete": statuses.READY},
        cost=costs.fetch,
        needed=_is_fetched,
    ),
)
