"""Measurements and safety cases as they are stored, and what their runs need. Pure.

Their runs read the method and, for documents, texts about the system, which are kept in the entity as they were at its creation: so
everybody who looks at it later sees what the run saw.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from dyff.entities import (
    analysis,
    analysis_data,
    analysis_requests,
    codecs,
    costs,
    described,
    identity,
    kind,
    reproducing,
    statuses,
    stored,
)
from dyff.entities.analysis_requests import AnalysisCreateRequest
from dyff.kernel import errors

NO_SUMMARY = "No summary was written."
MAX_PAGE_CHARS = 65_536
"""Longer pages are left out of what a run reads, which is bounded; their titles and summaries are not."""

PUBLISHED_TEXTS = ("title", "summary", "fullPage")
"""Published components that read the texts of an entity refuse others."""

SCORES, CURVES, PROVENANCE = "scores", "curves", "provenance"
RECORDED = (SCORES, CURVES, PROVENANCE)
"""The fields that a run's end fills in."""

QUERY: dict[str, kind.Path] = {
    "method": ("method", "id"),
    "methodName": ("method", "name"),
    "dataset": ("scope", "dataset"),
    "evaluation": ("scope", "evaluation"),
    "inferenceService": ("scope", "inferenceService"),
    "model": ("scope", "model"),
}
ELEMENTS = {"inputs": kind.Elements(("inputs",), "entity")}


class StoredScope(stored.Part, frozen=True):
    """IDs of what the results are about."""

    dataset: str | None = None
    inferenceService: str | None = None
    evaluation: str | None = None
    model: str | None = None


class StoredArgument(stored.Part, frozen=True):
    """The value of a parameter."""

    keyword: str
    value: str


class StoredInput(stored.Part, frozen=True):
    """An entity whose data the method reads."""

    keyword: str
    entity: str


class AnalysisData(stored.Part, frozen=True):
    """Further data that the method reads. `value`: base64 of JSON."""

    key: str
    value: str


class MethodAsUsed(stored.Part, frozen=True):
    """A method as an analysis carries it: the fields that its row names."""

    id: str
    account: str
    name: str
    scope: str
    implementation: dict[str, Any]
    output: dict[str, Any]
    description: str | None = None
    parameters: list[dict[str, Any]] = msgspec.field(default_factory=list)
    inputs: list[dict[str, Any]] = msgspec.field(default_factory=list)
    scores: list[dict[str, Any]] = msgspec.field(default_factory=list)
    modules: list[str] = msgspec.field(default_factory=list)
    analysisImage: dict[str, Any] | None = None


class Outcomes(stored.Part, frozen=True):
    """What became of the items of a score. `verdicts` have a value. `errors` have none, since something failed. `notScored`: all others."""

    items: int
    verdicts: int
    errors: int
    notScored: int


class Estimate(stored.Part, frozen=True):
    """How exact a score is, as its method says.

    `low`, `high`: the interval; None if there is none, and then `notes` says why. `level`: of the interval, for instance 0.95. `n`: the
    number of values. `clusters`: None if they count as independent. `method`: of the interval. `by`: what calculated it. `seed`, `draws`:
    of random numbers; None if there are none.
    """

    level: float
    n: int
    method: str
    outcomes: Outcomes
    low: float | None = None
    high: float | None = None
    clusters: int | None = None
    standardError: float | None = None
    degreesOfFreedom: float | None = None
    seed: int | None = None
    draws: int | None = None
    notes: list[str] = msgspec.field(default_factory=list)
    by: str | None = None


class ScoreMetadata(stored.Part, frozen=True):
    """What a score is about: `refs` has the IDs of the method and of the scope. `estimate`: None if its method gave no interval."""

    refs: dict[str, str | None] = msgspec.field(default_factory=dict)
    estimate: Estimate | None = None


