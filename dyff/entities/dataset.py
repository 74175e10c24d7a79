"""Datasets: Arrow data in Parquet files that its owner uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from dyff.entities import codecs, data, identity, kinds


class DatasetCreateRequest(identity.CreateRequest, frozen=True):
    """Declares a dataset: each file with its digest, before it is uploaded."""

    name: identity.Short
    artifacts: Annotated[tuple[data.Artifact, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    schema: data.DataSchema
    views: identity.Few[data.DataView] = ()

    def __post_init__(self) -> None:
        """Refuse files that could never be uploaded."""
        data.require_digests(((each.path, each.digest) for each in self.artifacts), "artifacts")


def references(_: DatasetCreateRequest) -> list[identity.Reference]:
    """None."""
    return []


def entity(request: DatasetCreateRequest, _: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
    """The whole new Dataset."""
    whole = identity.entity("Dataset", entity_id, request, now, identity.spec_of(request))
    return kinds.with_first_status(whole)
