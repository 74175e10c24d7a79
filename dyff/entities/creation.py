"""The one table of how entities come to be: the request of each kind, what it refers to and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from dyff.entities import codecs, dataset, evaluation, identity, inference, model


class Creation(msgspec.Struct, frozen=True):
    """How entities of one kind are created.

    `request`: the struct of the body. `references(request)`: the entities that must exist. `entity(request, embedded,
    id, now)`: the whole new entity. `foreign(entity)`: what others embed of it; None: nothing, only its ID is kept.
    """

    kind: str
    request: type[Any]
    references: Callable[[Any], list[identity.Reference]]
    entity: Callable[[Any, identity.Embedded, str, datetime], codecs.Json]
    foreign: Callable[[codecs.Json], codecs.Json] | None = None


TABLE = (
    Creation("Dataset", dataset.DatasetCreateRequest, dataset.references, dataset.entity),
    Creation("Model", model.ModelCreateRequest, model.references, model.entity, model.foreign),
    Creation(
        "InferenceService",
        inference.InferenceServiceCreateRequest,
        inference.service_references,
        inference.service,
        inference.foreign_service,
    ),
    Creation(
        "InferenceSession",
        inference.InferenceSessionCreateRequest,
        inference.session_references,
        inference.session,
        inference.foreign_session,
    ),
    Creation("Evaluation", evaluation.EvaluationCreateRequest, evaluation.references, evaluation.entity),
)

BY_KIND = {row.kind: row for row in TABLE}
