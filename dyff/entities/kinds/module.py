"""Modules: trees of code that analyses import, uploaded by their owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from dyff.entities import codecs, data, identity, kind, statuses, stored


class ModuleCreateRequest(identity.CreateRequest, frozen=True):
    """Declares a module: all files with their digests, before they are uploaded. Its root is a place from which Python imports."""

    rules: ClassVar[codecs.Json] = {"properties": {"artifacts": {"items": data.WITH_DIGEST}}}
    hints: ClassVar[Mapping[str, str]] = {
        **identity.CreateRequest.hints,
        "artifacts": "client.modules.create_package makes artifacts from a folder",
    }
    example: ClassVar[codecs.Json] = {
        "account": "example",
        "name": "word-length",
        "artifacts": [{"kind": ".py", "path": "word_length.py", "digest": {"md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}}],
    }

    name: identity.Short
    artifacts: Annotated[tuple[data.Artifact, ...], msgspec.Meta(min_length=1, max_length=10_000)]

    def __post_init__(self) -> None:
        """Refuse files that could never be uploaded."""
        data.require_digests(((each.path, each.digest) for each in self.artifacts), "artifacts")


class Module(identity.Entity, kw_only=True, frozen=True):
    """Files that an analysis can import or, if one is a notebook, run."""

    name: str
    artifacts: list[stored.Artifact]


def _files(entity: codecs.Json) -> list[kind.DeclaredFile]:
    return [kind.DeclaredFile(each["path"], each["digest"]["md5"], each.get("kind")) for each in entity["artifacts"]]


KIND = kind.Kind(
    name="Module",
    plural="modules",
    entity=Module,
    creation=kind.Creation(request=ModuleCreateRequest, checks=(kind.Check("paths", ("artifacts", "*", "path")),)),
    embedded=("id", "account", "name", "artifacts"),
    first=lambda _: statuses.WAITING_FOR_UPLOAD,
    query={"name": ("name",)},
    upload=kind.Upload(files=_files),
    download=kind.Download("modules"),
)
