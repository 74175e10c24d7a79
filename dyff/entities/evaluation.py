"""Evaluations: a service run on a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from dyff.entities import codecs, data, identity, inference, kinds, knobs
from dyff.entities.identity import Part, Short, Text


class EvaluationClientConfiguration(knobs.ClientKnobs[data.SchemaAdapter], Part, frozen=True):
    """How the evaluation client behaves, with the published defaults."""

    # Narrower than in the custom resource, whose definition cannot bound the names in a map.
    extra_options: Annotated[dict[Short, Text], msgspec.Meta(max_length=100)] = msgspec.field(default_factory=dict)


class EvaluationCreateRequest(identity.CreateRequest, frozen=True):
    """Asks for an evaluation: of a service that is started for it, or of a session that runs."""

    dataset: Short
    replications: identity.Count = 1
    workersPerReplica: identity.Count | None = None
    client: EvaluationClientConfiguration = EvaluationClientConfiguration()
    inferenceSession: inference.SessionSpec | None = None
    inferenceSessionReference: Short | None = None

    def __post_init__(self) -> None:
        """Refuse a request with no session, or two."""
        if (self.inferenceSession is None) == (self.inferenceSessionReference is None):
            raise ValueError("must have exactly one of inferenceSession and inferenceSessionReference")


def references(request: EvaluationCreateRequest) -> list[identity.Reference]:
    """The dataset, and the service or the session."""
    found = [identity.Reference("Dataset", request.dataset, ("body", "dataset"))]
    if request.inferenceSession is not None:
        service = request.inferenceSession.inferenceService
        found.append(identity.Reference("InferenceService", service, ("body", "inferenceSession", "inferenceService")))
    if request.inferenceSessionReference is not None:
        loc = ("body", "inferenceSessionReference")
        found.append(identity.Reference("InferenceSession", request.inferenceSessionReference, loc))
    return found


def entity(request: EvaluationCreateRequest, embedded: identity.Embedded, entity_id: str, now: datetime) -> codecs.Json:
    """The whole new Evaluation."""
    spec = identity.spec_of(request)
    if request.inferenceSession is not None:
        spec["inferenceSession"]["inferenceService"] = embedded[request.inferenceSession.inferenceService]
    elif request.inferenceSessionReference is not None:
        spec["inferenceSession"] = embedded[request.inferenceSessionReference]
    spec["securityContext"] = identity.security_context()
    return kinds.with_first_status(identity.entity("Evaluation", entity_id, request, now, spec))
