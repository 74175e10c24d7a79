"""Models: fetched from where they are published, uploaded by their owner, or pretended."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from dyff.entities import codecs, compute, data, identity, kinds
from dyff.entities.identity import Part

FOREIGN = ("id", "account", "name", "artifact", "storage")
"""The fields of a Model that are embedded where one is used."""


RepoID = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}$(?!\n)",
        max_length=255,
        description="the name of a repository of the hub, such as org/name",
    ),
]


class ModelSourceGitLFS(Part, frozen=True):
    """A Git repository with large files, which anyone may read."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]+[^\s]*$(?!\n)", max_length=2083, description="a URL with a scheme and a host"
        ),
    ]

    def __post_init__(self) -> None:
        """Refuse what is not fetched, and passwords, which everyone who may read the model would see."""
        scheme, _, rest = self.url.partition("://")
        if scheme.lower() not in ("http", "https"):
            raise ValueError("url must begin with https:// or http://")
        if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
            raise ValueError("url must not have a user or a password")
        if "?" in rest or "#" in rest:
            raise ValueError("url must be that of a repository, without '?' and '#'")


class ModelSourceHuggingFaceHub(Part, frozen=True):
    """A model of the Hugging Face hub at a revision. The patterns choose files, as in a shell."""

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
    """Where a model comes from: the field of its kind, and no other."""

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
    """The files as in a Hugging Face cache directory."""

    repoID: RepoID
    revision: identity.Short


class ModelArtifact(Part, frozen=True):
    """How a model's data is represented: the field of its kind, and no other."""

    kind: Literal["HuggingFaceCache", "Mock", "Volume"]
    huggingFaceCache: ModelArtifactHuggingFaceCache | None = None
    volume: data.Volume | None = None

    def __post_init__(self) -> None:
        """Refuse data that is not described."""
        _only({"HuggingFaceCache": "huggingFaceCache", "Volume": "volume"}, self.kind, self)


class ModelStorage(Part, frozen=True):
    """Where the data is kept; deprecated as published."""

    medium: Literal["Mock", "ObjectStorage", "PersistentVolume", "FUSEVolume"]


class ModelCreateRequest(identity.CreateRequest, frozen=True):
    """Declares a model."""

    name: identity.Short
    artifact: ModelArtifact
    source: ModelSource
    resources: compute.ModelResources
    storage: ModelStorage | None = None
    accelerators: identity.Few[compute.Accelerator] | None = None

    def __post_init__(self) -> None:
        """Refuse what could never become ready."""
        if self.source.kind == "Upload":
            self._check_upload()
        elif self.source.kind != "Mock":
            self._check_fetch()

    def _check_fetch(self) -> None:
        """Refuse a layout that cannot be made of what is fetched."""
        if self.artifact.kind == "Mock":
            raise ValueError(f"artifact.kind must be HuggingFaceCache or Volume for a model with the source {self.source.kind}")
        hub, cache = self.source.huggingFaceHub, self.artifact.huggingFaceCache
        if hub is not None and cache is not None and hub.repoID != cache.repoID:
            raise ValueError(f"artifact.huggingFaceCache.repoID must be that of the source, {hub.repoID}")

    def _check_upload(self) -> None:
        if self.artifact.volume is None or not self.artifact.volume.files:
            raise ValueError("a model with the source Upload needs artifact.kind Volume with the list of its files")
        data.require_digests(((each.path, each.digest) for each in self.artifact.volume.files), "artifact.volume.files")


def references(_: ModelCreateRequest) -> list[identity.Reference]:
    """None."""
    return []


def entity(request: ModelCreateRequest, _: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
    """The whole new Model."""
    whole = identity.entity("Model", entity_id, request, now, identity.spec_of(request))
    return kinds.with_first_status(whole)


def foreign(entity: codecs.Json) -> codecs.Json:
    """A Model as it is embedded in a service."""
    return {name: entity[name] for name in FOREIGN if name in entity}


def _only(fields: dict[str, str], kind: str, part: msgspec.Struct) -> None:
    for of_kind, field in fields.items():
        if (of_kind == kind) != (getattr(part, field) is not None):
            need = f"needs {fields[kind]} and nothing else" if kind in fields else f"must not have {field}"
            raise ValueError(f"one of kind {kind} {need}")
