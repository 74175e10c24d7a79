"""Datasets: Arrow data in Parquet files, uploaded by their owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from dyff.entities import codecs, data, described, identity, kind, statuses, stored


class DatasetCreateRequest(identity.CreateRequest, frozen=True):
    """Declares a dataset: all files with their digests, before they are uploaded."""

    rules: ClassVar[codecs.Json] = {"properties": {"artifacts": {"items": data.WITH_DIGEST}}}
    hints: ClassVar[Mapping[str, str]] = {
        **identity.CreateRequest.hints,
        "artifacts": "client.datasets.create_arrow_dataset makes artifacts and schema from a folder of Parquet files",
        "schema": "dyff.sdk.schemas.encode makes it from an Arrow schema",
    }
    example: ClassVar[codecs.Json] = {
        "account": "example",
        "name": "prompts",
        "artifacts": [{"kind": "parquet", "path": "part-0.parquet", "digest": {"md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}}],
        "schema": {"arrowSchema": data.EXAMPLE_SCHEMA},
    }

    name: identity.Short
    artifacts: Annotated[tuple[data.Artifact, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    schema: data.DataSchema
    views: identity.Few[data.DataView] = ()

    def __post_init__(self) -> None:
        """Refuse files that could never be uploaded."""
        data.require_digests(((each.path, each.digest) for each in self.artifacts), "artifacts")


class Dataset(identity.Entity, kw_only=True, frozen=True):
    """Rows to evaluate on. `schema`: with `arrowSchema`, the base64 of the serialized Arrow schema."""

    name: str
    artifacts: list[stored.Artifact]
    schema: Annotated[dict[str, Any], described.like(data.DataSchema)]
    views: list[Annotated[dict[str, Any], described.like(data.DataView)]] = msgspec.field(default_factory=list)


def _files(entity: codecs.Json) -> list[kind.DeclaredFile]:
    return [kind.DeclaredFile(each["path"], each["digest"]["md5"], each.get("kind")) for each in entity["artifacts"]]


KIND = kind.Kind(
    name="Dataset",
    plural="datasets",
    entity=Dataset,
    creation=kind.Creation(
        request=DatasetCreateRequest,
        checks=(
            kind.Check("paths", ("artifacts", "*", "path")),
            kind.Check("indexed-schema", ("schema",)),
            kind.Check("schema", ("views", "*", "schema")),
            kind.Check("pipeline", ("views", "*", "adapterPipeline")),
        ),
    ),
    first=lambda _: statuses.WAITING_FOR_UPLOAD,
    dependencies=lambda _: [],
    query={"name": ("name",)},
    upload=kind.Upload(files=_files, contents="arrow"),
    download=kind.Download("datasets"),
)