class Score(stored.Part, frozen=True):
    """A score of a measurement or a safety case.

    `id`: follows from the analysis and the name. `quantityString`: the quantity in its format. `valence`: whether more is better.
    `minimum`, `maximum`: None if not known. `analysis`: ID of the measurement or safety case.
    """

    id: str
    name: str
    title: str
    summary: str
    analysis: str
    quantity: float
    quantityString: str
    text: str
    valence: str = "neutral"
    priority: str = "primary"
    minimum: float | None = None
    maximum: float | None = None
    format: str = "{quantity:.1f}"
    unit: str | None = None
    kind: str = "Score"
    metadata: ScoreMetadata = ScoreMetadata()


class Curve(stored.Part, frozen=True):
    """A curve of a measurement or a safety case. `points`: by dimension, a list of numbers; all lists have the same length."""

    id: str
    name: str
    title: str
    summary: str
    analysis: str
    dimensions: dict[str, dict[str, Any]]
    points: dict[str, list[float]]
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    kind: str = "Curve"
    metadata: ScoreMetadata = ScoreMetadata()


class Analysis(identity.Entity, kw_only=True, frozen=True):
    """A method that is applied to data.

    `scores`, `curves`: what the run computed; empty before it is complete. `provenance`: what ran on what; None before. `reproduces`: the
    ID of the one that this runs again; None if it does not.
    """

    name: str
    method: MethodAsUsed
    scope: StoredScope = StoredScope()
    arguments: list[StoredArgument] = msgspec.field(default_factory=list)
    inputs: list[StoredInput] = msgspec.field(default_factory=list)
    data: list[AnalysisData] = msgspec.field(default_factory=list)
    description: str | None = None
    reproduces: str | None = None
    scores: list[Score] = msgspec.field(default_factory=list)
    curves: list[Curve] = msgspec.field(default_factory=list)
    provenance: Annotated[dict[str, Any] | None, described.says(description="what ran on what")] = None


def spec(request: AnalysisCreateRequest, embedded: identity.Embedded, makes: str, field: str, *, whole_texts: bool) -> codecs.Json:
    """The fields of a new entity. `makes`: its kind; `field`, `whole_texts`: see `row`.

    Raises:
        InvalidFields: the request does not fit its method.
    """
    original = None if request.reproduces is None else embedded.get(identity.whole(request.reproduces))
    found = analysis_requests.problems(request, embedded, makes)
    found += [] if request.reproduces is None else reproducing.problems(request, original, makes)
    if found:
        raise errors.InvalidFields(*found)
    method = codecs.plain(embedded[request.method])
    data = original.get("data") or [] if original is not None else _data(request, embedded, method) if whole_texts else []
    own = {**identity.spec_of(request), "method": method, "data": data}
    return {**own, **method["output"][field], "securityContext": identity.security_context()}


def wholes(request: AnalysisCreateRequest, embedded: identity.Embedded) -> list[tuple[str, str]]:
    """The kinds and IDs of the entities whose texts a document shows: the method, and the service or the model behind it."""
    found = [("Method", request.method)]
    service = request.scope.inferenceService
    if service is not None:
        found.append(("InferenceService", service))
        model = codecs.plain(embedded[service]).get("model")
        if model:
            found.append(("Model", model["id"]))
    return found


def _data(request: AnalysisCreateRequest, embedded: identity.Embedded, method: codecs.Json) -> list[codecs.Json]:
    whole = embedded.get(identity.whole(request.method))
    found = [_entry(analysis_data.USECASE, whole if whole is not None else {**method, "kind": "Method"})]
    for name, entity_id in reversed(wholes(request, embedded)[1:]):  # a model before its service
        system = embedded.get(identity.whole(entity_id))
        if system is not None:
            return [*found, _entry(analysis_data.SYSTEM, {**system, "kind": name})]
    return found


def _entry(key: str, entity: codecs.Json) -> codecs.Json:
    return {"key": key, "value": _encoded({"spec": _without_pages(entity), "documentation": documentation(entity)})}


