"""Evaluations: a service run on a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from dyff.entities import codecs, costs, custom_resource, data, described, identity, kind, knobs, specs, statuses
from dyff.entities.identity import Part, Short, Text
from dyff.entities.kinds import inference_session


class EvaluationClientConfiguration(knobs.ClientKnobs[data.SchemaAdapter], Part, frozen=True):
    """Configuration of the evaluation client, with the published defaults."""

    # Narrower than in the custom resource, whose definition cannot bound the keys of a map.
    extra_options: Annotated[dict[Short, Text], msgspec.Meta(max_length=100)] = msgspec.field(default_factory=dict)


class EvaluationCreateRequest(identity.CreateRequest, frozen=True):
    """Requests an evaluation of a service that is started for it, or of a running session."""

    rules: ClassVar[codecs.Json] = described.exactly_one("inferenceSession", "inferenceSessionReference")
    hints: ClassVar[Mapping[str, str]] = {
        **identity.CreateRequest.hints,
        "inferenceSession": 'a service is started for the run by {"inferenceService": its ID}; '
        "the ID of a running session belongs to inferenceSessionReference",
    }
    example: ClassVar[codecs.Json] = {
        "account": "example",
        "dataset": "00000000000040008000000000000001",
        "inferenceSession": {"inferenceService": "00000000000040008000000000000002"},
        "replications": 2,
    }

    dataset: Short
    replications: identity.Count = 1
    workersPerReplica: identity.Count | None = None
    client: EvaluationClientConfiguration = EvaluationClientConfiguration()
    inferenceSession: inference_session.SessionSpec | None = None
    inferenceSessionReference: Short | None = None

    def __post_init__(self) -> None:
        """Refuse a request with no session, or with two."""
        if (self.inferenceSession is None) == (self.inferenceSessionReference is None):
            raise ValueError("must have exactly one of inferenceSession and inferenceSessionReference")


class Evaluation(identity.Entity, kw_only=True, frozen=True):
    """A run of a service on a dataset, whose ID is `dataset`."""

    dataset: str
    inferenceSession: inference_session.SessionAsUsed
    inferenceSessionReference: str | None = None
    replications: int = 1
    workersPerReplica: int | None = None
    client: Annotated[dict[str, Any], described.like(EvaluationClientConfiguration)] = msgspec.field(default_factory=dict)


def _references(request: EvaluationCreateRequest) -> list[identity.Reference]:
    """The dataset, and the service or the session."""
    found = [identity.Reference("Dataset", request.dataset, ("body", "dataset"))]
    if request.inferenceSession is not None:
        service = request.inferenceSession.inferenceService
        found.append(identity.Reference("InferenceService", service, ("body", "inferenceSession", "inferenceService")))
    if request.inferenceSessionReference is not None:
        loc = ("body", "inferenceSessionReference")
        found.append(identity.Reference("InferenceSession", request.inferenceSessionReference, loc))
    return found


def _own(request: EvaluationCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    own = identity.spec_of(request)
    if request.inferenceSession is not None:
        own["inferenceSession"]["inferenceService"] = embedded[request.inferenceSession.inferenceService]
    else:
        own["inferenceSession"] = embedded[own["inferenceSessionReference"]]
    own["securityContext"] = identity.security_context()
    return own


def _dependencies(entity: codecs.Json) -> list[str]:
    """A running session is not a dependency: it never reaches a success status."""
    return [entity["dataset"], entity["inferenceSession"]["inferenceService"]["id"], *kind.preconditions(entity)]


def _uses(entity: codecs.Json) -> list[str]:
    reference = entity.get("inferenceSessionReference")
    return [*inference_session.data_sources(entity["inferenceSession"]), *([reference] if reference else [])]


def _spec(entity: codecs.Json) -> codecs.Json:
    """`dyff.entities.specs.Evaluation`, without `id` and `account`."""
    service = entity["inferenceSession"]["inferenceService"]
    reference = entity.get("inferenceSessionReference")
    template = inference_session.template
    session = {"inferenceSessionReference": reference} if reference else {"inferenceSession": template(entity["inferenceSession"])}
    client = dict(entity.get("client") or {})
    if client.get("inputPipeline"):
        client["inputPipeline"] = _pipeline(client["inputPipeline"])
    return {
        "dataset": entity["dataset"],
        "interface": _interface(service["interface"]),
        "replications": entity.get("replications") or 1,
        "workersPerReplica": entity.get("workersPerReplica") or 2,
        "client": client,
        **session,
    }


def _interface(value: codecs.Json) -> codecs.Json:
    pipelines = {key: _pipeline(value[key]) for key in ("inputPipeline", "outputPipeline") if value.get(key)}
    schema = {"arrowSchema": value["outputSchema"]["arrowSchema"]}
    return {"endpoint": value["endpoint"], "outputSchema": schema, **pipelines}


def _pipeline(adapters: list[codecs.Json]) -> list[codecs.Json]:
    """A pipeline of adapters with each `configuration` as a JSON string."""
    return [{"kind": each["kind"], "configuration": codecs.encode(each.get("configuration") or {}).decode()} for each in adapters]


RESOURCE = custom_resource.CustomResource(
    kind="Evaluation",
    plural="evaluations",
    short="eval",
    spec=specs.Evaluation,
    columns=(
        custom_resource.COMPLETE,
        custom_resource.FAILED,
        custom_resource.REASON,
        custom_resource.Column("Runner", ".spec.inferenceSession.runner", "What serves; empty: a session that runs already"),
        *custom_resource.END,
        custom_resource.Column("Dataset", ".spec.dataset", "ID of the dataset", wide=True),
        custom_resource.Column("Session", ".spec.inferenceSessionReference", "ID of the session that runs already", wide=True),
    ),
    aliases=("eval", "evals"),
    rules=(
        {
            "rule": "has(self.inferenceSession) != has(self.inferenceSessionReference)",
            "message": "exactly one of inferenceSession and inferenceSessionReference is needed",
        },
    ),
)

KIND = kind.Kind(
    name="Evaluation",
    plural="evaluations",
    entity=Evaluation,
    creation=kind.Creation(
        request=EvaluationCreateRequest,
        references=_references,
        spec=_own,
        checks=(kind.Check("future", ("inferenceSession", "expires")), kind.Check("pipeline", ("client", "inputPipeline"))),
    ),
    embedded=("id", "account", "dataset", "inferenceSession", "replications"),
    success=statuses.COMPLETE,
    failure=statuses.FAILED,
    dependencies=_dependencies,
    uses=_uses,
    query={"dataset": ("dataset",), **{name: ("inferenceSession", *path) for name, path in inference_session.QUERY.items()}},
    download=kind.Download("outputs", incomplete=True),
    logs=kind.Logs(),
    stays=True,
    run=kind.Run(
        resource=RESOURCE,
        spec=_spec,
        ended={"Failed": statuses.FAILED, "Complete": statuses.COMPLETE},
        cost=costs.evaluation,
    ),
)