def documentation(entity: codecs.Json) -> codecs.Json:
    """The texts of an entity, with a title and a summary in any case, because published components need both."""
    known = (entity.get("metadata") or {}).get("documentation") or {}
    texts = {key: each for key in PUBLISHED_TEXTS if (each := known.get(key))}
    if len(texts.get("fullPage", "")) > MAX_PAGE_CHARS:
        del texts["fullPage"]
    return {"title": entity.get("name") or f"{entity['kind']} {entity['id']}", "summary": entity.get("description") or NO_SUMMARY, **texts}


def _without_pages(entity: codecs.Json) -> codecs.Json:
    """The entity without its texts, which `data` has apart from it."""
    return {**entity, "metadata": {key: each for key, each in (entity.get("metadata") or {}).items() if key != "documentation"}}


def _encoded(value: codecs.Json) -> str:
    return base64.b64encode(codecs.encode(value)).decode()


def dependencies(entity: codecs.Json) -> list[str]:
    """The method and the inputs."""
    return [entity["method"]["id"], *(each["entity"] for each in entity.get("inputs") or []), *kind.preconditions(entity)]


def uses(entity: codecs.Json) -> list[str]:
    """The modules with the code."""
    return list(entity["method"].get("modules") or [])


def resource(entity: codecs.Json) -> codecs.Json:
    """`dyff.entities.specs.Analysis`, without `id` and `account`."""
    method = entity["method"]
    kinds = {each["keyword"]: each["kind"] for each in method.get("inputs") or []}
    data = list(entity.get("data") or [])
    if not any(each["key"] == analysis_data.USECASE for each in data):
        texts = {"title": method["name"], "summary": method.get("description") or NO_SUMMARY}
        ready = {"kind": "Method", "schemaVersion": "0.1", "status": "Ready", "creationTime": entity.get("creationTime")}
        data.append({"key": analysis_data.USECASE, "value": _encoded({"spec": {**method, **ready}, "documentation": texts})})
    image = method.get("analysisImage")
    return {
        "kind": entity["kind"],
        "method": method["id"],
        "scope": {key: each for key, each in (entity.get("scope") or {}).items() if each is not None},
        "arguments": list(entity.get("arguments") or []),
        "inputs": [{**each, "kind": kinds[each["keyword"]]} for each in entity.get("inputs") or []],
        "modules": list(method.get("modules") or []),
        "data": data,
        **({"image": f"{image['host']}/{image['name']}@{image['digest']}"} if image else {}),
        **({"reproduces": entity["reproduces"]} if entity.get("reproduces") else {}),
    }


def row(
    name: str, plural: str, entity: type[Analysis], field: str, cost: Callable[[codecs.Json], costs.Cost], *, page: str | None = None
) -> kind.Kind:
    """The row of a kind that a method computes. `field`: of the method's output that belongs to it.

    `page`: see `kind.Kind`. The runs that make one read the texts about the method and the system, see `wholes`.
    """
    whole_texts = page is not None

    def read(request: AnalysisCreateRequest, embedded: identity.Embedded) -> list[tuple[str, str]]:
        original = [] if request.reproduces is None else [(name, request.reproduces)]
        return [*(wholes(request, embedded) if whole_texts else []), *original]

    def own(request: AnalysisCreateRequest, embedded: identity.Embedded) -> codecs.Json:
        return spec(request, embedded, name, field, whole_texts=whole_texts)

    return kind.Kind(
        name=name,
        plural=plural,
        entity=entity,
        creation=kind.Creation(
            request=AnalysisCreateRequest,
            references=analysis_requests.references,
            further=analysis_requests.further,
            wholes=read,
            spec=own,
        ),
        success=statuses.COMPLETE,
        failure=statuses.FAILED,
        dependencies=dependencies,
        uses=uses,
        query=QUERY,
        elements=ELEMENTS,
        download=kind.Download(plural),
        logs=kind.Logs(stored=True),
        page=page,
        stays=True,
        run=kind.Run(
            resource=analysis.RESOURCE,
            spec=resource,
            ended={"Failed": statuses.FAILED, "Complete": statuses.COMPLETE},
            cost=cost,
            results=kind.Results(f"Record{name}Results", RECORDED),
        ),
    )
